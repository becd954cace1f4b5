"""The mutable state of the simulated engine, and the changes that concern more than one VM."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import count
from typing import TYPE_CHECKING, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from provider.simulator.clock import Clock
from provider.simulator.eventlog import EventLog
from provider.simulator.machine import Vm
from provider.simulator.objects import (
    NIL_ID,
    Cluster,
    DataCenter,
    Device,
    Host,
    InstanceType,
    Network,
    Nic,
    Permission,
    Role,
    Tag,
    User,
)
from provider.simulator.versions import is_reported

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.simulator.scenario import NicSpec, Scenario, VmSpec

_ROLES = (
    ("SuperUser", frozenset({"login", "tag_management", "audit_log_management"})),
    ("ReadOnlyAdmin", frozenset({"login"})),
    ("TagManager", frozenset({"login", "tag_management", "audit_log_management"})),
)
Named = TypeVar("Named", Cluster, DataCenter, Host, Tag, User, Vm, InstanceType, Network)


class World:
    """Everything that the engine knows. Look-ups take a name or an id; KeyError when unknown."""

    def __init__(self, scenario: Scenario) -> None:
        self.clock = Clock()
        self.events = EventLog(self.clock)
        self.durations = scenario.durations
        self.version = tuple(int(n) for n in f"{scenario.engine.version}.0".split(".")[:3])
        self.instance_id = scenario.engine.instance_id or str(
            uuid5(NAMESPACE_URL, "ovirt:simulated")
        )
        self.correlation_id = ""
        self._macs = count(1)
        self.vms: dict[str, Vm] = {}
        self._build_frame(scenario)
        for spec in scenario.vms:
            for copy in spec.copies():
                self._add_from(copy)

    def _build_frame(self, scenario: Scenario) -> None:
        self.accounts = [
            User(
                u.id or self._id("user", u.name),
                u.name,
                u.password,
                u.role,
                frozenset(u.vms),
                is_known=u.known,
            )
            for u in scenario.users
        ]
        self.roles = [Role(self._id("role", name), name, permits) for name, permits in _ROLES]
        self.data_centers = [
            DataCenter(d.id or self._id("dc", d.name), d.name, d.status, d.description, d.local)
            for d in scenario.data_centers
        ]
        self._build_places(scenario)
        self._build_tags(scenario)
        self.instance_types = [
            InstanceType(i.id or self._id("type", i.name), i.name, i.sockets, i.memory)
            for i in scenario.instance_types
        ]

    def _build_places(self, scenario: Scenario) -> None:
        self.networks = [
            Network(self._id("net", d.name), "ovirtmgmt", d, self._id("profile", d.name))
            for d in self.data_centers
        ]
        self.clusters = [
            Cluster(
                c.id or self._id("cluster", c.name),
                c.name,
                self.data_center(c.data_center) if c.data_center else None,
                c.description,
                c.architecture,
            )
            for c in scenario.clusters
        ]
        self.hosts = [
            Host(
                h.id or self._id("host", h.name),
                h.name,
                self.cluster(h.cluster),
                h.address or h.name,
                h.status,
            )
            for h in scenario.hosts
        ]

    def _build_tags(self, scenario: Scenario) -> None:
        self.root_tag = Tag(NIL_ID, "root", "root", None)
        self.tags = [self.root_tag]
        for t in scenario.tags:
            self.tags.append(Tag(t.id or self._id("tag", t.name), t.name, t.description, None))
        for t in scenario.tags:
            self.tag(t.name).parent = self.tag(t.parent) if t.parent else self.root_tag

    def _id(self, kind: str, name: str) -> str:
        """The same id at each run, so that a demo can be started again."""
        return str(uuid5(UUID(self.instance_id), f"{kind}:{name}"))

    def _add_from(self, spec: VmSpec) -> Vm:
        vm_id = spec.id or self._id("vm", f"{spec.cluster}/{spec.name}")
        pairs = [self._nic(vm_id, nic) for nic in spec.nics]
        extra = [Device(d.name, d.mac, tuple(str(a) for a in d.addresses)) for d in spec.devices]
        devices = [*(d for _, d in pairs if d), *extra]
        macs = frozenset(nic.mac for nic, _ in pairs if nic.has_profile)
        host = spec.host[0] if isinstance(spec.host, tuple) else spec.host
        vm = Vm(
            self, vm_id, spec.name, self.cluster(spec.cluster),
            host=self.host(host) if host else None, status=spec.status, fqdn=spec.fqdn,
            has_agent=spec.agent, reports_os=spec.reports_os,
            tags=tuple(self.tag(t) for t in spec.tags),
            nics=tuple(nic for nic, _ in pairs),
            devices=tuple(d for d in devices if is_reported(self.version, d, macs)),
            description=spec.description, comment=spec.comment,
            sockets=spec.sockets, cores=spec.cores, threads=spec.threads, memory=spec.memory,
            os=spec.os,
            instance_type=self.instance_type(spec.instance_type) if spec.instance_type else None,
            is_delete_protected=spec.delete_protected, initialization=spec.initialization,
            custom_properties=dict(spec.custom_properties), overrides=dict(spec.overrides),
            broken_links=spec.broken_links, start_fault=spec.start_fault,
        )  # fmt: skip
        vm.agent_speaks = vm.has_agent and vm.is_dynamic
        vm.created = vm.started = vm.stopped = self.clock.epoch_ms()
        if vm.is_dynamic and vm.host is None and self.hosts and vm.status != "unassigned":
            vm.host = self.host_for(vm.cluster)
        self.vms[vm.id] = vm
        return vm

    def _nic(self, vm_id: str, spec: NicSpec) -> tuple[Nic, Device | None]:
        mac = spec.mac or "56:6f:1a:{:02x}:{:02x}:{:02x}".format(
            *next(self._macs).to_bytes(3, "big")
        )
        nic = Nic(spec.id or str(uuid5(UUID(vm_id), spec.name)), spec.name, mac, spec.has_profile)
        if not spec.device:
            return nic, None
        addresses = [str(a) for a in spec.addresses]
        if spec.link_local:
            addresses.insert(1, _link_local(mac))
        return nic, Device(spec.device, mac, tuple(addresses))

    def create_vm(self, name: str, cluster: Cluster, user: User | None) -> Vm:
        """A new VM that is down, as `POST /vms` makes it from the blank template."""
        vm = Vm(self, str(uuid4()), name, cluster, status="down")
        vm.created = vm.stopped = self.clock.epoch_ms()
        self.vms[vm.id] = vm
        refs = {"vm": (vm.name, vm.id), "cluster": (cluster.name, cluster.id)}
        self.write_event(34, refs, user)
        return vm

    def forget(self, vm: Vm) -> None:
        """Drop a VM, without an event; a list that runs shows it with its links empty."""
        vm.is_removed = True
        self.vms.pop(vm.id, None)

    def vm(self, key: str) -> Vm:
        """The VM of this id or name (the first, when several data centres have the name)."""
        return self.vms.get(key) or _named(self.vms.values(), key)

    def host(self, key: str) -> Host:
        """The host of this id or name."""
        return _named(self.hosts, key)

    def cluster(self, key: str) -> Cluster:
        """The cluster of this id or name."""
        return _named(self.clusters, key)

    def data_center(self, key: str) -> DataCenter:
        """The data centre of this id or name."""
        return _named(self.data_centers, key)

    def tag(self, key: str) -> Tag:
        """The tag of this id or name."""
        return _named(self.tags, key)

    def user(self, key: str) -> User:
        """The account of this id or name."""
        return _named(self.users, key)

    @property
    def users(self) -> list[User]:
        """The accounts that the engine knows; others are in its directory only."""
        return [account for account in self.accounts if account.is_known]

    @property
    def permissions(self) -> list[Permission]:
        """All that users may do on the whole system."""
        first = [
            Permission(self._id("permission", user.name), user, role)
            for user in self.users
            for role in self.roles
            if role.name == user.role
        ]
        return [*first, *(one for user in self.users for one in user.permissions)]

    def instance_type(self, key: str) -> InstanceType:
        """The instance type of this id or name."""
        return _named(self.instance_types, key)

    def network_of(self, cluster: Cluster) -> Network | None:
        """The management network of the cluster's data centre."""
        return next((n for n in self.networks if n.data_center is cluster.data_center), None)

    def host_for(self, cluster: Cluster, other: Host | None = None) -> Host:
        """The host of the cluster with the fewest VMs that is up; KeyError when there is none."""
        load = {h.id: 0 for h in self.hosts}
        for vm in self.vms.values():
            if vm.host:
                load[vm.host.id] += 1
        fit = [
            h for h in self.hosts if h.cluster is cluster and h.status == "up" and h is not other
        ]
        if not fit:
            raise KeyError(f"no host of cluster {cluster.name} is up")
        return min(fit, key=lambda h: (load[h.id], h.name))

    def lose_host(self, key: str) -> None:
        """A host stops answering: its VMs become unknown, their data stays and grows stale."""
        host = self.host(key)
        host.status = "non_responsive"
        self.write_event(12, {"host": (host.name, host.id)})
        for vm in self._vms_on(host):
            vm.set_status("unknown")

    def recover_host(self, key: str) -> None:
        """The host answers again, and its VMs had been up all the time."""
        host = self.host(key)
        host.status = "up"
        self.write_event(14, {"host": (host.name, host.id)})
        for vm in self._vms_on(host):
            vm.set_status("up")

    def _vms_on(self, host: Host) -> list[Vm]:
        return [vm for vm in self.vms.values() if vm.host is host]

    def add_tag(
        self, name: str, parent: Tag | None = None, *, description: str | None = "",
        user: User | None = None,
    ) -> Tag:  # fmt: skip
        """A new tag under `parent`, or under the root."""
        tag = Tag(str(uuid4()), name, description, parent or self.root_tag)
        self.tags.append(tag)
        self.write_event(432, {}, user, tag=name)
        return tag

    def remove_tag(self, key: str, user: User | None = None) -> None:
        """Remove a tag with all its descendants, from every VM as well."""
        gone = self.with_descendants([self.tag(key)])
        for vm in self.vms.values():
            if any(t in gone for t in vm.tags):
                vm.tags = tuple(t for t in vm.tags if t not in gone)
        self.tags = [t for t in self.tags if t not in gone]
        for tag in gone:
            self.write_event(434, {}, user, tag=tag.name)

    def with_descendants(self, tags: Iterable[Tag]) -> list[Tag]:
        """These tags and every tag below them."""
        found = list(tags)
        for tag in found:
            found.extend(t for t in self.tags if t.parent is tag and t not in found)
        return found

    def touch(self) -> None:
        """Let every VM be rendered anew, after a change of what VMs refer to."""
        for vm in self.vms.values():
            vm.rendered.clear()

    def write_event(
        self, code: int, refs: dict[str, tuple[str, str]], user: User | None = None, **words: str
    ) -> None:
        """An event of now, by this user, under the correlation id of the request that runs.

        What a user does has a correlation id in any case.
        """
        correlation_id = self.correlation_id
        if user:
            refs = {**refs, "user": (user.audit_name, user.id)}
            correlation_id = correlation_id or str(uuid4())
        self.events.write(code, refs, correlation_id=correlation_id, **words)


def _named(things: Iterable[Named], key: str) -> Named:
    for thing in things:
        if key in (thing.id, thing.name):
            return thing
    raise KeyError(key)


def _link_local(mac: str) -> str:
    """The EUI-64 address that a guest gives itself (RFC 4291, appendix A)."""
    octets = [int(o, 16) for o in mac.split(":")]
    octets[0] ^= 2
    tail = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + tail))
