"""Which addresses a crawl may reach: public ones, and those that a source allows explicitly.

A name is judged by the address that it resolves to at the moment of the connection, so that neither a
redirect nor a name that changes its address in between gets around it.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from selfai_pipeline.sources.addresses import bare_host, host_and_port, is_within

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# `is_global` calls some of these global: they reach private IPv4 addresses through a translator or a tunnel,
# or many machines at once. The rest is listed so that no version of Python decides over it.
DENIED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible, unspecified, loopback
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and other special purposes
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


@lru_cache(maxsize=10_000)
def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.scope_id is not None:
            return False
    if any(address.version == network.version and address in network for network in DENIED_NETWORKS):
        return False
    return address.is_global


@lru_cache(maxsize=10_000)
def literal_address(host: str) -> Address | None:
    """The address that `host` spells out, in decimal, octal, hexadecimal and short forms too; else None."""
    bare = bare_host(host)
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None


def slot_of(host: str) -> str:
    """The one name of a host under which its requests are counted, however it is written."""
    return str(literal_address(host) or bare_host(host))


@dataclass(frozen=True)
class AddressRules:
    """Which addresses a crawl may ask; hosts are written as `bare_host` does.

    Args:
        domains: hosts that may be asked, with their subdomains; empty: any.
        denied_hosts: hosts that may not, with their subdomains.
        allowed: pairs of host (or literal address) and port that may be reached though they are not public.
    """

    domains: frozenset[str]
    denied_hosts: frozenset[str]
    allowed: frozenset[tuple[str, int]]

    @classmethod
    def of(
        cls, *, domains: list[str], denied_hosts: list[str], allowed_addresses: list[str]
    ) -> "AddressRules":
        return cls(
            domains=frozenset(map(bare_host, domains)),
            denied_hosts=frozenset(map(bare_host, denied_hosts)),
            allowed=frozenset(host_and_port(address) for address in allowed_addresses),
        )

    def permits(self, address: str, *, host: str, port: int) -> bool:
        """Whether a connection to `address`, to which `host` resolved, may be opened at `port`."""
        try:
            resolved = ipaddress.ip_address(address)
        except ValueError:
            return False
        if is_public(resolved):
            return True
        return (str(resolved), port) in self.allowed or (bare_host(host), port) in self.allowed

    def refusal(self, url: str, *, any_domain: bool = False) -> str | None:
        """Why `url` may not be asked, as far as that can be seen without resolving its host; else None.

        The reasons are malformed_address, unsupported_scheme, private_address, denied_host, foreign_domain,
        password_in_address (a user name counts too: what is behind a login was not published).
        `any_domain` leaves the domains out (a host's robots.txt may be kept by another one).
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return "malformed_address"
        if parts.scheme not in ("http", "https"):
            return "unsupported_scheme"
        host = parts.hostname
        if not host:
            return "malformed_address"
        literal = literal_address(host)
        if literal is not None and not self.permits(str(literal), host=host, port=port):
            return "private_address"
        if literal is None and re.fullmatch(r"[0-9.]+", bare_host(host)):
            return "malformed_address"
        if is_within(host, self.denied_hosts):
            return "denied_host"
        if not any_domain and self.domains and not is_within(host, self.domains):
            return "foreign_domain"
        return "password_in_address" if "@" in parts.netloc else None
