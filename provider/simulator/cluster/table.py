"""Tables as `kubectl get` prints them (k8s.io/kubernetes pkg/printers/internalversion)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .resources import EVENTS, LEASES, NAMESPACES, NEW_EVENTS, NODES, PODS, Resource

if TYPE_CHECKING:
    from .resources import Object

Row = Sequence[Any]
Columns = tuple[tuple[str, int], ...]
"""Names with their priority: 0 always, 1 with `-o wide`."""

_ROLE_PREFIX = "node-role.kubernetes.io/"


def build_table(
    resource: Resource,
    objects: Sequence[Object],
    metadata: Object,
    *,
    include: str = "Metadata",
    has_header: bool = True,
) -> Object:
    """A meta.k8s.io/v1 Table of the objects (on the wire's terms)."""
    columns, row_of = _PRINTERS.get(resource, (_DEFAULT_COLUMNS, _default_row))
    table: Object = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(name, priority) for name, priority in columns],
        "rows": [{"cells": row_of(item), "object": _included(item, include)} for item in objects],
    }
    return table if has_header else table | {"columnDefinitions": None}


def human_duration(seconds: float) -> str:
    """The age as kubectl writes it, such as `5m3s`, `7d`, `2y30d`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    for limit, text in _SCALE:
        if whole < limit:
            return text(max(whole, 0))
    return f"{whole // 31_536_000}y"


def _two(whole: int, unit: int, name: str, small: int, small_name: str) -> str:
    rest = whole % unit // small
    return f"{whole // unit}{name}{rest}{small_name}" if rest else f"{whole // unit}{name}"


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 31_536_000
# The steps of k8s.io/apimachinery duration.HumanDuration.
_SCALE: tuple[tuple[int, Callable[[int], str]], ...] = (
    (2 * _MINUTE, lambda whole: f"{whole}s"),
    (10 * _MINUTE, lambda whole: _two(whole, _MINUTE, "m", 1, "s")),
    (3 * _HOUR, lambda whole: f"{whole // _MINUTE}m"),
    (8 * _HOUR, lambda whole: _two(whole, _HOUR, "h", _MINUTE, "m")),
    (2 * _DAY, lambda whole: f"{whole // _HOUR}h"),
    (8 * _DAY, lambda whole: _two(whole, _DAY, "d", _HOUR, "h")),
    (2 * _YEAR, lambda whole: f"{whole // _DAY}d"),
    (8 * _YEAR, lambda whole: _two(whole, _YEAR, "y", _DAY, "d")),
)


def _age(timestamp: str | None) -> str:
    if not timestamp:
        return "<unknown>"
    then = datetime.datetime.fromisoformat(timestamp)
    return human_duration((datetime.datetime.now(datetime.UTC) - then).total_seconds())


def _definition(name: str, priority: int) -> Object:
    form = "name" if name == "Name" else ""
    description = f"{name} of the object"
    return {
        "name": name,
        "type": "string",
        "format": form,
        "description": description,
        "priority": priority,
    }


def _included(item: Object, include: str) -> Object | None:
    match include:
        case "None":
            return None
        case "Object":
            return item
    meta = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return meta | {"metadata": item["metadata"]}


def _created(item: Object) -> str:
    return _age(item["metadata"].get("creationTimestamp"))


def _node_status(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = next((item for item in conditions if item.get("type") == "Ready"), None)
    words = ["Unknown"]
    if ready is not None:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(role for role in roles if role)) or "<none>"


def _first_address(node: Object, kind: str) -> str:
    for address in (node.get("status") or {}).get("addresses") or []:
        if address.get("type") == kind:
            return str(address["address"])
    return "<none>"


def _node_row(node: Object) -> Row:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    details = ("osImage", "kernelVersion", "containerRuntimeVersion")
    return [
        node["metadata"].get("name", ""),
        _node_status(node),
        _node_roles(node),
        _created(node),
        info.get("kubeletVersion", ""),
        _first_address(node, "InternalIP"),
        _first_address(node, "ExternalIP"),
        *(info.get(name) or "<unknown>" for name in details),
    ]


def _event_row(event: Object) -> Row:
    about = event.get("involvedObject") or event.get("regarding") or {}
    source = event.get("source") or event.get("deprecatedSource") or {}
    series = event.get("series") or {}
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    first = first or event.get("eventTime")
    last = series.get("lastObservedTime") or event.get("lastTimestamp")
    last = last or event.get("deprecatedLastTimestamp") or first
    component = event.get("reportingComponent") or event.get("reportingController")
    count = series.get("count") or event.get("count") or event.get("deprecatedCount") or 1
    subject = f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    where = ", ".join(filter(None, (source.get("component") or component, source.get("host"))))
    text = str(event.get("message") or event.get("note") or "").strip()
    name = event["metadata"].get("name", "")
    kind, reason = event.get("type", ""), event.get("reason", "")
    path = about.get("fieldPath", "")
    return [_age(last), kind, reason, subject, path, where, text, _age(first), count, name]


def _lease_row(lease: Object) -> Row:
    holder = (lease.get("spec") or {}).get("holderIdentity", "")
    return [lease["metadata"].get("name", ""), holder, _created(lease)]


def _namespace_row(namespace: Object) -> Row:
    phase = (namespace.get("status") or {}).get("phase", "Active")
    return [namespace["metadata"].get("name", ""), phase, _created(namespace)]


def _default_row(item: Object) -> Row:
    return [item["metadata"].get("name", ""), item["metadata"].get("creationTimestamp")]


_DEFAULT_COLUMNS: Columns = (("Name", 0), ("Created At", 0))
_NODE_COLUMNS: Columns = (
    ("Name", 0),
    ("Status", 0),
    ("Roles", 0),
    ("Age", 0),
    ("Version", 0),
    ("Internal-IP", 1),
    ("External-IP", 1),
    ("OS-Image", 1),
    ("Kernel-Version", 1),
    ("Container-Runtime", 1),
)
_EVENT_COLUMNS: Columns = (
    ("Last Seen", 0),
    ("Type", 0),
    ("Reason", 0),
    ("Object", 0),
    ("Subobject", 1),
    ("Source", 1),
    ("Message", 0),
    ("First Seen", 1),
    ("Count", 1),
    ("Name", 1),
)
_POD_COLUMNS: Columns = (
    ("Name", 0),
    ("Ready", 0),
    ("Status", 0),
    ("Restarts", 0),
    ("Age", 0),
    ("IP", 1),
    ("Node", 1),
    ("Nominated Node", 1),
    ("Readiness Gates", 1),
)
_PRINTERS: dict[Resource, tuple[Columns, Callable[[Object], Row]]] = {
    NODES: (_NODE_COLUMNS, _node_row),
    EVENTS: (_EVENT_COLUMNS, _event_row),
    NEW_EVENTS: (_EVENT_COLUMNS, _event_row),
    LEASES: ((("Name", 0), ("Holder", 0), ("Age", 0)), _lease_row),
    NAMESPACES: ((("Name", 0), ("Status", 0), ("Age", 0)), _namespace_row),
    PODS: (_POD_COLUMNS, _default_row),
}
