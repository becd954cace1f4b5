"""What holds of every verdict, whatever the node, its match and the evidence."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.config import Deletion, OutOfService
from provider.decisions.identity import Absent, Ambiguous, Foreign, Found, Rule, Unknown
from provider.decisions.lifecycle import (
    FRESH,
    OUT_OF_SERVICE,
    SHUTDOWN,
    Delete,
    Evidence,
    Keep,
    Mark,
    Policy,
    Presence,
    Unmark,
    judge,
    patch_of,
)
from provider.decisions.plan import apply
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_HOLD,
    ANNOTATION_OUT_OF_SERVICE,
    TAINT_OUT_OF_SERVICE,
    TAINT_SHUTDOWN,
    InstanceStatus,
    Taint,
)
from provider.reasons import Reason
from tests.builders import ENGINE_ID, UNINITIALIZED, instance, node
from tests.laws.strategies import IDS, structs

if TYPE_CHECKING:
    from provider.decisions.identity import Match
    from provider.model import Node

NOW = 1000.0
STATUSES = [*InstanceStatus, None]

times = st.sampled_from([NOW - age for age in (0.0, 1.0, 4.0, 6.0, 9.0, 11.0, 29.0, 31.0, 90.0)])
maybe = st.none() | times
taints = st.lists(
    st.sampled_from(
        [SHUTDOWN, OUT_OF_SERVICE, UNINITIALIZED, Taint("others", "NoExecute", "x", "then")]
    ),
    unique=True,
).map(tuple)
nodes = st.builds(
    node,
    annotations=st.fixed_dictionaries(
        {},
        optional={
            ANNOTATION_ENGINE: st.just(ENGINE_ID),
            ANNOTATION_HOLD: st.sampled_from(["true", "false", ""]),
            ANNOTATION_OUT_OF_SERVICE: st.just("then"),
            "others": st.text(),
        },
    ),
    taints=taints,
    is_ready=st.sampled_from([True, False, None]),
    is_deleting=st.sampled_from([False, False, False, True]),
)
ours = st.builds(
    node,
    annotations=st.sampled_from(
        [{ANNOTATION_ENGINE: ENGINE_ID}, {ANNOTATION_ENGINE: ENGINE_ID, "others": "x"}]
    ),
    taints=st.sampled_from([(), (SHUTDOWN,), (Taint("others", "NoSchedule"),)]),
    is_ready=st.sampled_from([False, None]),
)
found = structs(
    Found, st.builds(instance, status=st.sampled_from(STATUSES)), st.just(Rule.PROVIDER_ID)
)
not_down = structs(
    Found,
    st.builds(instance, status=st.sampled_from([s for s in STATUSES if s != "down"])),
    st.just(Rule.PROVIDER_ID),
)
gone = structs(Absent, st.sampled_from(IDS))
doubts: st.SearchStrategy[Match] = st.one_of(
    structs(Ambiguous, st.just("two fit"), st.just(())),
    structs(Foreign, st.just("aws://i-1")),
    structs(Unknown, st.just(Reason.ENGINE_UNREACHABLE), st.just("away")),
)
matches: st.SearchStrategy[Match] = st.one_of(found, gone, st.just(Absent(None)), doubts)
evidences = structs(
    Evidence,
    listed=maybe,
    not_ready_since=maybe,
    absences=st.integers(0, 4),
    presence=st.none() | st.sampled_from(Presence),
    asked=times,
    down_since=maybe,
    down_at=maybe,
    obstacle=st.sampled_from(["", "latched"]),
    out_of_service=st.integers(0, 2),
)
# With everything that a deletion or a taint needs, but for what the test spoils.
strong = structs(
    Evidence,
    listed=st.just(NOW),
    not_ready_since=st.just(NOW - 90),
    absences=st.integers(3, 5),
    presence=st.sampled_from([Presence.GONE, Presence.UNSELECTED]),
    asked=st.just(NOW),
    down_since=st.just(NOW - 20),
    down_at=st.just(NOW),
)
policies = structs(
    Policy,
    deletion=st.builds(
        Deletion,
        mode=st.sampled_from(["enforce", "dry-run", "off"]),
        confirmations=st.integers(1, 4),
        untagged=st.sampled_from(["keep", "delete"]),
    ),
    out_of_service=st.builds(
        OutOfService,
        enabled=st.booleans(),
        grace=st.sampled_from([timedelta(seconds=1), timedelta(seconds=30)]),
        max_nodes=st.integers(1, 2),
    ),
)


def keys(one: Node) -> list[str]:
    return [taint.key for taint in one.taints]


@given(nodes | ours, matches, evidences | strong, policies)
def test_nothing_is_deleted_without_proof(
    node: Node, match: Match, evidence: Evidence, policy: Policy
) -> None:
    verdict = judge(node, match, evidence, policy, NOW)
    if not isinstance(verdict, Delete):
        return
    assert isinstance(match, Absent)
    assert verdict.instance_id == match.instance_id
    assert node.is_ours
    assert not node.is_ready
    assert not node.is_uninitialized
    assert not node.is_deleting
    assert node.annotations.get(ANNOTATION_HOLD) != "true"
    assert policy.deletion.mode != "off"
    assert evidence.absences >= policy.deletion.confirmations
    assert evidence.obstacle == ""
    assert NOW - evidence.asked <= FRESH
    assert verdict.presence is evidence.presence
    is_untagged = evidence.presence is Presence.UNSELECTED
    assert is_untagged or evidence.presence is Presence.GONE
    assert not is_untagged or policy.deletion.untagged == "delete"


@given(ours, gone, strong, policies)
def test_what_is_proven_is_done(
    node: Node, match: Absent, evidence: Evidence, policy: Policy
) -> None:
    proven = replace(evidence, absences=policy.deletion.confirmations, presence=Presence.GONE)
    verdict = judge(node, match, proven, policy, NOW)
    assert isinstance(verdict, Keep if policy.deletion.mode == "off" else Delete)


@given(nodes | ours, matches, evidences | strong, policies)
def test_nothing_is_out_of_service_unless_down(
    node: Node, match: Match, evidence: Evidence, policy: Policy
) -> None:
    verdict = judge(node, match, evidence, policy, NOW)
    if not isinstance(verdict, Mark) or verdict.taint != OUT_OF_SERVICE:
        return
    assert isinstance(match, Found)
    assert match.instance.status is InstanceStatus.DOWN
    assert policy.out_of_service.enabled
    assert evidence.down_since is not None
    assert evidence.down_at is not None
    assert evidence.down_at - evidence.down_since >= 10
    assert NOW - evidence.down_at <= FRESH
    assert evidence.out_of_service < policy.out_of_service.max_nodes
    assert evidence.not_ready_since is not None
    assert NOW - evidence.not_ready_since >= policy.out_of_service.grace.total_seconds()


@given(nodes | ours, matches, evidences | strong, policies)
def test_only_a_stopped_vm_of_a_node_that_is_not_ready_is_marked(
    node: Node, match: Match, evidence: Evidence, policy: Policy
) -> None:
    verdict = judge(node, match, evidence, policy, NOW)
    if isinstance(verdict, Mark):
        assert isinstance(match, Found)
        assert match.instance.status in ("down", "suspended", "image_locked")
        assert not node.is_ready
        assert verdict.taint.key not in keys(node)


@given(ours, found | gone, evidences, policies, taints, st.booleans())
def test_a_ready_node_loses_every_taint_of_ours(
    node: Node,
    match: Match,
    evidence: Evidence,
    policy: Policy,
    marks: tuple[Taint, ...],
    is_our_mark: bool,  # noqa: FBT001 - drawn
) -> None:
    mark = {ANNOTATION_OUT_OF_SERVICE: "then"} if is_our_mark else {}
    annotations = {**node.annotations, **mark}
    ready = replace(node, is_ready=True, annotations=annotations, taints=marks)
    verdict = judge(ready, match, evidence, policy, NOW)
    after = apply(ready, patch_of(ready, verdict, "now")) if isinstance(verdict, Unmark) else ready
    assert TAINT_SHUTDOWN not in keys(after)
    assert (TAINT_OUT_OF_SERVICE in keys(after)) == (
        TAINT_OUT_OF_SERVICE in keys(ready) and not is_our_mark
    )
    assert isinstance(judge(after, match, evidence, policy, NOW), Keep)


@given(ours, not_down, evidences | strong, policies)
def test_a_vm_that_leaves_down_takes_the_taint_along(
    node: Node, match: Found, evidence: Evidence, policy: Policy
) -> None:
    marked = replace(
        node,
        annotations={**node.annotations, ANNOTATION_OUT_OF_SERVICE: "then"},
        taints=(*node.taints, OUT_OF_SERVICE),
    )
    verdict = judge(marked, match, evidence, policy, NOW)
    assert isinstance(verdict, Unmark)
    assert OUT_OF_SERVICE in verdict.taints


@given(nodes | ours, matches, evidences | strong, policies)
def test_a_mark_touches_nothing_of_others_and_is_done_once(
    node: Node, match: Match, evidence: Evidence, policy: Policy
) -> None:
    verdict = judge(node, match, evidence, policy, NOW)
    if not isinstance(verdict, Mark | Unmark):
        return
    after = apply(node, patch_of(node, verdict, "now"))
    own = {TAINT_SHUTDOWN, TAINT_OUT_OF_SERVICE}
    assert [t for t in after.taints if t.key not in own] == [
        t for t in node.taints if t.key not in own
    ]
    others = {k: v for k, v in node.annotations.items() if k != ANNOTATION_OUT_OF_SERVICE}
    assert {k: v for k, v in after.annotations.items() if k != ANNOTATION_OUT_OF_SERVICE} == others
    assert after.labels == node.labels
    assert judge(after, match, evidence, policy, NOW) != verdict


@given(ours, doubts, evidences | strong, policies)
def test_what_is_in_doubt_changes_nothing_on_a_node_that_is_not_ready(
    node: Node, match: Match, evidence: Evidence, policy: Policy
) -> None:
    assert isinstance(judge(node, match, evidence, policy, NOW), Keep)
