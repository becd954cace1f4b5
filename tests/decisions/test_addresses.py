from ipaddress import ip_address
from typing import Any

import pytest

from provider.config import Addresses
from provider.decisions.addresses import (
    InvalidNodeIPs,
    instance_addresses,
    parse_provided_ips,
    prefer_node_ips,
)
from provider.model import Instance, Nic
from tests.builders import address, instance, interface, internal

MAC_1, MAC_2 = "56:6f:00:00:00:01", "56:6f:00:00:00:02"


def texts(vm: Instance, *, shared: str = "", **policy: Any) -> list[str]:
    """The addresses of `vm` in short: `internal 10.0.0.1`."""
    shared_ips = {ip_address(ip) for ip in shared.split()}
    found = instance_addresses(vm, Addresses(**policy), shared_ips)
    return [f"{one.type} {one.address}" for one in found]


def ips(vm: Instance, *, shared: str = "", **policy: Any) -> list[str]:
    return [text.split()[1] for text in texts(vm, shared=shared, **policy)]


def test_an_address_of_the_guest_is_an_internal_ip() -> None:
    assert texts(instance(ips=["10.0.0.1"])) == ["InternalIP 10.0.0.1"]


def test_interfaces_belong_to_the_machine_by_mac_and_not_by_name() -> None:
    vm = instance(
        nics=(Nic("nic1"), Nic("nic2", MAC_1)),
        interfaces=(
            interface("10.0.0.1", name="eth7", mac=MAC_1),
            interface("172.17.0.1", name="nic1", mac="02:42:00:00:00:01"),
            interface("192.168.9.9", name="tun7"),
        ),
    )
    assert ips(vm) == ["10.0.0.1"]


@pytest.mark.parametrize("nics", [(), (Nic("nic1"),)])
def test_without_a_known_mac_every_interface_counts(nics: tuple[Nic, ...]) -> None:
    vm = instance(nics=nics, interfaces=(interface("10.0.0.1"), interface("10.0.0.2", mac=MAC_1)))
    assert ips(vm) == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    "name",
    [
        "lo",
        "docker0",
        "docker_gwbridge",
        "br-0a1b2c",
        "br-int",
        "cni0",
        "cni-podman0",
        "flannel.1",
        "cali12ab",
        "veth9",
        "virbr0",
        "kube-ipvs0",
        "nodelocaldns",
        "tunl0",
        "vxlan.calico",
        "ovn-k8s-mp0",
        "cilium_host",
        "weave",
        "dummy0",
    ],
)
def test_interfaces_of_container_networks_are_dropped(name: str) -> None:
    vm = instance(nics=(), interfaces=(interface("10.0.0.1", name=name),))
    assert ips(vm) == []


@pytest.mark.parametrize("name", ["br-ex", "eth0", "ens3", "bond0.100", "lo0x", "br0"])
def test_interfaces_of_the_machine_are_kept(name: str) -> None:
    vm = instance(nics=(), interfaces=(interface("10.0.0.1", name=name),))
    assert ips(vm) == ["10.0.0.1"]


