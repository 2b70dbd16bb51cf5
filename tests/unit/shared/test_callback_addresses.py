"""The table of denied addresses, and the IPv4 addresses that IPv6 ones carry."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.callback import denial

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

DENIED = {
    "this host": ["0.0.0.1", "0.255.255.255"],
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "carrier": ["100.64.0.0", "100.127.255.255", "100.100.100.200"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "metadata": ["169.254.169.254", "169.254.170.2"],
    "cloud's own": ["168.63.129.16"],
    "protocols": ["192.0.0.192", "192.0.0.8", "2001:1::1", "2001:1ff::1"],
    "6to4 relay": ["192.88.99.1"],
    "benchmarks": ["198.18.0.0", "198.19.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.254", "192.31.196.1", "192.52.193.1", "192.175.48.1"],
    "broadcast": ["255.255.255.255"],
    "unspecified": ["::"],
    "link-local": ["fe80::1", "169.254.0.1"],
    "site-local": ["fec0::1"],
    "is private": ["fc00::1", "fd00:ec2::254", "fd20:ce::254"],
    "discards": ["100::1"],
    "withdrawn": ["3ffe::1"],
    "6to4 tunnel": ["2002:808:808::1"],
    "AS112": ["2620:4f:8000::1"],
    "outside the global": ["4000::1", "5f00::1", "64:ff9b:2::1", "e000::1", "200::1"],
    "which is loopback": [
        "::127.0.0.1",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2606:4700::5efe:7f00:1",
        "2606:4700::200:5efe:7f00:1",
    ],
    "which is private": ["2001:0:4136:e378:8000:63bf:f5ff:fffe", "64:ff9b::a00:1"],
    "zone": ["2606:4700::1%eth0", "::1%1"],
}


@pytest.mark.parametrize(
    ("reason", "address"), [(reason, entry) for reason, group in DENIED.items() for entry in group]
)
def test_denied_address_is_denied_with_its_reason(reason: str, address: str) -> None:
    assert reason in (denial(ip_address(address)) or "")


@pytest.mark.parametrize("address", ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "::ffff:0:7f00:1"])
def test_tunnelled_address_is_denied(address: str) -> None:
    assert denial(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255",
        "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700:4700::1111",
        "2a00:1450:4001::1", "2606:4700::5efe:808:808",
    ],
)  # fmt: skip
def test_public_address_is_admitted(address: str) -> None:
    assert denial(ip_address(address)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_allowed_network_admits_what_the_table_denies(address: str) -> None:
    assert denial(ip_address(address), LOOPBACK) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "::127.0.0.1", "64:ff9b:1::7f00:1", "fe80::1"])
def test_allowed_network_admits_nothing_beside_itself(address: str) -> None:
    assert denial(ip_address(address), LOOPBACK) is not None


def test_allowed_ipv6_network_does_not_vouch_for_the_ipv4_address_inside() -> None:
    allowed = (ip_network("64:ff9b:1::/48"),)
    assert denial(ip_address("64:ff9b:1::808:808"), allowed) is None
    assert denial(ip_address("64:ff9b:1::7f00:1"), allowed) is not None


@given(st.ip_addresses(v=4))
def test_mapped_address_is_judged_as_what_it_maps(address: IPv4Address) -> None:
    mapped = IPv6Address((0xFFFF << 32) | int(address))
    assert denial(mapped) == denial(address)


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_admits_an_ipv4_address_that_is_denied(address: IPv4Address) -> None:
    last = int(address)
    forms = [last, 0xFFFF << 48 | last, 0x0064_FF9B << 96 | last, 0x2002 << 112 | last << 80]
    forms.append(0x2606_4700 << 96 | 0x5EFE << 32 | last)
    if denial(address) is not None:
        assert all(denial(IPv6Address(form)) is not None for form in forms)


@given(st.ip_addresses(v=6))
def test_admitted_ipv6_is_global_unicast_or_carries_ipv4(address: IPv6Address) -> None:
    carriers = (ip_network("2000::/3"), ip_network("64:ff9b::/96"), ip_network("::ffff:0:0/96"))
    if denial(address) is None:
        assert any(address in network for network in carriers)


@given(st.ip_addresses())
def test_nothing_is_admitted_that_the_standard_library_calls_private(
    address: IPv4Address | IPv6Address,
) -> None:
    nat64 = ip_network("64:ff9b::/96")
    if denial(address) is None and address not in nat64:
        assert address.is_global
