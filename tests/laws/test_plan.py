from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.config import Config
from provider.decisions.decision import decide
from provider.decisions.identity import Directory, provider_id
from provider.decisions.metadata import LABELS, describe
from provider.decisions.plan import apply, plan
from provider.decisions.registration import Patience, Refusal, prospects
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    TAINT_UNINITIALIZED,
    AddressType,
    Instance,
    NewNode,
    Node,
    NodePatch,
)
from tests.builders import config, internal, node, snapshot
from tests.laws.strategies import (
    close_directories,
    clusters_of_nodes,
    configs,
    directories,
    instances,
    managed_nodes,
    nodes,
    pointing_nodes,
    reporting_instances,
)

OUR_LABELS = {label for labels in LABELS.values() for label in labels}
INTERNAL = AddressType.INTERNAL_IP


def planned(node: Node, instance: Instance, config: Config) -> NodePatch:
    metadata = describe(instance, snapshot(instance), config)
    return plan(node, metadata).patch or NodePatch()


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_an_applied_plan_plans_nothing(node: Node, instance: Instance, config: Config) -> None:
    after = apply(node, planned(node, instance, config))
    assert planned(after, instance, config) == NodePatch()


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_a_patch_names_only_what_changes_apart_from_the_twin_of_a_label(
    node: Node, instance: Instance, config: Config
) -> None:
    patch = planned(node, instance, config)
    assert (apply(node, patch) != node) == bool(patch.changes)
    assert patch.addresses is None or patch.addresses != node.addresses
    assert not patch.provider_id or not node.provider_id


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_nothing_of_others_ever_changes(node: Node, instance: Instance, config: Config) -> None:
    patch = planned(node, instance, config)
    assert not (patch.labels.keys() - OUR_LABELS) & node.labels.keys()
    assert patch.annotations.keys() <= {ANNOTATION_ENGINE, ANNOTATION_APPLIED}
    after = apply(node, patch)
    others = tuple(taint for taint in node.taints if taint.key != TAINT_UNINITIALIZED)
    kept = [taint for taint in after.taints if taint.key != TAINT_UNINITIALIZED]
    assert tuple(kept[: len(others)]) == others
    assert after.provider_id == node.provider_id or not node.provider_id


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_the_taint_never_goes_without_an_internal_ip(
    node: Node, instance: Instance, config: Config
) -> None:
    after = apply(node, planned(node, instance, config))
    if node.is_uninitialized and not after.is_uninitialized:
        assert any(one.type == INTERNAL for one in after.addresses)


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_no_node_ever_loses_its_last_internal_ip_or_a_hostname(
    node: Node, instance: Instance, config: Config
) -> None:
    after = apply(node, planned(node, instance, config)).addresses
    had, has = ({one.type for one in found} for found in (node.addresses, after))
    assert INTERNAL in has or INTERNAL not in had
    kept = {one for one in node.addresses if one.type == AddressType.HOSTNAME}
    assert kept <= set(after)
    assert len(after) == len(set(after))


@given(nodes | managed_nodes, instances | reporting_instances, configs())
def test_both_labels_of_a_pair_are_equal_after_either_is_written(
    node: Node, instance: Instance, config: Config
) -> None:
    patch = planned(node, instance, config)
    for pair in LABELS.values():
        assert len({patch.labels.get(label) for label in pair}) == 1


DRIFTS: dict[str, dict[str, object]] = {
    "no provider id": {"provider_id": ""},
    "no labels": {"labels": {}},
    "another name of its engine": {"annotations": {ANNOTATION_ENGINE: "east"}},
}


@given(reporting_instances, configs(), st.sampled_from(sorted(DRIFTS)))
def test_an_initialised_node_that_drifts_is_mended(
    instance: Instance, config: Config, drift: str
) -> None:
    uninitialised = node(addresses=internal("10.0.0.1"))
    initialised = apply(uninitialised, planned(uninitialised, instance, config))
    assume(not initialised.is_uninitialized)
    drifted = replace(initialised, **DRIFTS[drift])
    assert apply(drifted, planned(drifted, instance, config)) == initialised


# ---- registration ----------------------------------------------------------------------------


def created(new: NewNode) -> Node:
    """The Node that the API server makes of `new`."""
    return node(
        new.name,
        provider_id=new.provider_id,
        labels=new.labels,
        annotations=new.annotations,
        taints=new.taints,
        addresses=new.addresses,
        system_uuid="",
        kubelet_version="",
    )


@given(directories() | close_directories, clusters_of_nodes, configs())
def test_a_registered_node_is_found_needs_nothing_and_is_registered_once(
    directory: Directory, there: dict[str, Node], config: Config
) -> None:
    outcomes = prospects(directory, there, config)
    new = [one for one in outcomes if not isinstance(one, Refusal | Patience)]
    added = {one.name: created(one) for one in new}
    assert len(added) == len(new)
    assert not added.keys() & there.keys()
    again = tuple(prospects(directory, {**there, **added}, config))
    assert all(isinstance(one, Refusal | Patience) for one in again)
    for one in added.values():
        decision = decide(one, directory, config)
        assert decision.metadata is not None
        assert decision.plan.patch is None


@given(close_directories, st.lists(pointing_nodes, max_size=2))
def test_no_instance_that_a_node_claims_is_registered(
    directory: Directory, there: list[Node]
) -> None:
    named = {one.name: one for one in there}
    found = tuple(prospects(directory, named, config()))
    new = {one.provider_id for one in found if isinstance(one, NewNode)}
    claims = {claim for one in named.values() for claim in (one.provider_id, one.system_uuid)}
    assert not new & {provider_id(claim) for claim in claims}
