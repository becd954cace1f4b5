from __future__ import annotations

import contextlib
import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provider.simulator.cluster import SimulatedCluster, StatusError
from provider.simulator.cluster.patch import (
    JSON,
    MERGE,
    STRATEGIC,
    apply_patch,
    merge_patch,
)
from provider.simulator.cluster.resources import NODES
from provider.simulator.cluster.schema import DecodeError, decode

METADATA = ("name", "uid", "resourceVersion", "labels", "annotations", "finalizers", "$patch")
SPEC = ("taints", "providerID", "unschedulable", "podCIDRs", "$patch")
STATUS = ("addresses", "conditions", "capacity", "nodeInfo", "daemonEndpoints", "images")
INNER = ("type", "address", "key", "effect", "value", "status", "cpu", "$patch", "systemUUID")
NAMES = ("metadata", "spec", "status", "kind", "other", *METADATA, *SPEC, *STATUS, *INNER)
TEXTS = ("", "a", "b", "True", "Ready", "InternalIP", "NoSchedule", "replace", "delete", "2", "v1")
SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(TEXTS) | st.floats(0, 1)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4)
    ),
    max_leaves=8,
)


def part(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=3) | VALUES


BODIES = st.fixed_dictionaries(
    {},
    optional={
        "metadata": part(METADATA),
        "spec": part(SPEC),
        "status": part(STATUS),
        "kind": SCALARS,
    },
)
PATHS = st.lists(st.sampled_from((*NAMES, "0", "1", "-", "")), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "test", "copy", "move", "none"])},
    optional={"path": PATHS, "from": PATHS, "value": VALUES},
)
PATCHES = (
    st.tuples(st.sampled_from([MERGE, STRATEGIC]), BODIES | VALUES)
    | st.tuples(st.just(JSON), st.lists(OPERATIONS | SCALARS, max_size=3))
    | st.tuples(st.just(JSON), VALUES)
)


def new_cluster() -> SimulatedCluster:
    cluster = SimulatedCluster()
    cluster.kubelet("a", system_uuid="u", provided_node_ip="10.0.0.1").ready()
    return cluster


@given(body=BODIES)
def test_any_body_makes_a_node_or_is_refused(body: Any) -> None:
    cluster = SimulatedCluster()

    with contextlib.suppress(StatusError):
        created = cluster.nodes.create(body)
        assert cluster.nodes.get(created["metadata"]["name"]) == created


@given(patch=PATCHES)
def test_any_patch_is_applied_or_refused_and_leaves_what_is_stored(patch: tuple[str, Any]) -> None:
    cluster = new_cluster()
    before = copy.deepcopy(cluster.nodes.get("a"))

    with contextlib.suppress(StatusError):
        patched = apply_patch(*patch, cluster.nodes.get("a"))
        assert cluster.nodes.get("a") == before
        stored = cluster.nodes.patch("a", patched)
        assert cluster.nodes.patch("a", {}) == stored


@given(patch=BODIES)
def test_a_merge_patch_applied_twice_changes_nothing_more(patch: Any) -> None:
    once = merge_patch(new_cluster().nodes.get("a"), patch)

    assert merge_patch(once, patch) == once


@given(body=BODIES)
def test_what_is_decoded_decodes_to_itself(body: Any) -> None:
    with contextlib.suppress(DecodeError):
        decoded = decode(NODES.kind, body)
        assert decode(NODES.kind, decoded) == decoded
