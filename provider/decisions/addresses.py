"""Which addresses the node of an instance has, and in what order.

A guest reports whatever it has: bridges of the container runtime, service addresses, floating
addresses. Only what belongs to the machine itself may become an address of its node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from provider.decisions.identity import plausible_fqdn
from provider.model import AddressType, NodeAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from provider.config import Addresses
    from provider.model import Instance, Interface

IPAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Interfaces of container networks and of the guest itself. OpenShift moves the machine's own
# address to br-ex.
_NOT_THE_MACHINES = re.compile(
    r"lo|docker.*|br-(?!ex$).*|cni.*|flannel.*|cali.*|veth.*|virbr.*|kube-ipvs0|nodelocaldns"
    r"|tunl.*|vxlan.*|ovn-k8s-mp.*|cilium_.*|weave.*|dummy.*"
)
_BROADCAST = IPv4Address("255.255.255.255")


def instance_addresses(
    instance: Instance, policy: Addresses, shared: Collection[IPAddress]
) -> tuple[NodeAddress, ...]:
    """InternalIP and ExternalIP addresses of `instance`, then InternalDNS from its FQDN.

    The order is total and depends on nothing that the engine gives in any order: configured
    networks, vNICs, families, value. `shared` addresses belong to a service, not to a machine.
    """
    usable = [
        (address, position)
        for position, interface in _own_interfaces(instance)
        for address in interface.addresses
        if _is_usable(address, policy) and not (shared and address in shared)
    ]
    usable.sort(key=_order(policy))
    ips = dict.fromkeys(address for address, _ in usable)
    external = AddressType.EXTERNAL_IP, AddressType.INTERNAL_IP
    addresses = [
        NodeAddress(external[not _is_in(address, policy.external)], _text(address))
        for address in ips
    ]
    if fqdn := plausible_fqdn(instance.fqdn):
        addresses.append(NodeAddress(AddressType.INTERNAL_DNS, fqdn))
    return tuple(addresses)


def _own_interfaces(instance: Instance) -> Iterator[tuple[int, Interface]]:
    """The interfaces that are the machine's, each with the position of its vNIC.

    By MAC only: guests name and order their interfaces as they like. Engines before 4.5 report
    interfaces that have no vNIC.
    """
    vnics: dict[str, int] = {}
    for position, nic in enumerate(instance.nics):
        if nic.mac:
            vnics.setdefault(nic.mac, position)
    for interface in instance.interfaces:
        position_of_vnic = vnics.get(interface.mac or "") if vnics else 0
        if position_of_vnic is not None and not _NOT_THE_MACHINES.fullmatch(interface.name):
            yield position_of_vnic, interface


def _is_usable(address: IPAddress, policy: Addresses) -> bool:
    return not (
        _is_special(address)
        or f"ipv{address.version}" not in policy.families
        or _is_in(address, policy.exclude)
    )


# The same addresses are looked at again and again, and Python's own are slow: 4 us for a text.
_remembered = lru_cache(maxsize=1 << 16)


@_remembered
def _is_special(address: IPAddress) -> bool:
    """Whether no machine can be reached at it from others."""
    return (
        address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address == _BROADCAST
    )


@_remembered
def _text(address: IPAddress) -> str:
    return str(address)


def _is_in(address: IPAddress, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _order(policy: Addresses) -> Callable[[tuple[IPAddress, int]], tuple[int, int, int, int]]:
    families = {int(family[-1]): rank for rank, family in enumerate(policy.families)}

    def key(found: tuple[IPAddress, int]) -> tuple[int, int, int, int]:
        address, position = found
        preferred = (rank for rank, net in enumerate(policy.networks) if address in net)
        network = next(preferred, len(policy.networks))
        return network, position, families[address.version], int(address)

    return key


# ---- what the kubelet was told ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InvalidNodeIPs:
    """The annotation that names the kubelet's IPs cannot be understood, and why."""

    reason: str


def parse_provided_ips(annotation: str) -> tuple[IPAddress, ...] | InvalidNodeIPs:
    """The IPs of the annotation `alpha.kubernetes.io/provided-node-ip`, in its order.

    One, or one of each family, as k8s.io/component-helpers/node/util/ips reads it.
    """
    try:
        ips = tuple(ip_address(text) for text in annotation.split(","))
    except ValueError as error:
        return InvalidNodeIPs(str(error))
    if len(ips) > 2 or len({ip.version for ip in ips}) < len(ips):
        return InvalidNodeIPs(f"{annotation!r} is neither one IP nor one of each family")
    return ips


def prefer_node_ips(
    addresses: Sequence[NodeAddress], provided: Sequence[IPAddress]
) -> tuple[NodeAddress, ...] | None:
    """`addresses` with the `provided` IPs first; None when one of them is not there.

    Other addresses of the types of these are dropped, other types are kept: the rule of
    k8s.io/cloud-provider/node/helpers. IPs are compared as IPs, however they are written.
    """
    matching: list[NodeAddress] = []
    for ip in provided:
        found = [address for address in addresses if parse_ip(address.address) == ip]
        if not found:
            return None
        matching += found
    types = {address.type for address in matching}
    return (*matching, *(address for address in addresses if address.type not in types))


def parse_ip(text: str) -> IPAddress | None:
    """The IP that `text` is; None when it is something else, such as a host name."""
    try:
        return ip_address(text)
    except ValueError:
        return None
