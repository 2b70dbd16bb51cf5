"""The addresses that a webhook never reaches, each with its reason.

An explicit table, because `ipaddress.is_global` calls many addresses global that lead inside: an
IPv6 address can carry an IPv4 one (NAT64, 6to4, Teredo, ISATAP), and some clouds answer for
themselves at public addresses. IPv6 is denied by default outside 2000::/3, the only range from
which global unicast addresses are given out.
"""

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DENIED_IPV4: Final = (
    (IPv4Network("0.0.0.0/8"), "names this host or network"),
    (IPv4Network("10.0.0.0/8"), "is private"),
    (IPv4Network("100.64.0.0/10"), "is shared by a carrier or cloud"),
    (IPv4Network("127.0.0.0/8"), "is loopback"),
    (IPv4Network("168.63.129.16/32"), "is a cloud's own service"),  # Azure's wire server
    (IPv4Network("169.254.0.0/16"), "is link-local, where clouds serve metadata"),
    (IPv4Network("172.16.0.0/12"), "is private"),
    (IPv4Network("192.0.0.0/24"), "is reserved for protocols"),
    (IPv4Network("192.0.2.0/24"), "is for documentation"),
    (IPv4Network("192.31.196.0/24"), "is reserved for AS112"),
    (IPv4Network("192.52.193.0/24"), "is reserved for multicast tunnels"),
    (IPv4Network("192.88.99.0/24"), "is a 6to4 relay"),
    (IPv4Network("192.168.0.0/16"), "is private"),
    (IPv4Network("192.175.48.0/24"), "is reserved for AS112"),
    (IPv4Network("198.18.0.0/15"), "is for benchmarks"),
    (IPv4Network("198.51.100.0/24"), "is for documentation"),
    (IPv4Network("203.0.113.0/24"), "is for documentation"),
    (IPv4Network("224.0.0.0/4"), "is multicast"),
    (IPv4Network("255.255.255.255/32"), "is broadcast"),
    (IPv4Network("240.0.0.0/4"), "is reserved"),
)

_DENIED_IPV6: Final = (
    (IPv6Network("::/128"), "is unspecified"),
    (IPv6Network("::1/128"), "is loopback"),
    (IPv6Network("::/96"), "is an obsolete form of an IPv4 address"),
    (IPv6Network("::ffff:0:0:0/96"), "is a translated IPv4 address"),
    (IPv6Network("64:ff9b:1::/48"), "is a local NAT64 prefix"),
    (IPv6Network("100::/64"), "discards what it is sent"),
    (IPv6Network("fc00::/7"), "is private"),
    (IPv6Network("fe80::/10"), "is link-local"),
    (IPv6Network("fec0::/10"), "is site-local"),
    (IPv6Network("ff00::/8"), "is multicast"),
    (IPv6Network("2001::/23"), "is reserved for protocols"),  # Teredo among them
    (IPv6Network("2001:db8::/32"), "is for documentation"),
    (IPv6Network("2002::/16"), "is a 6to4 tunnel"),
    (IPv6Network("2620:4f:8000::/48"), "is reserved for AS112"),
    (IPv6Network("3ffe::/16"), "is withdrawn"),
    (IPv6Network("3fff::/20"), "is for documentation"),
)

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_OUTSIDE_GLOBAL_UNICAST: Final = "is outside the global unicast range"

_NAT64: Final = IPv6Network("64:ff9b::/96")
_IPV4_IN_LAST_BITS: Final = (
    _NAT64,
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0:0/96"),
)
_ISATAP_MARKS: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})


def denial(address: Address, allowed: Collection[Network] = ()) -> str | None:
    """Return why `address` must not be called, or None where it may be.

    An address inside `allowed` is admitted although the table denies it. An IPv4 address that an
    IPv6 address carries must be admitted too, whatever is said of the IPv6 address.
    """
    if isinstance(address, IPv4Address):
        return _denial_of_face(address, _DENIED_IPV4, allowed)
    if address.scope_id is not None:
        return "has a zone, which only this host understands"
    if address.ipv4_mapped is not None:
        return denial(address.ipv4_mapped, allowed)
    for embedded in _embedded_ipv4(address):
        reason = denial(embedded, allowed)
        if reason is not None:
            return f"carries {embedded}, which {reason}"
    return _denial_of_ipv6(address, allowed)


def _denial_of_ipv6(address: IPv6Address, allowed: Collection[Network]) -> str | None:
    if address in _NAT64:  # how a network without IPv4 reaches IPv4 hosts; what it carries is fine
        return None
    reason = _denial_of_face(address, _DENIED_IPV6, allowed)
    if reason is None and address not in _GLOBAL_UNICAST and not _is_in(address, allowed):
        return _OUTSIDE_GLOBAL_UNICAST
    return reason


def _denial_of_face(
    address: Address, table: Iterable[tuple[Network, str]], allowed: Collection[Network]
) -> str | None:
    if _is_in(address, allowed):
        return None
    return next((reason for network, reason in table if address in network), None)


def _is_in(address: Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def _embedded_ipv4(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to `address` may end up at."""
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    value = int(address)
    has_ipv4_last = any(address in network for network in _IPV4_IN_LAST_BITS)
    is_isatap = (value >> 32) & 0xFFFF_FFFF in _ISATAP_MARKS
    if (has_ipv4_last or is_isatap) and value > 1:  # :: and ::1 carry nothing
        yield IPv4Address(value & 0xFFFF_FFFF)
