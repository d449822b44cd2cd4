# SPDX-License-Identifier: AGPL-3.0-or-later
from ipaddress import ip_address, ip_network

import pytest

from openhorde.server.kit.addresses import is_public, is_within


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1"),
        *("2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"),
        "2002:808:808::1",
    ],
)
def test_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1"),
        *("172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200"),
        *("192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::2", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254"),
        *("ff02::1", "2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1", "64:ff9b:1::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
        *("2002:7f00:1::1", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "fe80::1%eth0", "2606:4700::1%eth0"),
    ],
)
def test_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


def test_within() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert is_within(ip_address("10.1.2.3"), networks)
    assert is_within(ip_address("::ffff:10.1.2.3"), networks)
    assert is_within(ip_address("fd12::1"), networks)
    assert not is_within(ip_address("10.2.0.1"), networks)
    assert not is_within(ip_address("2002:a01:203::1"), networks)
    assert not is_within(ip_address("10.1.2.3"), ())
