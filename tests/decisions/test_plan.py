from typing import Any

import pytest
from msgspec.structs import replace

from provider.decisions.plan import Plan, apply, plan
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_PROVIDED_NODE_IP,
    LABEL_HOST,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    TAINT_UNINITIALIZED,
    Freshness,
    InstanceMetadata,
    Level,
    Node,
    NodePatch,
    Notice,
    Taint,
)
from provider.reasons import Reason
from tests.builders import (
    ENGINE_ID,
    UNINITIALIZED,
    address,
    internal,
    metadata,
    node,
    uuid_of,
)

ZONE = {LABEL_ZONE: "blue", LABEL_ZONE_BETA: "blue"}
HOSTNAME = address("hostname", "worker-1")


def ours(**facts: Any) -> Node:
    """A node that has been initialised and needs nothing."""
    defaults: dict[str, Any] = {
        "taints": (),
        "provider_id": f"ovirt://{uuid_of('worker-1')}",
        "annotations": {ANNOTATION_ENGINE: ENGINE_ID},
        "addresses": (*internal("10.0.0.1"), HOSTNAME),
    }
    return node("worker-1", **(defaults | facts))


def told(ips: str, **annotations: str) -> dict[str, str]:
    return {ANNOTATION_PROVIDED_NODE_IP: ips, **annotations}


def patched(node: Node, metadata: InstanceMetadata) -> NodePatch:
    patch = plan(node, metadata).patch
    assert patch is not None
    return patch


def said(outcome: Plan) -> list[tuple[Level, str]]:
    return [(notice.level, notice.reason) for notice in outcome.notices]


# ---- initialisation --------------------------------------------------------------------------


def test_an_uninitialised_node_gets_everything_at_once() -> None:
    outcome = plan(node(), metadata(labels=ZONE))
    assert outcome.patch == NodePatch(
        addresses=(*internal("10.0.0.1"), HOSTNAME),
        labels=ZONE,
        annotations={ANNOTATION_ENGINE: ENGINE_ID},
        provider_id=f"ovirt://{uuid_of('worker-1')}",
        taints=(),
        changes=(
            "addresses: Hostname worker-1 -> InternalIP 10.0.0.1, Hostname worker-1",
            "zone: none -> blue",
            f"providerID: none -> ovirt://{uuid_of('worker-1')}",
            f"engine: none -> {ENGINE_ID}",
            f"taint {TAINT_UNINITIALIZED}: removed",
        ),
    )
    assert said(outcome) == [(Level.NORMAL, "Synced")]


@pytest.mark.parametrize("taint", [UNINITIALIZED, Taint(TAINT_UNINITIALIZED, "NoExecute", "x")])
def test_only_the_taint_of_uninitialised_nodes_goes_whatever_its_value(taint: Taint) -> None:
    others = (Taint("a", "NoSchedule"), Taint("b", "NoExecute", "1", "2026-05-04T12:00:00Z"))
    patch = patched(node(taints=(others[0], taint, others[1])), metadata())
    assert patch.taints == others


def test_a_node_that_has_all_but_the_taint_removed_gets_only_that() -> None:
    patch = patched(ours(taints=(UNINITIALIZED,)), metadata())
    assert patch == NodePatch(taints=(), changes=(f"taint {TAINT_UNINITIALIZED}: removed",))
    assert not patch.has_status


def test_a_provider_id_is_never_rewritten() -> None:
    mine = node(provider_id=f"ovirt:///{uuid_of('worker-1')}")
    assert patched(mine, metadata()).provider_id is None


@pytest.mark.parametrize(
    "other",
    [
        node(taints=()),
        node(is_deleting=True),
        node(taints=(), provider_id=f"ovirt://{uuid_of('worker-1')}"),
    ],
)
def test_nothing_is_planned_for_a_node_that_is_not_the_programs_to_change(other: Node) -> None:
    assert plan(other, metadata()) == Plan()


def test_what_could_not_be_found_out_is_said_when_a_node_is_initialised() -> None:
    odd = Notice(Level.WARNING, Reason.ZONE_UNKNOWN, "two tags")
    assert odd in plan(node(), metadata(notices=(odd,))).notices
    assert plan(ours(), metadata(notices=(odd,))) == Plan()


def test_a_changed_label_value_is_said_once_and_only_when_it_is_written() -> None:
    change = Notice(Level.NORMAL, Reason.LABEL_VALUE_CHANGED, "'x y' is written as 'x-y-123456'")
    facts = metadata(labels=ZONE, label_notices={LABEL_ZONE: change, LABEL_ZONE_BETA: change})
    assert plan(node(), facts).notices[1:] == (change,)
    assert plan(node(labels=ZONE), facts).notices[1:] == ()


# ---- addresses -------------------------------------------------------------------------------


def addresses_of(node: Node, metadata: InstanceMetadata) -> object:
    """The addresses that `node` has after planning and writing."""
    patch = plan(node, metadata).patch
    return (apply(node, patch) if patch else node).addresses


