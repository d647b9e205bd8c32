"""The operator's settings about federation: allowed servers and allowed addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from infra_cdk.settings import MAX_SERVERS_BYTES, SettingsError
from infra_cdk.settings import read_settings as read_deployment
from infra_cdk.stack import environment
from murmuration.settings import read_settings
from murmuration.transport.addresses import Reach, is_public


def test_lists_reach_the_functions() -> None:
    given = {"server_name": "a.example", "federation_deny": "x.example, *.y.example", "key_notaries": ""}
    deployed = environment(read_deployment(given))
    found = read_settings(deployed)
    assert found.federation
    assert found.federation_deny == ("x.example", "*.y.example")
    assert (found.federation_allow, found.key_notaries) == ((), ())
    assert not found.federation_loopback
    assert read_settings(environment(read_deployment({"server_name": "a"}))).key_notaries == ("matrix.org",)


def test_a_list_too_long_for_functions_is_refused() -> None:
    names = ",".join(f"server{number}.example" for number in range(MAX_SERVERS_BYTES // 10))
    with pytest.raises(SettingsError, match="federation_deny has"):
        read_deployment({"server_name": "a.example", "federation_deny": names})


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
     "2002:808:808::1"],
)  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.8",
     "192.0.2.1",
     "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
     "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b:1::808:808",
     "100::1", "2001:db8::1", "2001::1", "2001:20::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1",
     "fc00::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Reach().allows(ip_address(address))
    loopback = ip_address(address) in (
        ip_address("127.0.0.1"),
        ip_address("::1"),
        ip_address("::ffff:127.0.0.1"),
    )
    assert Reach(loopback=True).allows(ip_address(address)) is loopback
