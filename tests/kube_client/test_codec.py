"""Raw JSON to Node, and patches to JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.kube.codec import (
    Undecodable,
    decode_event,
    decode_node,
    decode_node_event,
    decode_page,
    decode_version,
)
from provider.kube.encode import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    encode_new_node,
    main_write,
    status_write,
)
from provider.model import (
    ANNOTATION_APPLIED,
    TAINT_UNINITIALIZED,
    NewNode,
    Node,
    NodeAddress,
    NodePatch,
    Taint,
)

UNINITIALIZED = Taint(TAINT_UNINITIALIZED, "NoSchedule", "true")
NOT_READY = Taint("node.kubernetes.io/not-ready", "NoExecute", None, "2026-11-25T10:00:00Z")

# A Node of a 1.37 kubelet, shortened where nothing is read.
FULL: dict[str, Any] = {
    "kind": "Node",
    "apiVersion": "v1",
    "metadata": {
        "name": "worker-1",
        "uid": "df849822-2624-47b0-b017-70fd8e12cd1c",
        "resourceVersion": "211",
        "creationTimestamp": "2026-11-25T22:55:21Z",
        "deletionTimestamp": "2026-11-25T23:55:21Z",
        "labels": {"kubernetes.io/hostname": "worker-1"},
        "annotations": {"alpha.kubernetes.io/provided-node-ip": "10.0.0.1"},
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
    },
    "spec": {
        "podCIDR": "10.128.0.0/24",
        "providerID": "ovirt://1",
        "taints": [
            {"key": TAINT_UNINITIALIZED, "value": "true", "effect": "NoSchedule"},
            {"key": NOT_READY.key, "effect": "NoExecute", "timeAdded": "2026-11-25T10:00:00Z"},
        ],
    },
    "status": {
        "capacity": {"cpu": "4"},
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "True", "reason": "KubeletReady"},
        ],
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "worker-1"},
        ],
        "nodeInfo": {"systemUUID": "5A1D0000", "kubeletVersion": "v1.37.2", "bootID": "x"},
        "declaredFeatures": ["a"],
    },
}


def node(**facts: Any) -> Node:
    defaults: dict[str, Any] = {
        "name": "worker-1",
        "uid": "uid-1",
        "resource_version": "7",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "taints": (NOT_READY, UNINITIALIZED),
        "addresses": (NodeAddress("InternalIP", "10.0.0.1"),),
    }
    return Node(**(defaults | facts))


def without(*taints: Taint) -> NodePatch:
    kept = tuple(taint for taint in node().taints if taint not in taints)
    return NodePatch(labels={"topology.kubernetes.io/zone": "z"}, taints=kept)


def test_a_full_node_is_read() -> None:
    assert decode_node(json.dumps(FULL).encode()) == Node(
        name="worker-1",
        uid="df849822-2624-47b0-b017-70fd8e12cd1c",
        resource_version="211",
        created=datetime(2026, 11, 25, 22, 55, 21, tzinfo=UTC),
        provider_id="ovirt://1",
        labels={"kubernetes.io/hostname": "worker-1"},
        annotations={"alpha.kubernetes.io/provided-node-ip": "10.0.0.1"},
        taints=(UNINITIALIZED, NOT_READY),
        addresses=(NodeAddress("InternalIP", "10.0.0.1"), NodeAddress("Hostname", "worker-1")),
        system_uuid="5A1D0000",
        kubelet_version="v1.37.2",
        is_ready=True,
        is_deleting=True,
    )


def test_a_bare_node_is_read() -> None:
    assert decode_node(b'{"metadata": {"name": "a", "labels": null}}') == Node("a", "", "")


@pytest.mark.parametrize(
    ("status", "expected"), [("True", True), ("False", False), ("Unknown", None)]
)
def test_ready_follows_its_condition(status: str, *, expected: bool | None) -> None:
    conditions = [{"type": "Ready", "status": status}]
    raw = json.dumps({"metadata": {}, "status": {"conditions": conditions}}).encode()

    assert decode_node(raw).is_ready is expected


@given(st.binary())
def test_noise_is_undecodable_and_nothing_else(raw: bytes) -> None:
    for decode in (decode_node, decode_page, decode_event, decode_node_event, decode_version):
        with pytest.raises(Undecodable):
            decode(raw)


def test_an_event_of_a_node_is_read_at_one_go() -> None:
    raw = json.dumps(FULL).encode()

    read = decode_node_event(b'{"type": "MODIFIED", "object": %b}' % raw)

    assert read == ("MODIFIED", decode_node(raw))


def test_a_version_is_read_from_an_object_of_any_kind() -> None:
    brief = b'{"kind": "PartialObjectMetadata", "metadata": {"resourceVersion": "7", "labels": 1}}'

    assert decode_version(brief) == "7"
    assert decode_version(json.dumps(FULL).encode()) == "211"
    with pytest.raises(Undecodable):
        decode_version(b'{"kind": "Status", "metadata": {}}')


@given(st.integers(0, len(json.dumps(FULL)) - 1))
def test_a_node_that_is_cut_anywhere_is_undecodable(length: int) -> None:
    with pytest.raises(Undecodable):
        decode_node(json.dumps(FULL).encode()[:length])


def test_a_page_keeps_what_can_be_read() -> None:
    odd = {"metadata": {"name": "odd", "labels": 1}}
    meta = {"resourceVersion": "9", "continue": "next"}
    page = decode_page(json.dumps({"metadata": meta, "items": [odd, FULL]}).encode())

    assert [n.name for n in page.nodes] == ["worker-1"]
    assert (page.resource_version, page.continue_) == ("9", "next")
    assert len(page.unreadable) == 1


def test_an_empty_list_may_be_null() -> None:
    page = decode_page(b'{"metadata": {"resourceVersion": "9"}, "items": null}')

    assert page.nodes == ()


def test_the_status_write_replaces_the_whole_list_in_order() -> None:
    addresses = (NodeAddress("InternalIP", "fd00::1"), NodeAddress("InternalIP", "10.0.0.1"))
    write = status_write(node(), NodePatch(addresses=addresses, labels={"x": "y"}))

    assert write.content_type == STRATEGIC_PATCH
    assert write.body == {
        "metadata": {"uid": "uid-1"},
        "status": {
            "addresses": [
                {"$patch": "replace"},
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": "10.0.0.1"},
            ]
        },
    }


def test_without_taints_only_our_keys_are_written() -> None:
    patch = NodePatch(labels={"x": "y"}, annotations={"p": "q"}, provider_id="ovirt://1")
    write = main_write(node(), patch)

    assert write.content_type == MERGE_PATCH
    assert write.body == {
        "metadata": {"uid": "uid-1", "labels": {"x": "y"}, "annotations": {"p": "q"}},
        "spec": {"providerID": "ovirt://1"},
    }


@pytest.mark.parametrize(
    "patch",
    [
        NodePatch(annotations={ANNOTATION_APPLIED: "{}"}),
        NodePatch(labels={"a": None}),
        NodePatch(labels={"a": None}, taints=(NOT_READY,)),
        NodePatch(annotations={ANNOTATION_APPLIED: None}, taints=(NOT_READY,)),
    ],
)
def test_what_rules_write_or_remove_is_written_at_the_version_that_was_read(
    patch: NodePatch,
) -> None:
    write = main_write(node(), patch)

    assert write.content_type == MERGE_PATCH
    assert write.body["metadata"]["resourceVersion"] == "7"
    assert write.body["metadata"].get("labels", {}) == patch.labels
    assert ("spec" in write.body) == (patch.taints is not None)


def test_a_taint_is_removed_from_its_place_after_a_test_that_it_is_there() -> None:
    write = main_write(node(), without(UNINITIALIZED))

    assert write.content_type == JSON_PATCH
    assert write.body == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
        {
            "op": "test",
            "path": "/status/addresses",
            "value": [{"type": "InternalIP", "address": "10.0.0.1"}],
        },
        {"op": "test", "path": "/spec/taints/1/key", "value": TAINT_UNINITIALIZED},
        {"op": "test", "path": "/spec/taints/1/effect", "value": "NoSchedule"},
        {"op": "remove", "path": "/spec/taints/1"},
        {"op": "add", "path": "/metadata/labels/topology.kubernetes.io~1zone", "value": "z"},
    ]


def test_several_taints_are_removed_from_the_last_to_the_first() -> None:
    write = main_write(node(), without(UNINITIALIZED, NOT_READY))

    removals = [step["path"] for step in write.body if step["op"] == "remove"]
    assert removals == ["/spec/taints/1", "/spec/taints/0"]


@pytest.mark.parametrize(
    ("facts", "patch"),
    [
        ({}, NodePatch(taints=(NOT_READY, UNINITIALIZED, Taint("new", "NoSchedule")))),
        ({}, NodePatch(taints=(UNINITIALIZED, NOT_READY))),
        ({"labels": {}}, NodePatch(labels={"x": "y"}, taints=(NOT_READY,))),
        ({"annotations": {}}, NodePatch(annotations={"x": "y"}, taints=(NOT_READY,))),
    ],
)
def test_what_removals_cannot_say_is_written_whole_at_the_version_that_was_read(
    facts: dict[str, Any], patch: NodePatch
) -> None:
    write = main_write(node(**facts), patch)

    assert write.content_type == MERGE_PATCH
    assert write.body["metadata"]["resourceVersion"] == "7"
    assert len(write.body["spec"]["taints"]) == len(patch.taints or ())
    assert {"key": NOT_READY.key, "effect": "NoExecute", "timeAdded": NOT_READY.time_added} in (
        write.body["spec"]["taints"]
    )


def test_a_new_node_is_written_with_everything_at_once() -> None:
    address = NodeAddress("InternalIP", "10.0.0.1")
    new = NewNode("w", "ovirt://1", {"l": "1"}, {"a": "2"}, (UNINITIALIZED,), (address,))

    now = datetime(2026, 11, 25, 22, 30, tzinfo=UTC)

    assert encode_new_node(new, now) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "w", "labels": {"l": "1"}, "annotations": {"a": "2"}},
        "spec": {
            "providerID": "ovirt://1",
            "taints": [{"key": TAINT_UNINITIALIZED, "effect": "NoSchedule", "value": "true"}],
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "KubeletNotJoined",
                    "message": (
                        "Registered by the oVirt cloud controller; no kubelet has used this Node"
                        " yet."
                    ),
                    "lastHeartbeatTime": "2026-11-25T22:30:00Z",
                    "lastTransitionTime": "2026-11-25T22:30:00Z",
                }
            ],
        },
    }