def test_addresses_are_compared_in_their_order() -> None:
    dual = (*internal("10.0.0.1", "fd00::1"), HOSTNAME)
    facts = metadata(addresses=internal("10.0.0.1", "fd00::1"))
    assert plan(ours(addresses=dual), facts) == Plan()
    swapped = (dual[1], dual[0], dual[2])
    assert patched(ours(addresses=swapped), facts).addresses == dual


def test_every_hostname_of_the_kubelet_is_kept_once() -> None:
    names = (HOSTNAME, address("hostname", "other"))
    facts = metadata(addresses=(*internal("10.0.0.1"), names[1]))
    assert addresses_of(node(addresses=names), facts) == (
        *internal("10.0.0.1"),
        names[1],
        HOSTNAME,
    )


@pytest.mark.parametrize("known", [(), (address("external", "203.0.113.7"),)])
@pytest.mark.parametrize("freshness", list(Freshness))
def test_an_initialised_node_never_loses_its_internal_ip(
    known: tuple[Any, ...], freshness: Freshness
) -> None:
    assert plan(ours(), metadata(addresses=known, freshness=freshness)) == Plan()


@pytest.mark.parametrize("freshness", [Freshness.STALE, Freshness.SILENT, Freshness.OVERDUE])
def test_what_an_initialised_node_has_is_kept_while_its_guest_does_not_speak(
    freshness: Freshness,
) -> None:
    facts = metadata(addresses=internal("10.0.0.9"), freshness=freshness)
    assert plan(ours(), facts) == Plan()


def test_the_address_of_a_live_guest_replaces_the_kubelets() -> None:
    mine = node(addresses=(*internal("10.0.0.9"), HOSTNAME))
    assert addresses_of(mine, metadata()) == (*internal("10.0.0.1"), HOSTNAME)


def test_the_kubelets_own_address_serves_while_the_guest_cannot_be_asked() -> None:
    mine = node(addresses=(*internal("10.0.0.9"), HOSTNAME))
    patch = patched(mine, metadata(freshness=Freshness.STALE))
    assert patch.addresses is None
    assert patch.taints == ()


def test_what_the_engine_knew_serves_a_node_without_an_address() -> None:
    assert addresses_of(node(), metadata(freshness=Freshness.STALE)) == (
        *internal("10.0.0.1"),
        HOSTNAME,
    )


@pytest.mark.parametrize(
    ("freshness", "own", "missing"),
    [
        (Freshness.LIVE, "", "the guest reports no address"),
        (Freshness.LIVE, "10.0.0.9", "the guest reports no address"),
        (Freshness.SILENT, "", "guest agent has reported nothing yet"),
        (Freshness.SILENT, "10.0.0.9", "guest agent has reported nothing yet"),
        (Freshness.STALE, "", "neither the kubelet nor the engine"),
    ],
)
def test_an_uninitialised_node_waits_for_an_address_and_says_for_which(
    freshness: Freshness, own: str, missing: str
) -> None:
    mine = node(addresses=(*internal(*own.split()), HOSTNAME))
    outcome = plan(mine, metadata(addresses=(), freshness=freshness))
    assert outcome.patch is None
    assert said(outcome) == [(Level.WAITING, "NoInternalIP")]
    assert missing in outcome.notices[0].message


@pytest.mark.parametrize(
    ("own", "annotations", "expected"),
    [("10.0.0.9", {}, "10.0.0.9"), ("", told("10.0.0.8"), "10.0.0.8")],
)
def test_without_a_guest_agent_the_kubelets_address_is_taken(
    own: str, annotations: dict[str, str], expected: str
) -> None:
    mine = node(addresses=(*internal(*own.split()), HOSTNAME), annotations=annotations)
    facts = metadata(addresses=(), freshness=Freshness.OVERDUE)
    assert addresses_of(mine, facts) == (*internal(expected), HOSTNAME)
    assert said(plan(mine, facts)) == [(Level.NORMAL, "Synced"), (Level.WARNING, "NoGuestAgent")]


def test_without_a_guest_agent_and_any_address_the_taint_stays_with_a_warning() -> None:
    outcome = plan(node(), metadata(addresses=(), freshness=Freshness.OVERDUE))
    assert outcome.patch is None
    assert said(outcome) == [(Level.WARNING, "NoGuestAgent")]
    assert "--node-ip" in outcome.notices[0].message


@pytest.mark.parametrize(
    ("provided", "expected"),
    [
        ("10.0.0.2", ["10.0.0.2"]),
        ("fd00:0::1", ["fd00::1"]),
        ("10.0.0.2,fd00::1", ["10.0.0.2", "fd00::1"]),
        ("fd00::1,10.0.0.2", ["fd00::1", "10.0.0.2"]),
    ],
)
def test_the_addresses_that_the_kubelet_was_told_to_use_go_first(
    provided: str, expected: list[str]
) -> None:
    facts = metadata(addresses=internal("10.0.0.1", "10.0.0.2", "fd00::1"))
    mine = node(annotations=told(provided))
    assert addresses_of(mine, facts) == (*internal(*expected), HOSTNAME)