@pytest.mark.parametrize(
    "ip",
    [
        "0.0.0.0",  # noqa: S104 -- an address to drop, nothing is bound
        "::",
        "127.0.0.1",
        "::1",
        "169.254.7.7",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_addresses_that_reach_no_machine_are_dropped(ip: str) -> None:
    assert ips(instance(ips=[ip, "10.0.0.1"])) == ["10.0.0.1"]


def test_neighbours_of_the_link_local_network_are_kept() -> None:
    assert ips(instance(ips=["169.253.1.1", "169.255.1.1"])) == ["169.253.1.1", "169.255.1.1"]


def test_excluded_networks_shared_addresses_and_unlisted_families_are_dropped() -> None:
    vm = instance(ips=["10.0.0.1", "10.96.0.1", "10.0.0.100", "fd00::1"])
    kept = ips(vm, exclude=["10.96.0.0/12"], shared="10.0.0.100", families=["ipv4"])
    assert kept == ["10.0.0.1"]


def test_configured_networks_are_external() -> None:
    vm = instance(ips=["10.0.0.1", "203.0.113.7", "2001:db8::7"])
    assert texts(vm, external=["203.0.113.0/24", "2001:db8::/32"]) == [
        "InternalIP 10.0.0.1",
        "ExternalIP 203.0.113.7",
        "ExternalIP 2001:db8::7",
    ]


def test_the_order_is_networks_then_vnics_then_families_then_value() -> None:
    vm = instance(
        nics=(Nic("nic1", MAC_1), Nic("nic2", MAC_2)),
        interfaces=(
            interface("10.9.0.10", "10.9.0.9", "fd00::9", name="eth0", mac=MAC_2),
            interface("fd00::2", "10.0.0.2", "192.168.0.1", name="eth1", mac=MAC_1),
        ),
    )
    assert ips(vm, networks=["192.168.0.0/16"], families=["ipv6", "ipv4"]) == [
        "192.168.0.1",
        "fd00::2",
        "10.0.0.2",
        "fd00::9",
        "10.9.0.9",
        "10.9.0.10",
    ]


def test_an_address_on_two_interfaces_is_given_once_by_the_first_vnic() -> None:
    vm = instance(
        nics=(Nic("nic1", MAC_1), Nic("nic2", MAC_2), Nic("nic3", MAC_1)),
        interfaces=(
            interface("10.0.0.1", name="bond0", mac=MAC_2),
            interface("10.0.0.5", "10.0.0.1", name="eth0", mac=MAC_1),
        ),
    )
    assert ips(vm) == ["10.0.0.1", "10.0.0.5"]


def test_a_plausible_fqdn_is_an_internal_dns_name_after_all_ips() -> None:
    assert texts(instance(ips=["10.0.0.1"], fqdn="W1.example.com")) == [
        "InternalIP 10.0.0.1",
        "InternalDNS w1.example.com",
    ]
    assert texts(instance(ips=[], fqdn="localhost.localdomain")) == []


# ---- provided-node-ip ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["10.0.0.1", "fd00::1", "10.0.0.1,fd00::1", "fd00::1,10.0.0.1"])
def test_one_ip_or_one_of_each_family_is_read_in_its_order(text: str) -> None:
    assert parse_provided_ips(text) == tuple(ip_address(ip) for ip in text.split(","))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "10.0.0.1,",
        "10.0.0.1,10.0.0.2",
        "10.0.0.1,fd00::1,fd00::2",
        "10.0.0.1, fd00::1",
    ],
)
def test_anything_else_is_an_error_that_says_why(text: str) -> None:
    provided = parse_provided_ips(text)
    assert isinstance(provided, InvalidNodeIPs)
    assert provided.reason


KNOWN = (
    *internal("10.0.0.1", "10.0.0.2", "fd00:0::1"),
    address("external", "203.0.113.7"),
    address("dns", "w1.example.com"),
)


@pytest.mark.parametrize(
    ("provided", "expected"),
    [
        ("10.0.0.2", (KNOWN[1], *KNOWN[3:])),
        ("fd00::1", (KNOWN[2], *KNOWN[3:])),
        ("10.0.0.1 fd00::1", (KNOWN[0], KNOWN[2], *KNOWN[3:])),
        ("fd00::1 10.0.0.1", (KNOWN[2], KNOWN[0], *KNOWN[3:])),
        ("203.0.113.7", (KNOWN[3], *KNOWN[:3], KNOWN[4])),
        ("", KNOWN),
        ("10.0.0.9", None),
        ("10.0.0.1 fd00::9", None),
    ],
)
def test_provided_ips_go_first_and_replace_others_of_their_type(
    provided: str, expected: object
) -> None:
    assert prefer_node_ips(KNOWN, [ip_address(ip) for ip in provided.split()]) == expected
