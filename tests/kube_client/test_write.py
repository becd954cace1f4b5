"""One patch as writes: their order, their number, and others who write at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.errors import Conflict, Invalid, OutcomeUnknown
from provider.kube.write import apply_patch, rebase
from provider.model import (
    ANNOTATION_APPLIED,
    TAINT_UNINITIALIZED,
    Node,
    NodeAddress,
    NodePatch,
    Taint,
)
from provider.simulator.cluster import Conflict as ConflictFault
from provider.simulator.cluster import GatewayTimeout
from tests.laws.strategies import structs

if TYPE_CHECKING:
    from provider.kube.api import KubeApi
    from provider.simulator.cluster import SimulatedCluster

pytestmark = pytest.mark.looptime

UNINITIALIZED = Taint(TAINT_UNINITIALIZED, "NoSchedule", "true")
OTHER = Taint("example.com/other", "NoSchedule")
ADDRESSES = (NodeAddress("InternalIP", "10.0.0.9"), NodeAddress("InternalIP", "fd00::9"))


def manifest(*taints: Taint, **metadata: Any) -> dict[str, Any]:
    meta = {"name": "a", "labels": {"kept": "yes"}, "annotations": {"kept": "yes"}} | metadata
    spec = {"taints": [{"key": t.key, "effect": t.effect, "value": t.value} for t in taints]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec}


def initialisation(node: Node) -> NodePatch:
    return NodePatch(
        addresses=ADDRESSES,
        labels={"topology.kubernetes.io/zone": "z"},
        annotations={"ccm.ovirt.org/engine": "e"},
        provider_id="ovirt://1",
        taints=tuple(taint for taint in node.taints if taint.key != TAINT_UNINITIALIZED),
    )


async def written(api: KubeApi, node: Node, patch: NodePatch) -> Node:
    """The Node after the patch, whose version is as it was told."""
    version = await apply_patch(api, node, patch)
    after = await api.get_node(node.name)
    assert after.resource_version == version
    return after


def writes(cluster: SimulatedCluster) -> list[tuple[str, int]]:
    return [
        (r.path.removeprefix("/api/v1/nodes/"), r.status)
        for r in cluster.requests
        if r.method == "PATCH"
    ]


async def test_addresses_come_first_and_all_else_in_one_more_write(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED, OTHER))
    node = await api.get_node("a")

    after = await written(api, node, initialisation(node))

    assert writes(cluster) == [("a/status", 200), ("a", 200)]
    assert after.addresses == ADDRESSES
    assert after.provider_id == "ovirt://1"
    assert after.labels == {"kept": "yes", "topology.kubernetes.io/zone": "z"}
    assert after.annotations == {"kept": "yes", "ccm.ovirt.org/engine": "e"}
    assert not after.is_uninitialized
    assert OTHER.key in {taint.key for taint in after.taints}


async def test_a_node_without_any_label_takes_two_writes_as_well(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED, labels={}, annotations={}))
    node = await api.get_node("a")

    after = await written(api, node, initialisation(node))

    assert writes(cluster) == [("a/status", 200), ("a", 200)]
    assert after.labels == {"topology.kubernetes.io/zone": "z"}
    assert not after.is_uninitialized


async def test_only_what_changes_is_written(cluster: SimulatedCluster, api: KubeApi) -> None:
    cluster.nodes.create(manifest())
    node = await api.get_node("a")

    assert await apply_patch(api, node, NodePatch()) == node.resource_version
    await apply_patch(api, node, NodePatch(addresses=ADDRESSES))
    await apply_patch(api, node, NodePatch(labels={"x": "y"}))

    assert writes(cluster) == [("a/status", 200), ("a", 200)]


async def test_taints_that_others_write_meanwhile_are_kept(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED, OTHER))
    node = await api.get_node("a")
    new = [{"key": "example.com/new", "effect": "NoExecute"}]
    first = [{"key": t.key, "effect": t.effect} for t in node.taints if t.key == OTHER.key]
    rest = [{"key": UNINITIALIZED.key, "effect": "NoSchedule"}]
    cluster.nodes.patch("a", {"spec": {"taints": new + first + rest}})

    after = await written(api, node, initialisation(node))

    assert {taint.key for taint in after.taints} == {"example.com/new", OTHER.key}


@pytest.mark.parametrize("addresses", [None, ADDRESSES], ids=["one write", "two writes"])
async def test_a_taint_that_is_added_is_added_to_what_is_there(
    cluster: SimulatedCluster, api: KubeApi, addresses: tuple[NodeAddress, ...] | None
) -> None:
    cluster.nodes.create(manifest(OTHER))
    node = await api.get_node("a")
    cluster.nodes.patch("a", {"spec": {"taints": [{"key": "late", "effect": "NoExecute"}]}})

    ours = Taint("ours", "NoSchedule")
    after = await written(api, node, NodePatch(addresses, taints=(*node.taints, ours)))

    assert {taint.key for taint in after.taints} == {"late", "ours"}


RULED = NodePatch(
    labels={"ruled": "yes"},
    annotations={ANNOTATION_APPLIED: "{}"},
    taints=(OTHER, Taint("ruled", "NoSchedule")),
)


async def test_what_the_rules_want_is_written_again_when_only_the_status_has_changed(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(OTHER))
    node = await api.get_node("a")
    cluster.nodes.patch("a", {"status": {"phase": "x"}}, subresource="status")

    after = await written(api, node, RULED)

    assert after.labels["ruled"] == "yes"
    assert [status for _, status in writes(cluster)] == [409, 200]


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {"ruled": "no"}}},
        {"spec": {"taints": [{"key": "ruled", "value": "x", "effect": "NoSchedule"}]}},
    ],
)
@pytest.mark.parametrize("addresses", [None, ADDRESSES], ids=["one write", "two writes"])
async def test_what_others_have_set_meanwhile_is_never_taken_over(
    cluster: SimulatedCluster,
    api: KubeApi,
    change: dict[str, Any],
    addresses: tuple[NodeAddress, ...] | None,
) -> None:
    cluster.nodes.create(manifest(OTHER))
    node = await api.get_node("a")
    cluster.nodes.patch("a", change)
    theirs = await api.get_node("a")

    with pytest.raises(Conflict, match="has changed"):
        await apply_patch(api, node, replace(RULED, addresses=addresses))
    after = await api.get_node("a")
    if addresses:  # which are ours to write, before all that others may have set
        theirs = replace(theirs, addresses=addresses, resource_version=after.resource_version)
    assert after == theirs


async def test_a_conflict_is_overcome_by_reading_again(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED))
    node = await api.get_node("a")
    cluster.faults.inject(ConflictFault(), times=3)

    after = await written(api, node, NodePatch(taints=(), labels={"x": "y"}))

    assert not after.is_uninitialized
    assert [status for _, status in writes(cluster)] == [409, 409, 409, 200]


async def test_endless_conflicts_are_given_up(cluster: SimulatedCluster, api: KubeApi) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED))
    node = await api.get_node("a")
    patch = NodePatch(taints=(), labels={"x": "y"})
    cluster.faults.inject(ConflictFault(), times=None)

    with pytest.raises(Conflict):
        await apply_patch(api, node, patch)
    assert len(writes(cluster)) == 5
    assert (await api.get_node("a")).is_uninitialized


async def test_the_taint_stays_when_the_addresses_went_meanwhile(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(
        manifest(UNINITIALIZED)
        | {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}}
    )
    node = await api.get_node("a")
    cluster.nodes.patch("a", {"status": {"addresses": []}}, subresource="status")

    with pytest.raises(Conflict):
        await apply_patch(api, node, NodePatch(taints=(), labels={"x": "y"}))
    assert (await api.get_node("a")).is_uninitialized


async def test_another_node_of_the_same_name_is_not_touched(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED))
    node = await api.get_node("a")
    cluster.nodes.delete("a")
    cluster.nodes.create(manifest(UNINITIALIZED))
    before = await api.get_node("a")

    for patch in (
        initialisation(node),
        NodePatch(labels={"x": "y"}),
        NodePatch(taints=(), labels={"x": "y"}),
    ):
        with pytest.raises(Conflict):
            await apply_patch(api, node, patch)
    assert await api.get_node("a") == before


async def test_a_half_done_node_stays_tainted_and_is_finished_later(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED))
    node = await api.get_node("a")
    cluster.faults.inject(GatewayTimeout(is_written=False), path="/status")
    cluster.faults.inject(GatewayTimeout(is_written=False))

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await apply_patch(api, node, initialisation(node))
        assert (await api.get_node("a")).is_uninitialized

    assert not (await written(api, node, initialisation(node))).is_uninitialized


async def test_a_provider_id_that_is_set_already_is_refused(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    cluster.nodes.create(manifest(UNINITIALIZED))
    node = await api.get_node("a")
    cluster.nodes.patch("a", {"spec": {"providerID": "ovirt://2"}})

    with pytest.raises(Invalid):
        await apply_patch(api, node, initialisation(node))
    assert (await api.get_node("a")).is_uninitialized


taints = st.lists(
    structs(Taint, st.sampled_from("abcd"), st.just("NoSchedule"), st.sampled_from("xy")),
    unique_by=lambda taint: taint.key,
).map(tuple)


@given(taints, taints, taints)
def test_a_rebased_list_means_the_same_change(
    before: tuple[Taint, ...], wanted: tuple[Taint, ...], now: tuple[Taint, ...]
) -> None:
    def node(taints: tuple[Taint, ...]) -> Node:
        return Node("a", "u", "1", taints=taints)

    patch = rebase(NodePatch(taints=wanted), node(before), node(now))
    result = {t.key: t for t in (now if patch.taints is None else patch.taints)}

    old, new = {t.key: t for t in before}, {t.key: t for t in wanted}
    for key in "abcd":
        if old.get(key) == new.get(key):  # not ours: as others have it
            assert result.get(key) == {t.key: t for t in now}.get(key)
        else:
            assert result.get(key) == new.get(key)
