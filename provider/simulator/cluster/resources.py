"""The kinds that the simulated API server serves."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from .status import Subject

Object = dict[str, Any]

READ = ("get", "list", "watch")
ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One served resource; two versions of one plural share their objects.

    A PUT may make an object that is absent when `may_create_on_update`, and must name the version
    that it replaces when `requires_version` (the server's strategy of each kind).
    """

    group: str
    plural: str
    kind: str
    _: KW_ONLY
    is_namespaced: bool
    has_status: bool = False
    may_create_on_update: bool = False
    requires_version: bool = False
    verbs: tuple[str, ...] = ALL
    short_names: tuple[str, ...] = ()

    @property
    def storage(self) -> str:
        """The collection that holds its objects."""
        return self.plural

    @property
    def api_version(self) -> str:
        """`v1` or `<group>/v1`."""
        return f"{self.group}/v1" if self.group else "v1"

    def subject(self, name: str = "", **extra: Any) -> Subject:
        """What errors about this resource speak of."""
        return Subject(self.plural, self.kind, self.group, name, extra=extra)


NODES = Resource("", "nodes", "Node", is_namespaced=False, has_status=True, short_names=("no",))
NAMESPACES = Resource("", "namespaces", "Namespace", is_namespaced=False, short_names=("ns",))
PODS = Resource("", "pods", "Pod", is_namespaced=True, verbs=READ, short_names=("po",))
EVENTS = Resource(
    "", "events", "Event", is_namespaced=True, may_create_on_update=True, short_names=("ev",)
)
NEW_EVENTS = replace(EVENTS, group="events.k8s.io")
LEASES = Resource(
    "coordination.k8s.io",
    "leases",
    "Lease",
    is_namespaced=True,
    may_create_on_update=True,
    requires_version=True,
)

RESOURCES = (NODES, NAMESPACES, PODS, EVENTS, LEASES, NEW_EVENTS)
STORAGES = tuple(dict.fromkeys(resource.storage for resource in RESOURCES))

# events.k8s.io/v1 is the same object under other field names (k8s.io/api/events/v1).
_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "reportingComponent": "reportingController",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def to_wire(resource: Resource, stored: Object) -> Object:
    """The object as this resource's version shows it; the argument stays as it is."""
    typed = {"kind": resource.kind, "apiVersion": resource.api_version}
    if resource is NEW_EVENTS:
        return typed | {
            _NEW_NAMES.get(key, key): value for key, value in stored.items() if value != ""
        }
    return typed | stored


def from_wire(resource: Resource, wire: Object) -> Object:
    """The object as it is stored: without its type, events in the core version's names."""
    names = _OLD_NAMES if resource is NEW_EVENTS else {}
    return {
        names.get(key, key): value
        for key, value in wire.items()
        if key not in ("kind", "apiVersion")
    }


def find_resource(group: str, plural: str) -> Resource | None:
    """The served resource of that name, or None."""
    for resource in RESOURCES:
        if (resource.group, resource.plural) == (group, plural):
            return resource
    return None
