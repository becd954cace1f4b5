"""Which addresses the node of an instance has, and in what order.

A guest reports whatever it has: bridges of the container runtime, service addresses, floating
addresses. Only what belongs to the machine itself may become an address of its node.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.identity import plausible_fqdn
from provider.model import AddressType, NodeAddress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

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
        (*_rank(address, facts, position, policy), address, facts.text)
        for position, interface in _own_interfaces(instance)
        for address in interface.addresses
        if _is_usable(address, facts := _facts(address), policy)
        and not (shared and address in shared)
    ]
    addresses = {
        text: NodeAddress(_type(address, policy), text) for *_, address, text in sorted(usable)
    }
    fqdn = plausible_fqdn(instance.fqdn)
    names = (NodeAddress(AddressType.INTERNAL_DNS, fqdn),) if fqdn else ()
    return (*addresses.values(), *names)


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


def _is_usable(address: IPAddress, facts: _Facts, policy: Addresses) -> bool:
    return not (
        facts.is_special or facts.family not in policy.families or _is_in(address, policy.exclude)
    )


def _rank(
    address: IPAddress, facts: _Facts, position: int, policy: Addresses
) -> tuple[int, int, int, int]:
    """Where it stands: by configured network, vNIC, family, value."""
    preferred = (rank for rank, net in enumerate(policy.networks) if address in net)
    network = next(preferred, len(policy.networks))
    return network, position, policy.families.index(facts.family), facts.number


def _type(address: IPAddress, policy: Addresses) -> AddressType:
    is_external = _is_in(address, policy.external)
    return AddressType.EXTERNAL_IP if is_external else AddressType.INTERNAL_IP


def _is_in(address: IPAddress, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


class _Facts(Struct, frozen=True):
    """What an address is by itself; `is_special` when no machine can be reached at it."""

    is_special: bool
    family: str
    number: int
    text: str


# The same ones are looked at again and again, and Python's own are slow: 4 us for a text.
_remembered = lru_cache(maxsize=1 << 16)


@_remembered
def _facts(address: IPAddress) -> _Facts:
    is_special = (
        address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address == _BROADCAST
    )
    return _Facts(is_special, f"ipv{address.version}", int(address), str(address))


def ip_text(address: IPAddress) -> str:
    """The text of an address, as in the addresses of nodes."""
    return _facts(address).text


# ---- what the kubelet was told ---------------------------------------------------------------


class InvalidNodeIPs(Struct, frozen=True):
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


@_remembered
def parse_ip(text: str) -> IPAddress | None:
    """The IP that `text` is; None when it is something else, such as a host name."""
    try:
        return ip_address(text)
    except ValueError:
        return None
