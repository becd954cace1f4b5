"""What we send to the API server: patches of Nodes and new Nodes as JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.model import ANNOTATION_APPLIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from provider.model import NewNode, Node, NodeAddress, NodePatch, Taint

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class Write(Struct, frozen=True):
    """The body of one PATCH and its content type."""

    content_type: str
    body: Any


def status_write(node: Node, patch: NodePatch) -> Write:
    """The write to `status`: the address list replaced whole and in order.

    A strategic merge joins addresses by type and corrupts dual stack, unless it says that it
    replaces the list; then it costs the API server a quarter less than a merge-patch, for which it
    turns the whole Node into JSON and back. The uid keeps it off another Node of the same name.
    """
    addresses = [{"$patch": "replace"}, *_addresses(patch.addresses or ())]
    return Write(
        STRATEGIC_PATCH, {"metadata": {"uid": node.uid}, "status": {"addresses": addresses}}
    )


def main_write(node: Node, patch: NodePatch) -> Write:
    """The write to the main resource that carries everything of `patch` but the addresses.

    Without taints a merge-patch: it touches only the keys that it names. `spec.taints` is one
    value in every kind of patch, so a list that was read a moment ago would undo the taints that
    others set meanwhile. Taints that only go are therefore taken out one by one, each `test`ed to
    be the one that is meant, which holds against any number of other writes; every other change
    of the list is written whole with the resourceVersion that it was read at, and so is what the
    rules want: it depends on what others have not set.
    """
    is_bound = is_bound_to_version(node, patch)
    if patch.taints is not None and not is_bound:
        return Write(JSON_PATCH, _removals(node, patch.taints) + _additions(patch))
    body = _merge_body(node, patch)
    if is_bound:
        body["metadata"]["resourceVersion"] = node.resource_version
    if patch.taints is not None:
        body.setdefault("spec", {})["taints"] = [_taint(taint) for taint in patch.taints]
    return Write(MERGE_PATCH, body)


def is_bound_to_version(node: Node, patch: NodePatch) -> bool:
    """Whether the write to the main resource holds only for the very version that was read."""
    return depends_on_others(patch) or (
        patch.taints is not None and not _only_removes(node, patch)
    )


def depends_on_others(patch: NodePatch) -> bool:
    """Whether it was decided by labels and taints that others may write: rules take over none."""
    return ANNOTATION_APPLIED in patch.annotations or None in patch.labels.values()


def encode_new_node(new: NewNode, now: datetime) -> dict[str, Any]:
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
        "status": {"addresses": _addresses(new.addresses), "conditions": [_not_joined(now)]},
    }


def _not_joined(now: datetime) -> dict[str, str]:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Ready",
        "status": "False",
        "reason": "KubeletNotJoined",
        "message": "Registered by the oVirt cloud controller; no kubelet has used this Node yet.",
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
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


@lru_cache(maxsize=1024)  # thousands of nodes get the same labels
def _pointer(key: str) -> str:
    """`key` as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _addresses(addresses: Iterable[NodeAddress]) -> list[dict[str, str]]:
    return [{"type": str(a.type), "address": a.address} for a in addresses]


def _taint(taint: Taint) -> Mapping[str, str]:
    optional = {"value": taint.value, "timeAdded": taint.time_added}
    return {"key": taint.key, "effect": taint.effect} | {k: v for k, v in optional.items() if v}
