"""What the API server sends: raw JSON to `Node`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotation
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from provider.model import Node, NodeAddress, Taint

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Metadata(msgspec.Struct, gc=False):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815
    creationTimestamp: datetime | None = None  # noqa: N815
    deletionTimestamp: str | None = None  # noqa: N815
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Taint(msgspec.Struct, gc=False):
    key: str
    effect: str = ""
    value: str | None = None
    timeAdded: str | None = None  # noqa: N815


class _Spec(msgspec.Struct, gc=False):
    providerID: str = ""  # noqa: N815
    taints: list[_Taint] | None = None


class _Address(msgspec.Struct, gc=False):
    type: str = ""
    address: str = ""


class _Condition(msgspec.Struct, gc=False):
    type: str = ""
    status: str = ""


class _NodeInfo(msgspec.Struct, gc=False):
    systemUUID: str = ""  # noqa: N815
    kubeletVersion: str = ""  # noqa: N815


class _Status(msgspec.Struct, gc=False):
    addresses: list[_Address] | None = None
    conditions: list[_Condition] | None = None
    nodeInfo: _NodeInfo | None = None  # noqa: N815


class _Node(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _Spec | None = None
    status: _Status | None = None


class _ListMetadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815
    # "continue" is no name in Python.
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Node] | None = None


class _RawList(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    object: _Node


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Version(msgspec.Struct, gc=False):
    resourceVersion: str  # noqa: N815


class _Versioned(msgspec.Struct, gc=False):
    metadata: _Version


_node_decoder = msgspec.json.Decoder(_Node)
_list_decoder = msgspec.json.Decoder(_List)
_raw_list_decoder = msgspec.json.Decoder(_RawList)
_event_decoder = msgspec.json.Decoder(_Event)
_raw_event_decoder = msgspec.json.Decoder(_RawEvent)
_versioned_decoder = msgspec.json.Decoder(_Versioned)


class Undecodable(ValueError):
    """The bytes are not what the API server writes."""


class NodePage(Struct, frozen=True):
    """One page of a listing; `continue_` is empty on the last. `unreadable` says what failed."""

    nodes: tuple[Node, ...]
    resource_version: str
    continue_: str
    unreadable: tuple[str, ...] = ()


class WatchEvent(Struct, frozen=True):
    """One line of a watch: its type and the object as it came."""

    type: str
    raw: bytes


def version_number(version: str) -> int:
    """A resourceVersion as the number that it is (KEP-5504); 0 when it is none."""
    return int(version) if version.isdecimal() else 0


def decode_node(raw: bytes) -> Node:
    """The Node; Undecodable when it is none."""
    try:
        return _to_node(_node_decoder.decode(raw))
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def decode_page(raw: bytes) -> NodePage:
    """The page; a Node that cannot be read costs only itself. Undecodable when it is no list."""
    try:
        page = _list_decoder.decode(raw)
    except msgspec.MsgspecError:
        return _decode_one_by_one(raw)  # half as fast, so only when there is an odd one
    meta, nodes = page.metadata, tuple([_to_node(item) for item in page.items or ()])
    return NodePage(nodes, meta.resourceVersion, meta.continue_)


def _decode_one_by_one(raw: bytes) -> NodePage:
    try:
        page = _raw_list_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error
    nodes, unreadable = [], []
    for item in page.items or ():
        try:
            nodes.append(_to_node(_node_decoder.decode(item)))
        except msgspec.MsgspecError as error:
            unreadable.append(str(error))
    meta = page.metadata
    return NodePage(tuple(nodes), meta.resourceVersion, meta.continue_, tuple(unreadable))


def decode_version(raw: bytes) -> str:
    """The resourceVersion of an object of any kind; Undecodable when it has none."""
    try:
        return _versioned_decoder.decode(raw).metadata.resourceVersion
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def decode_node_event(line: bytes) -> tuple[str, Node]:
    """Type and Node of a line of a watch, at one go; Undecodable when it has no Node.

    Of a BOOKMARK only the Node's version means something.
    """
    try:
        event = _event_decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error
    return event.type, _to_node(event.object)


def decode_event(line: bytes) -> WatchEvent:
    """Type and object of a line of a watch; Undecodable when the line is broken."""
    try:
        event = _raw_event_decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error
    return WatchEvent(event.type, bytes(event.object))


def _to_node(raw: _Node) -> Node:
    meta, spec, status = raw.metadata, raw.spec or _Spec(), raw.status or _Status()
    info = status.nodeInfo or _NodeInfo()
    return Node(
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resourceVersion,
        created=meta.creationTimestamp,
        provider_id=spec.providerID,
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        taints=tuple(
            [Taint(t.key, t.effect, t.value, t.timeAdded) for t in spec.taints or ()],
        ),
        addresses=tuple([NodeAddress(a.type, a.address) for a in status.addresses or ()]),
        system_uuid=info.systemUUID,
        kubelet_version=info.kubeletVersion,
        is_ready=_is_ready(status.conditions or ()),
        is_deleting=meta.deletionTimestamp is not None,
    )


def _is_ready(conditions: Iterable[_Condition]) -> bool | None:
    for condition in conditions:
        if condition.type == "Ready":
            return {"True": True, "False": False}.get(condition.status)
    return None
