"""The fields of each kind, and what Go's JSON makes of them (k8s.io/api).

The API server keeps no text: it decodes into structs and writes those. So unknown fields vanish,
wrong types are refused, empty optional fields are left out and mandatory ones always written.

A field's name may end in `!` (always written) or `?` (a pointer: its zero value is kept).
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .resources import Object

Schema = Any
"""A scalar's name, `[schema]`, `{"*": schema}` for a map, or a struct's fields."""


class DecodeError(Exception):
    """The text does not fit the kind; the message is worded as Go's."""


def decode(kind: str, wire: Object, *, is_strict: bool = False) -> Object:
    """The object as the server keeps it; with `is_strict` an unknown field is an error too."""
    unknown: list[str] = []
    decoded: Object = _struct(_KINDS.get(kind, _PLAIN), wire, "", unknown)
    if is_strict and unknown:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        message = f"strict decoding error: {listed}"
        raise DecodeError(message)
    return decoded


def _value(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    if value is None or schema == "any":
        return value
    if isinstance(schema, str):
        return _SCALARS[schema](value, path)
    if isinstance(schema, list):
        _require(value, list, path, "array")
        return [_element(schema[0], item, path, unknown) for item in value]
    _require(value, dict, path, "object")
    if "*" in schema:
        return {key: _element(schema["*"], item, path, unknown) for key, item in value.items()}
    return _struct(schema, value, path, unknown)


def _element(schema: Schema, item: Any, path: str, unknown: list[str]) -> Any:
    """A list's or map's element: null there is the zero value, not absence."""
    return _zero(schema) if item is None else _value(schema, item, path, unknown)


def _struct(schema: dict[str, Schema], value: Object, path: str, unknown: list[str]) -> Object:
    decoded: Object = {}
    for spelled, inner in schema.items():
        name = spelled.rstrip("!?")
        found = _value(inner, value.get(name), f"{path}.{name}".lstrip("."), unknown)
        if spelled.endswith("!"):
            decoded[name] = _zero(inner) if found is None else found
        elif found is not None and (spelled.endswith("?") or found not in ("", 0, [], {})):
            decoded[name] = found
    known = {spelled.rstrip("!?") for spelled in schema} | {"kind", "apiVersion"}
    unknown += [f"{path}.{name}".lstrip(".") for name in value if name not in known]
    return decoded


def _zero(schema: Schema) -> Any:
    """What Go writes for a mandatory field that nobody set."""
    if isinstance(schema, dict) and "*" not in schema:
        return _struct(schema, {}, "", [])
    return {"string": "", "quantity": "0", "int": 0, "bool": False}.get(str(schema))


def _require(value: Any, wanted: type, path: str, name: str) -> None:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        found = _NAMES.get(type(value), "value")
        message = f"json: cannot unmarshal {found} into Go struct field {path} of type {name}"
        raise DecodeError(message)


def _text(value: Any, path: str) -> str:
    _require(value, str, path, "string")
    return str(value)


def _whole(value: Any, path: str) -> int:
    _require(value, int, path, "int32")
    return int(value)


def _truth(value: Any, path: str) -> bool:
    _require(value, bool, path, "bool")
    return bool(value)


def _quantity(value: Any, path: str) -> str:
    if not re.fullmatch(r"[+-]?[\d.]+([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", str(value)):
        message = f"quantities must match the regular expression: {path}: {value}"
        raise DecodeError(message)
    return str(value)


def _time(value: Any, path: str) -> str:
    _require(value, str, path, "Time")
    try:
        parsed = datetime.datetime.fromisoformat(value)
    except ValueError as error:
        raise _bad_time(value, "2006-01-02T15:04:05Z07:00") from error
    return parsed.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(value: Any, path: str) -> str:
    _require(value, str, path, "MicroTime")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", value):
        raise _bad_time(value, "2006-01-02T15:04:05.000000Z07:00")
    parsed = datetime.datetime.fromisoformat(value)
    return parsed.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bad_time(value: str, layout: str) -> DecodeError:
    return DecodeError(f'parsing time "{value}" as "{layout}": cannot parse')


_NAMES = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    list: "array",
    dict: "object",
}
_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "string": _text,
    "int": _whole,
    "bool": _truth,
    "quantity": _quantity,
    "time": _time,
    "micro": _micro_time,
}

