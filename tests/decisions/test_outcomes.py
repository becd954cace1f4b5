"""What would become of VMs and nodes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from provider.decisions.decision import decide
from provider.decisions.identity import Directory, directory
from provider.decisions.outcomes import (
    Fate,
    Outcome,
    Stranger,
    instance_outcomes,
    strangers,
    unjoined,
)
from provider.decisions.plan import apply
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_REGISTERED,
    Instance,
    InstanceStatus,
    Node,
    Unreadable,
)
from tests.builders import (
    ENGINE_ID,
    NOW,
    address,
    config,
    instance,
    internal,
    node,
    snapshot,
    uuid_of,
)

OURS = {ANNOTATION_ENGINE: ENGINE_ID}


def known(*instances: Instance, unreadable: tuple[Unreadable, ...] = ()) -> Directory:
    return directory([snapshot(*instances, unreadable=unreadable)], {"east": ""}, match_fqdn=False)


def by_name(*nodes: Node) -> dict[str, Node]:
    return {one.name: one for one in nodes}


def outcome(*instances: Instance, nodes: tuple[Node, ...] = (), **registration: Any) -> Outcome:
    """The outcome of the first of these VMs."""
    found = instance_outcomes(
        known(*instances), by_name(*nodes), config(registration=registration)
    )
    return next(one for one in found if one.candidate == instances[0])


def fate(*instances: Instance, nodes: tuple[Node, ...] = ()) -> tuple[Fate, str]:
    found = outcome(*instances, nodes=nodes)
    return found.fate, found.reason


def settled(**facts: Any) -> Node:
    """A node of ours that has all that its VM gives it."""
    waiting = node()
    patch = decide(waiting, known(instance()), config()).plan.patch
    assert patch is not None
    return replace(apply(waiting, patch), **facts)


# ---- VMs -------------------------------------------------------------------------------------


def test_a_vm_without_a_node_would_be_registered_under_its_node_name() -> None:
    found = outcome(instance("Worker_1"))

    assert (found.node, found.fate, found.reason) == ("worker-1", Fate.REGISTERED, "")


def test_a_tainted_node_would_be_initialised() -> None:
    assert fate(instance(), nodes=(node(),)) == (Fate.INITIALISED, "")


def test_a_node_that_is_as_it_shall_be_is_initialised() -> None:
    assert fate(instance(), nodes=(settled(),)) == (Fate.SETTLED, "")


def test_a_rule_that_may_not_have_its_way_is_told_of_a_node_that_is_initialised() -> None:
    rules = [{"tag": "docker-host", "labels": {"pool": "a"}}]
    vm, there = instance(), settled(labels={**settled().labels, "pool": "b"})

    (found,) = instance_outcomes(known(vm), by_name(there), config(rules=rules))

    assert found.fate is Fate.SETTLED
    assert "label pool is 'b'" in found.reason


def test_a_node_that_differs_would_be_refreshed_and_the_change_is_named() -> None:
    assert fate(instance(host="hv-2"), nodes=(settled(),)) == (
        Fate.REFRESHED,
        "host: hv-1 -> hv-2",
    )


def test_a_node_without_taint_and_annotation_is_not_managed() -> None:
    assert fate(instance(), nodes=(node(taints=()),))[0] is Fate.UNMANAGED


def test_a_node_that_is_being_deleted_is_waited_for() -> None:
    found = fate(instance(), nodes=(node(is_deleting=True),))

    assert found == (Fate.WAITS, "the node is being deleted")


def test_a_node_whose_vm_reports_no_address_waits() -> None:
    found = fate(instance(ips=()), nodes=(node(),))

    assert found[0] is Fate.WAITS
    assert "no address that can be the node's InternalIP" in found[1]


def test_a_node_that_wants_another_address_is_refused() -> None:
    told = {"alpha.kubernetes.io/provided-node-ip": "192.0.2.1"}

    found = fate(instance(), nodes=(node(annotations=told),))

    assert found[0] is Fate.REFUSED
    assert "was told to use 192.0.2.1" in found[1]


def test_two_vms_that_fit_one_node_are_refused() -> None:
    twins = (instance("w"), instance("w", id=uuid_of("other")))
    doubtful = node("w", system_uuid="")

    found = fate(*twins, nodes=(doubtful,))

    assert found[0] is Fate.REFUSED
    assert found[1].startswith("node w: more than one instance fits")


def test_two_vms_of_one_name_are_refused_before_they_are_due() -> None:
    twins = (
        instance("w", status=InstanceStatus.DOWN),
        instance("w", id=uuid_of("other"), status=InstanceStatus.DOWN),
    )

    assert fate(*twins)[0] is Fate.REFUSED


def test_two_vms_that_are_due_and_clash_are_refused() -> None:
    assert fate(instance("w"), instance("w", id=uuid_of("other")))[0] is Fate.REFUSED


def test_a_vm_that_is_down_waits() -> None:
    assert fate(instance(status=InstanceStatus.DOWN)) == (Fate.WAITS, "the VM is down")


def test_a_vm_waits_for_its_kubelet_where_nodes_are_only_adopted() -> None:
    found = outcome(instance(), mode="adopt")

    assert found.fate is Fate.WAITS
    assert "registration.mode is adopt" in found.reason


def test_a_vm_whose_node_records_another_engine_is_refused() -> None:
    elsewhere = node(
        annotations={ANNOTATION_ENGINE: "other"}, provider_id=f"ovirt://{uuid_of('worker-1')}"
    )

    found = fate(instance(), nodes=(elsewhere,))

    assert found[0] is Fate.REFUSED
    assert found[1].startswith("node worker-1: its engine other")


def test_nodes_and_vms_wait_while_an_engine_cannot_be_asked() -> None:
    silent = directory(
        [snapshot(instance())], {"east": "", "west": "it is away"}, match_fqdn=False
    )
    claim = f"ovirt://{uuid_of('worker-1')}"
    elsewhere = node("x", annotations={ANNOTATION_ENGINE: "other"}, provider_id=claim)

    (found,) = instance_outcomes(silent, by_name(elsewhere), config())
    (idle,) = strangers(silent, by_name(elsewhere), config())

    assert found.fate is Fate.WAITS
    assert found.reason.startswith("node x: ")
    assert idle.is_waiting is False


def test_a_vm_that_a_node_claims_of_another_cloud_claims_waits() -> None:
    # A node that says another VM by its providerID and this one by its systemUUID.
    torn = node("x", provider_id="aws:///i-1", system_uuid=uuid_of("worker-1"))

    found = fate(instance(), nodes=(torn,))

    assert found == (Fate.WAITS, "a node claims it by its providerID or systemUUID")


def test_an_unreadable_vm_is_refused_with_the_reason() -> None:
    odd = Unreadable(uuid_of("odd"), "odd", "cpu: expected object")

    (found,) = instance_outcomes(known(unreadable=(odd,)), {}, config())

    assert (found.node, found.fate, found.metadata) == ("odd", Fate.REFUSED, None)
    assert found.reason == "the VM cannot be understood: cpu: expected object"


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_nodes_of_one_vm_the_one_that_a_kubelet_uses_counts(
    order: tuple[str, str],
) -> None:
    registered = node("a", kubelet_version="", system_uuid="", annotations=OURS, taints=())
    registered = replace(registered, provider_id=f"ovirt://{uuid_of('worker-1')}")
    used = node("b", system_uuid=uuid_of("worker-1"))
    nodes = {"a": registered, "b": used}

    found = outcome(instance(), nodes=tuple(nodes[name] for name in order))

    assert found.node == "b"


def test_outcomes_are_ordered_by_name() -> None:
    found = instance_outcomes(known(instance("b"), instance("a")), {}, config())

    assert [one.candidate.name for one in found] == ["a", "b"]


# ---- nodes -----------------------------------------------------------------------------------


def stranger(*nodes: Node, vm: Instance | None = None) -> Stranger:
    (found,) = strangers(known(vm or instance()), by_name(*nodes), config())
    return found


def test_managed_nodes_are_no_strangers() -> None:
    assert strangers(known(instance()), by_name(node(), settled(name="x")), config()) == ()


def test_a_node_that_is_a_vm_can_be_adopted_by_recording_its_engine() -> None:
    found = stranger(node(taints=()))

    assert found.reason == "is VM worker-1 of engine east (by its systemUUID)"
    assert found.adoption is not None
    assert found.adoption.command == (
        f"kubectl annotate node worker-1 ccm.ovirt.org/engine={ENGINE_ID}"
    )
    assert "zone: none -> blue" in found.adoption.changes
    assert found.adoption.obstacles == ()


def test_what_adoption_advises_makes_the_node_managed() -> None:
    before = node(taints=())
    adopted = replace(before, annotations=OURS)

    assert outcome(instance(), nodes=(adopted,)).fate is Fate.REFRESHED


def test_what_prevents_adoption_is_named() -> None:
    told = {"alpha.kubernetes.io/provided-node-ip": "nonsense"}

    found = stranger(node(taints=(), annotations=told))

    assert found.adoption is not None
    assert "provided-node-ip" in found.adoption.obstacles[0]


def test_a_node_that_has_all_already_is_adopted_without_a_change() -> None:
    found = stranger(settled(annotations={}))

    assert found.adoption is not None
    assert found.adoption.changes == ()


def test_a_node_without_a_vm_that_waits_is_marked() -> None:
    found = stranger(node("bare", system_uuid=""))

    assert (found.reason, found.is_waiting, found.adoption) == ("is no selected VM", True, None)


def test_a_node_of_another_cloud_is_left_alone() -> None:
    found = stranger(node("far", taints=(), provider_id="aws:///i-1"))

    assert found.reason == "belongs to another cloud provider: its providerID is aws:///i-1"
    assert found.is_waiting is False


def test_a_node_in_doubt_says_why() -> None:
    claim = f"ovirt://{uuid_of('gone')}"

    found = stranger(node(provider_id=claim))

    assert "which is not selected" in found.reason


# ---- hints of another cluster ----------------------------------------------------------------


def missing(vm: Instance, *nodes: Node) -> tuple[str, ...]:
    directory = known(vm)
    outcomes = instance_outcomes(directory, by_name(*nodes), config())
    return unjoined(outcomes, by_name(*nodes), directory, NOW)


def test_a_vm_that_is_up_for_an_hour_without_a_kubelet_here_may_be_anothers() -> None:
    assert missing(instance()) == ("worker-1",)


def test_a_vm_that_came_up_lately_is_waited_for() -> None:
    assert missing(instance(started=NOW - timedelta(minutes=10))) == ()


def test_a_vm_with_a_node_is_nobody_elses() -> None:
    assert missing(instance(), node()) == ()


def test_a_registered_node_that_no_kubelet_used_for_an_hour_may_be_anothers() -> None:
    registered = node(
        created=NOW - timedelta(hours=2),
        kubelet_version="",
        taints=(),
        annotations={**OURS, ANNOTATION_REGISTERED: "true"},
        provider_id=f"ovirt://{uuid_of('worker-1')}",
        addresses=(*internal("10.0.0.1"), address("hostname", "worker-1")),
    )

    assert missing(instance(), registered) == ("worker-1",)
