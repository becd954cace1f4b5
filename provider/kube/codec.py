"""The wire format of Nodes: raw JSON to `Node`, and what we write to JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - msgspec reads the annotation
from typing import TYPE_CHECKING, Any

import msgspec

from provider.model import ANNOTATION_APPLIED, NewNode, Node, NodeAddress, NodePatch, Taint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


# ---- reading -----------------------------------------------------------------------------------


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


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _VersionMetadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815


class _Versioned(msgspec.Struct):
    metadata: _VersionMetadata


_node_decoder = msgspec.json.Decoder(_Node)
_list_decoder = msgspec.json.Decoder(_List)
_raw_list_decoder = msgspec.json.Decoder(_RawList)
_event_decoder = msgspec.json.Decoder(_Event)
_versioned_decoder = msgspec.json.Decoder(_Versioned)


class Undecodable(ValueError):
    """The bytes are not what the API server writes."""


@dataclass(frozen=True, slots=True)
class NodePage:
    """One page of a listing; `continue_` is empty on the last. `unreadable` says what failed."""

    nodes: tuple[Node, ...]
    resource_version: str
    continue_: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch: its type and the object as it came."""

    type: str
    raw: bytes


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


def decode_event(line: bytes) -> WatchEvent:
    """Type and object of a line of a watch; Undecodable when the line is broken."""
    try:
        event = _event_decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error
    return WatchEvent(event.type, bytes(event.object))


def decode_version(raw: bytes) -> str:
    """The resourceVersion of any object; empty when it has none that can be read."""
    try:
        return _versioned_decoder.decode(raw).metadata.resourceVersion
    except msgspec.MsgspecError:
        return ""


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


# ---- writing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """The body of one PATCH and its content type."""

    content_type: str
    body: Any


def status_write(node: Node, patch: NodePatch) -> Write:
    """The write to `status`: the address list replaced whole and in order.

    A merge-patch, because a strategic merge joins addresses by type and corrupts dual stack. The
    uid keeps it off another Node of the same name.
    """
    addresses = _addresses(patch.addresses or ())
    return Write(MERGE_PATCH, {"metadata": {"uid": node.uid}, "status": {"addresses": addresses}})


def main_write(node: Node, patch: NodePatch) -> Write:
    """The write to the main resource that carries everything of `patch` but the addresses.

    Without taints a merge-patch: it touches only the keys that it names. `spec.taints` is one
    value in every kind of patch, so a list that was read a moment ago would undo the taints that
    others set meanwhile. Taints that only go are therefore taken out one by one, each `test`ed to
    be the one that is meant, which holds against any number of other writes; every other change
    of the list is written whole with the resourceVersion that it was read at, and so is what the
    rules want: it depends on what others have not set.
    """
    is_ruled = depends_on_others(patch)
    if patch.taints is not None and not is_ruled and _only_removes(node, patch):
        return Write(JSON_PATCH, _removals(node, patch.taints) + _additions(patch))
    body = _merge_body(node, patch)
    if patch.taints is not None or is_ruled:
        body["metadata"]["resourceVersion"] = node.resource_version
    if patch.taints is not None:
        body.setdefault("spec", {})["taints"] = [_taint(taint) for taint in patch.taints]
    return Write(MERGE_PATCH, body)


def depends_on_others(patch: NodePatch) -> bool:
    """Whether it was decided by labels and taints that others may write: rules take over none."""
    return ANNOTATION_APPLIED in patch.annotations or None in patch.labels.values()


def encode_new_node(new: NewNode) -> dict[str, Any]:
    """The Node to create; the API server keeps the status of a new Node.

    It is born not ready: of a Node without that condition kube-controller-manager takes the
    taint not-ready at once (seen on 1.37), and pods would go where no kubelet is.
    """
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": new.name,
            "labels": dict(new.labels),
            "annotations": dict(new.annotations),
        },
        "spec": {"providerID": new.provider_id, "taints": [_taint(t) for t in new.taints]},
        "status": {"addresses": _addresses(new.addresses), "conditions": [_NOT_JOINED]},
    }


_NOT_JOINED = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotJoined",
    "message": "Registered by the oVirt cloud controller; no kubelet has used this Node yet.",
}


def _merge_body(node: Node, patch: NodePatch) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": node.uid}
    if patch.labels:
        metadata["labels"] = dict(patch.labels)
    if patch.annotations:
        metadata["annotations"] = dict(patch.annotations)
    body: dict[str, Any] = {"metadata": metadata}
    if patch.provider_id:
        body["spec"] = {"providerID": patch.provider_id}
    return body


def _only_removes(node: Node, patch: NodePatch) -> bool:
    """Whether JSON patch can say it: kept taints stay as they are, and no map must be made.

    Nor must an annotation go, which may have gone by itself. `add` below a map that does not
    exist is refused, and making the map could drop a key that somebody else added first.
    """
    kept = tuple(taint for taint in node.taints if taint in (patch.taints or ()))
    return (
        kept == patch.taints
        and not (patch.labels and not node.labels)
        and not (patch.annotations and not node.annotations)
        and None not in patch.annotations.values()
    )


def _removals(node: Node, remaining: Iterable[Taint]) -> list[dict[str, Any]]:
    """Tests that nothing is what it was not, then removals, last first so that places hold.

    The addresses are tested so that the taint never goes when they went meanwhile (k/k#120720).
    """
    keep = frozenset(remaining)
    gone = [place for place, taint in enumerate(node.taints) if taint not in keep]
    tests: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": node.uid}]
    if node.addresses:
        addresses = _addresses(node.addresses)
        tests.append({"op": "test", "path": "/status/addresses", "value": addresses})
    for place in gone:
        taint = node.taints[place]
        for key, value in (("key", taint.key), ("effect", taint.effect)):
            tests.append({"op": "test", "path": f"/spec/taints/{place}/{key}", "value": value})
    removals = [{"op": "remove", "path": f"/spec/taints/{place}"} for place in reversed(gone)]
    return [*tests, *removals]


def _additions(patch: NodePatch) -> list[dict[str, Any]]:
    pairs = [
        *((f"/metadata/labels/{_pointer(k)}", v) for k, v in patch.labels.items()),
        *((f"/metadata/annotations/{_pointer(k)}", v) for k, v in patch.annotations.items()),
    ]
    if patch.provider_id:
        pairs.append(("/spec/providerID", patch.provider_id))
    return [{"op": "add", "path": path, "value": value} for path, value in pairs]


def _pointer(key: str) -> str:
    """`key` as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _addresses(addresses: Iterable[NodeAddress]) -> list[dict[str, str]]:
    return [{"type": str(a.type), "address": a.address} for a in addresses]


def _taint(taint: Taint) -> Mapping[str, str]:
    optional = {"value": taint.value, "timeAdded": taint.time_added}
    return {"key": taint.key, "effect": taint.effect} | {k: v for k, v in optional.items() if v}