MISMATCH = (Level.WARNING, "NodeAddressMismatch")
INVALID = (Level.WARNING, "ProvidedNodeIPInvalid")


def test_a_mismatch_keeps_the_taint_and_says_both_sides() -> None:
    outcome = plan(node(annotations=told("10.0.0.9")), metadata())
    assert outcome.patch is None
    assert said(outcome) == [MISMATCH]
    assert "10.0.0.9" in outcome.notices[0].message
    assert "10.0.0.1" in outcome.notices[0].message


def test_an_invalid_annotation_keeps_the_taint_and_is_said() -> None:
    mine = node(addresses=internal("10.0.0.1"), annotations=told("10.0.0.1,10.0.0.2"))
    outcome = plan(mine, metadata())
    assert outcome.patch is None
    assert said(outcome) == [INVALID]


@pytest.mark.parametrize(("provided", "problem"), [("10.0.0.9", MISMATCH), ("nonsense", INVALID)])
def test_on_an_initialised_node_only_the_addresses_are_left_alone(
    provided: str, problem: tuple[Level, str]
) -> None:
    mine = ours(annotations=told(provided, **{ANNOTATION_ENGINE: ENGINE_ID}))
    outcome = plan(mine, metadata(labels=ZONE, addresses=internal("10.0.0.7")))
    assert outcome.patch == NodePatch(labels=ZONE, changes=("zone: none -> blue",))
    assert said(outcome) == [(Level.NORMAL, "NodeZoneChanged"), problem]
    unchanged = plan(mine, metadata(addresses=internal("10.0.0.7")))
    assert unchanged.patch is None
    assert said(unchanged) == [problem]


# ---- refresh ---------------------------------------------------------------------------------


def test_each_change_on_an_initialised_node_is_an_event() -> None:
    old = {LABEL_HOST: "hv-1", LABEL_ZONE: "old", LABEL_ZONE_BETA: "old", "x": "y"}
    mine = ours(labels=old, addresses=internal("10.0.0.1"))
    facts = metadata(labels={**ZONE, LABEL_HOST: "hv-2"}, addresses=internal("10.0.0.2"))
    outcome = plan(mine, facts)
    assert outcome.patch == NodePatch(
        addresses=internal("10.0.0.2"),
        labels={**ZONE, LABEL_HOST: "hv-2"},
        changes=(
            "addresses: InternalIP 10.0.0.1 -> InternalIP 10.0.0.2",
            "zone: old -> blue",
            "host: hv-1 -> hv-2",
        ),
    )
    assert said(outcome) == [
        (Level.NORMAL, "NodeAddressesChanged"),
        (Level.NORMAL, "NodeZoneChanged"),
        (Level.NORMAL, "NodeHostChanged"),
    ]


@pytest.mark.parametrize("wrong", [LABEL_ZONE, LABEL_ZONE_BETA])
def test_both_labels_of_a_pair_are_written_when_one_is_wrong(wrong: str) -> None:
    patch = patched(ours(labels={**ZONE, wrong: "red"}), metadata(labels=ZONE))
    assert patch.labels == ZONE
    assert patch.changes == ("zone: red -> blue",)


def test_a_value_that_is_not_known_leaves_the_label() -> None:
    assert plan(ours(labels={LABEL_HOST: "hv-1"}), metadata()) == Plan()


def test_a_migrating_instance_changes_nothing_on_an_initialised_node() -> None:
    facts = metadata(labels=ZONE, is_migrating=True)
    assert plan(ours(), facts) == Plan()
    assert plan(node(), facts).patch is not None


def test_a_missing_provider_id_and_a_renamed_engine_are_mended() -> None:
    outcome = plan(ours(provider_id="", annotations={ANNOTATION_ENGINE: "east"}), metadata())
    assert outcome.patch is not None
    assert outcome.patch.provider_id == metadata().provider_id
    assert outcome.patch.annotations == {ANNOTATION_ENGINE: ENGINE_ID}
    assert said(outcome) == [
        (Level.NORMAL, "NodeProviderIDChanged"),
        (Level.NORMAL, "NodeEngineChanged"),
    ]


# ---- apply -----------------------------------------------------------------------------------


def test_an_applied_patch_changes_what_it_names_and_nothing_else() -> None:
    before = node(labels={"a": "1"}, annotations={"b": "2"})
    after = apply(before, patched(before, metadata(labels=ZONE)))
    assert after == replace(
        before,
        addresses=(*internal("10.0.0.1"), HOSTNAME),
        labels={"a": "1", **ZONE},
        annotations={"b": "2", ANNOTATION_ENGINE: ENGINE_ID},
        provider_id=f"ovirt://{uuid_of('worker-1')}",
        taints=(),
    )
    assert apply(before, NodePatch()) == before
