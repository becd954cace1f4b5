"""What can be searched: the columns of VMs, hosts, clusters, data centres, events and others."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from provider.simulator.search import Column, Table, value_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.simulator.eventlog import Event
    from provider.simulator.machine import Vm
    from provider.simulator.objects import Host
    from provider.simulator.world import World

# The engine's names of VM states in searches. They are not those of the API.
_SEARCH_STATUS = {
    "up": "up",
    "down": "down",
    "powering_up": "poweringup",
    "powering_down": "poweringdown",
    "paused": "paused",
    "migrating": "migratingfrom",
    "unknown": "unknown",
    "not_responding": "notresponding",
    "wait_for_launch": "waitforlaunch",
    "reboot_in_progress": "rebootinprogress",
    "saving_state": "savingstate",
    "restoring_state": "restoringstate",
    "suspended": "suspended",
    "image_locked": "imagelocked",
    "unassigned": "unassigned",
    None: "imageillegal",
}
_VM_STATUSES = frozenset(_SEARCH_STATUS.values()) | {"migratingto"}
_HOST_STATUSES = frozenset(
    {
        "down", "error", "initializing", "installing", "installfailed", "maintenance",
        "nonoperational", "nonresponsive", "pendingapproval", "preparingformaintenance",
        "connecting", "reboot", "unassigned", "up",
    }
)  # fmt: skip
_SEVERITIES = frozenset({"normal", "warning", "error", "alert"})


class TagExpansion:
    """What a searched tag stands for: the tags of that name, and all below them.

    `is_stale` switches on the engine's cache: a search text without `*` keeps the tags that
    it stood for when it was first used.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._cache: dict[tuple[str, str], frozenset[str]] = {}
        self.is_stale = False

    def names(self, value: str, text: str) -> frozenset[str]:
        """The names of the tags that `value` stands for in this search text."""
        if not self.is_stale or "*" in text:
            return self._now(value)
        return self._cache.setdefault((text, value), self._now(value))

    def _now(self, value: str) -> frozenset[str]:
        pattern = value_pattern(value, is_exact=True)
        tags = [t for t in self._world.tags if t.parent and pattern.fullmatch(t.name)]
        return frozenset(t.name for t in self._world.with_descendants(tags))


def vm_table(tags: TagExpansion, text: str) -> Table[Vm]:
    """The columns of VMs, for one search text."""
    columns: dict[str, Column[Vm]] = {
        "name": Column(lambda vm: [vm.name]),
        "comment": Column(lambda vm: [vm.comment]),
        "description": Column(lambda vm: [vm.description]),
        "id": Column(lambda vm: [vm.id], is_uuid=True),
        "status": Column(lambda vm: [_SEARCH_STATUS[vm.status]], enum=_VM_STATUSES),
        "fqdn": Column(lambda vm: [vm.fqdn] if vm.fqdn else []),
        "ip": Column(_addresses),
        "os": Column(lambda vm: [vm.os]),
        "type": Column(lambda _: ["server"]),
        "architecture": Column(lambda vm: [vm.cluster.architecture]),
        "host": Column(_host_name),
        "cluster": Column(lambda vm: [vm.cluster.name]),
        "datacenter": Column(_data_center_name),
        "template": Column(lambda _: ["Blank"]),
        "memory": Column(lambda vm: [str(vm.memory >> 20)], sort_key=lambda vm: vm.memory),
        "creationdate": Column(lambda vm: [str(vm.created)], sort_key=lambda vm: vm.created),
        "tag": Column(
            lambda vm: [t.name for t in vm.tags],
            is_row_wise=True,
            expand=cache(lambda value: tags.names(value, text)),  # once a search, not a VM
        ),
    }
    columns |= {f"{kind}.name": columns[kind] for kind in ("host", "cluster", "datacenter")}
    return Table("vms", columns, _vm_texts, lambda vm: (vm.name, vm.id))


def _vm_texts(vm: Vm) -> Iterable[str]:
    texts = [vm.name, vm.comment, vm.description, vm.os, vm.cluster.name, vm.fqdn or ""]
    return [*texts, *_host_name(vm), *_data_center_name(vm), *_addresses(vm)]


def _addresses(vm: Vm) -> Iterable[str]:
    return [a for d in vm.devices for a in d.addresses] if vm.agent_speaks else []


def _host_name(vm: Vm) -> Iterable[str]:
    return [vm.host.name] if vm.host else []


def _data_center_name(vm: Vm) -> Iterable[str]:
    return [vm.cluster.data_center.name] if vm.cluster.data_center else []


def host_table() -> Table[Host]:
    """The columns of hosts."""
    columns: dict[str, Column[Host]] = {
        "name": Column(lambda h: [h.name]),
        "address": Column(lambda h: [h.address]),
        "cluster": Column(lambda h: [h.cluster.name]),
        "status": Column(lambda h: [h.status.replace("_", "")], enum=_HOST_STATUSES),
    }
    return Table("vds", columns, lambda h: [h.name, h.address, h.cluster.name], lambda h: h.name)


def named_table(kind: str) -> Table[Any]:
    """The columns of everything that is searched by name, description and data centre."""
    columns: dict[str, Column[Any]] = {
        "name": Column(lambda thing: [thing.name]),
        "usrname": Column(lambda thing: [getattr(thing, "audit_name", "")]),
        "description": Column(lambda thing: [getattr(thing, "description", "")]),
        "status": Column(lambda thing: [getattr(thing, "status", "")]),
        "datacenter": Column(_data_center_name_of),
    }
    return Table(kind, columns, columns["name"].texts, lambda thing: thing.name)


def _data_center_name_of(thing: Any) -> Iterable[str]:  # any named object
    data_center = getattr(thing, "data_center", None)
    return [data_center.name] if data_center else []


def event_table() -> Table[Event]:
    """The columns of events. Newest first unless sorted."""
    columns: dict[str, Column[Event]] = {
        "severity": Column(lambda e: [e.severity], enum=_SEVERITIES),
        "type": Column(lambda e: [str(e.code)]),
        "message": Column(lambda e: [e.description]),
        "correlation_id": Column(lambda e: [e.correlation_id] if e.correlation_id else []),
        "time": Column(lambda e: [str(e.time)], sort_key=lambda e: (e.time, e.id)),
        "event_vm": _ref_column("vm"),
        "event_host": _ref_column("host"),
        "event_datacenter": _ref_column("data_center"),
        "usrname": _ref_column("user"),
        "vms.name": _ref_column("vm"),
        "host.name": _ref_column("host"),
    }
    return Table(
        "audit_log", columns, lambda e: [e.description], lambda e: e.id, is_descending=True
    )


def _ref_column(kind: str) -> Column[Event]:
    return Column(lambda e: [e.refs[kind][0]] if kind in e.refs else [])
