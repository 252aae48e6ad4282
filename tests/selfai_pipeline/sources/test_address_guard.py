"""Which addresses may be reached: every private, translated or disguised one is refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfai_pipeline.sources.address_guard import AddressRules, is_public, literal_address

RULES = AddressRules.of(
    domains=["example.org"],
    denied_hosts=["bad.example.org"],
    allowed_addresses=["127.0.0.1:8650", "intra.net:80", "[::1]:8650"],
)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:4136:e378::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_of_the_open_internet_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not RULES.permits(address, host="example.org", port=80)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_permitted(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert RULES.permits(address, host="example.org", port=80)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_a_private_address_stays_private_inside_ipv6(number: int) -> None:
    """Mapped, translated (NAT64) and tunnelled (6to4) forms never open what the plain form closes."""
    plain = ipaddress.IPv4Address(number)
    if not is_public(plain):
        assert not is_public(ipaddress.IPv6Address(0xFFFF << 32 | number))
        assert not is_public(ipaddress.IPv6Address(0x64FF9B << 96 | number))
        assert not is_public(ipaddress.IPv6Address(0x2002 << 112 | number << 80))
        assert not is_public(ipaddress.IPv6Address(number))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1."]
)
def test_other_spellings_of_loopback_are_seen_through(host: str) -> None:
    assert literal_address(host) == ipaddress.ip_address("127.0.0.1")
    assert RULES.refusal(f"http://{host}/a.jpg") == "private_address"


def test_a_name_is_no_literal_address() -> None:
    assert literal_address("example.org") is None
    assert literal_address("münchen.de") is None


def test_an_allowance_is_for_its_port_only() -> None:
    assert RULES.permits("127.0.0.1", host="127.0.0.1", port=8650)
    assert RULES.permits("::1", host="::1", port=8650)
    assert not RULES.permits("127.0.0.1", host="127.0.0.1", port=22)
    assert not RULES.permits("127.0.0.2", host="127.0.0.2", port=8650)


def test_an_allowed_name_may_resolve_to_a_private_address() -> None:
    assert RULES.permits("10.0.0.7", host="intra.net", port=80)
    assert not RULES.permits("10.0.0.7", host="intra.net", port=443)
    assert not RULES.permits("10.0.0.7", host="example.org", port=80)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/a.jpg", None),
        ("https://pictures.example.org/a.jpg", None),
        ("http://EXAMPLE.org./a.jpg", None),
        ("http://notexample.org/a.jpg", "foreign_domain"),
        ("http://example.org.evil.net/a.jpg", "foreign_domain"),
        ("http://example.org@evil.net/a.jpg", "foreign_domain"),
        ("http://bad.example.org/a.jpg", "denied_host"),
        ("http://very.bad.example.org/a.jpg", "denied_host"),
        ("http://[::1]/a.jpg", "private_address"),
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("data:image/png;base64,AAAA", "unsupported_scheme"),
        ("ftp://example.org/a.jpg", "unsupported_scheme"),
        ("http://ann:secret@example.org/a.jpg", "password_in_address"),
        ("http://ann@example.org/a.jpg", "password_in_address"),
        ("http://@example.org/a.jpg", "password_in_address"),
        ("http://example.org/@ann/a.jpg", None),
        ("http:///a.jpg", "malformed_address"),
        ("http://[::1/a.jpg", "malformed_address"),
        ("http://example.org:99999/a.jpg", "malformed_address"),
    ],
)
def test_what_an_address_gives_away(url: str, reason: str | None) -> None:
    assert RULES.refusal(url) == reason


@pytest.mark.parametrize("named", ["bücher.de", "xn--bcher-kva.de", "BÜCHER.de."])
@pytest.mark.parametrize("written", ["bücher.de", "xn--bcher-kva.de", "www.Bücher.DE.", "bücher\u3002de"])
def test_an_international_name_is_one_host_however_it_is_written(named: str, written: str) -> None:
    allowing = AddressRules.of(domains=[named], denied_hosts=[], allowed_addresses=[f"{named}:80"])
    assert allowing.refusal(f"http://{written}/a.jpg") is None
    assert allowing.permits("10.0.0.7", host=written.removeprefix("www."), port=80)
    denying = AddressRules.of(domains=["de"], denied_hosts=[named], allowed_addresses=[])
    assert denying.refusal(f"http://{written}/a.jpg") == "denied_host"


def test_a_robots_file_may_be_kept_by_another_host() -> None:
    assert RULES.refusal("http://elsewhere.net/robots.txt", any_domain=True) is None
    assert RULES.refusal("http://10.0.0.1/robots.txt", any_domain=True) == "private_address"
