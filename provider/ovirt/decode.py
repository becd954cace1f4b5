"""A VM of the engine's JSON, joined with the topology, becomes an Instance. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

from provider.model import Instance, InstanceStatus, Interface, Nic, Tag, Unreadable
from provider.ovirt.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Collection

    from provider.model import IPAddress
    from provider.ovirt import wire

_STATUSES = {str(status): status for status in InstanceStatus}


class Decoder:
    """Turns the VMs of one engine into instances; knows those of the listing before.

    Nearly all VMs are the same from one listing to the next. To compare them costs an eighth of
    joining them again, and an unchanged VM stays the same object for whoever compares later.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._engine_id = ""
        self._topology = Topology()
        self._known: dict[str, tuple[wire.Vm, Instance]] = {}

    def use(self, engine_id: str, topology: Topology) -> None:
        """From here on ids mean what `topology` says."""
        if (engine_id, topology) != (self._engine_id, self._topology):
            self._known.clear()
        self._engine_id, self._topology = engine_id, topology

    def keep(self, ids: Collection[str]) -> None:
        """Forgets the VMs that are not among `ids`."""
        self._known = {key: known for key, known in self._known.items() if key in ids}

    def instance(self, vm: wire.Vm | Unreadable) -> Instance | Unreadable:
        """The instance, or why it cannot be understood.

        A VM without its name, or whose cards, interfaces or tags were not given, is unreadable:
        what is not known must not look like what is not there.
        """
        if isinstance(vm, Unreadable):
            return vm
        known = self._known.get(vm.id)
        if known is not None and known[0] == vm:
            return known[1]
        if missing := _missing(vm):
            return Unreadable(vm.id.lower(), vm.name or None, f"it comes without {missing}")
        try:
            instance = self._join(vm)
        except (ValueError, OverflowError, OSError) as error:
            return Unreadable(vm.id.lower(), vm.name, str(error))
        if known is not None and known[1] == instance:
            instance = known[1]
        self._known[vm.id] = (vm, instance)
        return instance

    def _join(self, vm: wire.Vm) -> Instance:
        topology = self._topology
        kind = vm.instance_type
        return Instance(
            id=vm.id.lower(),
            name=vm.name,
            engine=self._engine,
            engine_id=self._engine_id,
            status=_STATUSES.get(vm.status) if vm.status else None,
            cluster=topology.clusters.get(vm.cluster.id) if vm.cluster else None,
            host=topology.hosts.get(vm.host.id) if vm.host else None,
            tags=self._tags(vm.tags.tag) if vm.tags else frozenset(),
            cpus=_cpus(vm.cpu),
            memory=vm.memory,
            instance_type=topology.instance_types.get(kind.id) if kind else None,
            fqdn=vm.fqdn or None,
            started=_moment(vm.start_time),
            nics=_nics(vm),
            interfaces=_interfaces(vm),
            properties=properties_of(vm.custom_properties),
        )

    def _tags(self, tags: list[wire.WireTag]) -> frozenset[Tag]:
        if len(tags) == 1:
            return self._lineage(tags[0])
        return frozenset().union(*(self._lineage(tag) for tag in tags))

    def _lineage(self, tag: wire.WireTag) -> frozenset[Tag]:
        """A tag and its ancestors; one that is newer than the topology hangs below its parent."""
        known = self._topology.tags.get(tag.id)
        if known is not None:
            return known
        above = self._topology.tags.get(tag.parent.id, frozenset()) if tag.parent else frozenset()
        parents = {t.parent for t in above}
        name = next((t.name for t in above if t.name not in parents), None)
        return above | {Tag(tag.name, name)}


def _missing(vm: wire.Vm) -> str:
    if not vm.name:
        return "its name"
    if vm.nics is None:
        return "its network cards"
    if vm.tags is None:
        return "its tags"
    if vm.reported_devices is None:
        return "its reported devices"
    return ""


def _cpus(cpu: wire.Cpu | None) -> int:
    topology = cpu.topology if cpu else None
    return topology.sockets * topology.cores * topology.threads if topology else 0


def _moment(value: int | str | None) -> datetime | None:
    """Epoch milliseconds, as number or text, or ISO 8601 as the engine writes it in XML."""
    if value is None:
        return None
    if isinstance(value, str) and not value.isdecimal():
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(value) / 1000, UTC)


def properties_of(given: wire.CustomProperties | None) -> tuple[tuple[str, str], ...]:
    """Name and value of each, by name, as the engine promises no order."""
    pairs = ((one.name, one.value) for one in given.custom_property) if given else ()
    return tuple(sorted(pairs))


def _nics(vm: wire.Vm) -> tuple[Nic, ...]:
    nics = vm.nics.nic if vm.nics else ()
    return tuple(map(_nic, nics))


def _interfaces(vm: wire.Vm) -> tuple[Interface, ...]:
    """The interfaces by name, as the engine sends them in any order, another each time."""
    devices = vm.reported_devices.reported_device if vm.reported_devices else []
    if not devices and vm.nics:
        devices = [
            device
            for nic in vm.nics.nic
            if nic.reported_devices
            for device in nic.reported_devices.reported_device
        ]
    return tuple(sorted(map(_interface, devices), key=_by_name))


def _by_name(interface: Interface) -> tuple[str, str]:
    return interface.name, interface.mac or ""


def _nic(nic: wire.WireNic) -> Nic:
    return Nic(nic.name, _mac(nic.mac))


def _interface(device: wire.Device) -> Interface:
    texts = [ip.address for ip in device.ips.ip] if device.ips else ()
    addresses = [address for text in texts if (address := _address(text)) is not None]
    addresses.sort(key=_by_family)
    return Interface(device.name, _mac(device.mac), tuple(addresses))


def _mac(mac: wire.Mac | None) -> str | None:
    return mac.address.lower() or None if mac else None


def _by_family(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)


def _address(text: str) -> IPAddress | None:
    """The address, without the scope that some agents add; None for what is none.

    It is the guest's word: nonsense there must not make the VM unreadable. The C library parses
    five times as fast as `ipaddress` does.
    """
    try:
        if ":" in text:
            return IPv6Address(inet_pton(AF_INET6, text.partition("%")[0]))
        return IPv4Address(inet_pton(AF_INET, text))
    except (OSError, ValueError):
        return None
