"""Addresses and hosts in the one form in which they are compared and kept."""

import hashlib
import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urldefrag, urljoin, urlsplit

HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
LONGEST_URL = 2048
USER_AND_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*:)?//[^/?#]*@", re.IGNORECASE)


def bare_host(host: str) -> str:
    """A host name or literal address in the one form in which hosts are compared.

    It is the form that goes over the wire: lower case, international names in ASCII (IDNA 2008), without
    brackets and without a dot at the end. What is no host name stays as it is, in lower case.
    """
    bare = host.strip("[]").lower()
    if not bare.isascii():
        # Its tables would slow down every start of Dagster, and few hosts need them.
        import idna

        try:
            bare = idna.encode(bare, uts46=True).decode()
        except UnicodeError:
            return bare
    return bare.rstrip(".")


def host_names(names: list[str]) -> list[str]:
    """`names` as `bare_host` writes them.

    Raises:
        ValueError: one of them is neither a host name nor a literal address.
    """
    hosts = [bare_host(name) for name in names]
    for name, host in zip(names, hosts, strict=True):
        if not HOST_NAME.fullmatch(host) and not _is_address(host):
            raise ValueError(
                f"{name!r} is not a host name; write it without http://, without a port and without a path"
            )
    return hosts


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_and_port(address: str) -> tuple[str, int]:
    """Split `host:port` or `[IPv6]:port`; the host as `bare_host` writes it.

    Raises:
        ValueError: there is no host, or no port of 1..65535.
    """
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = bare_host(host)
    if not host or (":" in host) != bracketed or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{address!r} is not host:port")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{address!r} has no port of 1..65535")
    return host, int(port)


def is_loopback_host(host: str) -> bool:
    """Whether a host name or a literal address means this machine."""
    bare = bare_host(host)
    return bare == "localhost" or (_is_address(bare) and ipaddress.ip_address(bare).is_loopback)


def host_of(url: str) -> str:
    """The host in an address as it stands there; empty for a malformed one."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def absolute_url(reference: str, base_url: str = "") -> str:
    """The address without its fragment; a malformed one comes back as it stands, to be refused by name."""
    # Browsers drop tabs and line ends anywhere inside an address; PostgreSQL keeps no null characters.
    cleaned = re.sub(r"[\t\r\n\0]", "", reference.strip())
    try:
        return urldefrag(urljoin(base_url, cleaned)).url
    except ValueError:
        return cleaned


def is_within(host: str, domains: Collection[str]) -> bool:
    """Whether `host` is one of `domains`, as `bare_host` writes them, or a subdomain of one.

    Where there may be many, `domains` is best a set.
    """
    labels = bare_host(host).split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))


def recorded_url(url: str) -> str:
    """The address as the journal keeps it: one too long to ask (an embedded picture, say) by its hash.

    Of a user name and a password the bare @ is left, by which the address is refused.
    """
    url = USER_AND_PASSWORD.sub(r"\1//@", url)
    written = url.encode("utf-8", "surrogatepass")
    if len(written) <= LONGEST_URL and not url.startswith("data:"):
        return url
    return f"data:sha256={hashlib.sha256(written).hexdigest()}"