_TEXTS = {"*": "string"}
_METADATA = {
    "name": "string",
    "generateName": "string",
    "namespace": "string",
    "selfLink": "string",
    "uid": "string",
    "resourceVersion": "string",
    "generation": "int",
    "creationTimestamp!": "time",
    "deletionTimestamp": "time",
    "deletionGracePeriodSeconds?": "int",
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": ["any"],
    "finalizers": ["string"],
    "managedFields": ["any"],
}
_PLAIN = {"metadata!": _METADATA, "spec": "any", "status": "any"}

_NODE_SPEC = {
    "podCIDR": "string",
    "podCIDRs": ["string"],
    "providerID": "string",
    "unschedulable": "bool",
    "taints": [{"key!": "string", "value": "string", "effect!": "string", "timeAdded": "time"}],
    "configSource": "any",
    "externalID": "string",
    "podPreemptionPolicy": "any",
}
_NODE_CONDITION = {
    "type!": "string",
    "status!": "string",
    "lastHeartbeatTime!": "time",
    "lastTransitionTime!": "time",
    "reason": "string",
    "message": "string",
}
_NODE_INFO = {
    "machineID!": "string",
    "systemUUID!": "string",
    "bootID!": "string",
    "kernelVersion!": "string",
    "osImage!": "string",
    "containerRuntimeVersion!": "string",
    "kubeletVersion!": "string",
    "kubeProxyVersion!": "string",
    "operatingSystem!": "string",
    "architecture!": "string",
    "swap": "any",
}
_NODE_STATUS = {
    "capacity": {"*": "quantity"},
    "allocatable": {"*": "quantity"},
    "phase": "string",
    "conditions": [_NODE_CONDITION],
    "addresses": [{"type!": "string", "address!": "string"}],
    "daemonEndpoints!": {"kubeletEndpoint!": {"Port!": "int"}},
    "nodeInfo!": _NODE_INFO,
    "images": [{"names": ["string"], "sizeBytes": "int"}],
    "volumesInUse": ["string"],
    "volumesAttached": [{"name!": "string", "devicePath!": "string"}],
    "config": "any",
    "runtimeHandlers": ["any"],
    "features": "any",
    "declaredFeatures": ["string"],
}
_REFERENCE = {
    "kind": "string",
    "namespace": "string",
    "name": "string",
    "uid": "string",
    "apiVersion": "string",
    "resourceVersion": "string",
    "fieldPath": "string",
}
_EVENT = {
    "metadata!": _METADATA,
    "involvedObject!": _REFERENCE,
    "reason": "string",
    "message": "string",
    "source!": {"component": "string", "host": "string"},
    "firstTimestamp!": "time",
    "lastTimestamp!": "time",
    "count": "int",
    "type": "string",
    "eventTime!": "micro",
    "series?": {"count": "int", "lastObservedTime!": "micro"},
    "action": "string",
    "related?": _REFERENCE,
    "reportingComponent!": "string",
    "reportingInstance!": "string",
}
_LEASE_SPEC = {
    "holderIdentity?": "string",
    "leaseDurationSeconds?": "int",
    "acquireTime": "micro",
    "renewTime": "micro",
    "leaseTransitions?": "int",
    "strategy?": "string",
    "preferredHolder?": "string",
}
_KINDS: dict[str, dict[str, Schema]] = {
    "Node": {"metadata!": _METADATA, "spec!": _NODE_SPEC, "status!": _NODE_STATUS},
    "Event": _EVENT,
    "Lease": {"metadata!": _METADATA, "spec!": _LEASE_SPEC},
}
