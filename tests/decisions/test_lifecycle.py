"""The table of a node's life: what the engine says, and what becomes of the node."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from provider.config import Deletion, OutOfService
from provider.decisions.identity import Absent, Ambiguous, Foreign, Found, Match, Rule, Unknown
from provider.decisions.lifecycle import (
    KINDS,
    OUT_OF_SERVICE,
    SHUTDOWN,
    Ask,
    Delete,
    Evidence,
    Hold,
    Keep,
    Mark,
    Policy,
    Presence,
    Question,
    Unmark,
    Verdict,
    Wait,
    judge,
    kind,
    patch_of,
)
from provider.decisions.plan import apply
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_HOLD,
    ANNOTATION_OUT_OF_SERVICE,
    InstanceStatus,
    Level,
    Node,
    Taint,
)
from provider.reasons import Reason
from tests.builders import ENGINE_ID, UNINITIALIZED, instance, node, uuid_of

NOW = 1000.0
OURS = {ANNOTATION_ENGINE: ENGINE_ID}
MARKED = {**OURS, ANNOTATION_OUT_OF_SERVICE: "2026-05-04T12:00:00Z"}
GONE = Absent(uuid_of("worker-1"))
CURRENT = Evidence(listed=NOW, not_ready_since=NOW - 60)
PROVEN = Evidence(not_ready_since=NOW - 60, absences=3, presence=Presence.GONE, asked=NOW)
DOWN_TWICE = Evidence(listed=NOW, not_ready_since=NOW - 60, down_since=NOW - 10, down_at=NOW)
OPTED_IN = OutOfService(enabled=True)


def worker(**facts: Any) -> Node:
    """A node of ours that is initialised and not ready."""
    defaults: dict[str, Any] = {"annotations": OURS, "taints": (), "is_ready": False}
    return node(**(defaults | facts))


def found(status: InstanceStatus | None) -> Found:
    return Found(instance(status=status), Rule.PROVIDER_ID)


def verdict(
    one: Node,
    match: Match,
    evidence: Evidence = CURRENT,
    *,
    deletion: dict[str, Any] | None = None,
    out_of_service: OutOfService | None = None,
) -> Verdict:
    policy = Policy(Deletion(**(deletion or {})), out_of_service or OutOfService())
    return judge(one, match, evidence, policy, NOW)


# ---- nodes that nothing is done to ------------------------------------------------------------

UNTOUCHABLE: dict[str, tuple[Node, Match]] = {
    "ready": (worker(is_ready=True), GONE),
    "foreign": (worker(), Foreign("aws://i-1")),
    "foreign and marked": (worker(is_ready=True, taints=(SHUTDOWN,)), Foreign("aws://i-1")),
    "ambiguous": (worker(), Ambiguous("two fit", ())),
    "of an engine that is away": (worker(), Unknown(Reason.ENGINE_UNREACHABLE, "away")),
    "uninitialised": (worker(taints=(UNINITIALIZED,)), GONE),
    "not ours": (worker(annotations={}), GONE),
    "being deleted": (worker(is_deleting=True), GONE),
    "without any id": (worker(), Absent(None)),
}


@pytest.mark.parametrize("what", UNTOUCHABLE)
def test_these_nodes_are_kept_whatever_is_proven(what: str) -> None:
    one, match = UNTOUCHABLE[what]

    assert isinstance(verdict(one, match, PROVEN), Keep)


# ---- the statuses of an instance -------------------------------------------------------------

RUNNING = [
    InstanceStatus.UP,
    InstanceStatus.POWERING_UP,
    InstanceStatus.WAIT_FOR_LAUNCH,
    InstanceStatus.REBOOT_IN_PROGRESS,
    InstanceStatus.POWERING_DOWN,
    InstanceStatus.MIGRATING,
    InstanceStatus.PAUSED,
    InstanceStatus.SAVING_STATE,
    InstanceStatus.RESTORING_STATE,
]
UNDECIDED = [
    InstanceStatus.UNKNOWN,
    InstanceStatus.NOT_RESPONDING,
    InstanceStatus.UNASSIGNED,
    None,
]
STOPPED = [InstanceStatus.DOWN, InstanceStatus.SUSPENDED, InstanceStatus.IMAGE_LOCKED]


def test_every_status_is_in_the_table() -> None:
    assert {*RUNNING, *UNDECIDED, *STOPPED} == {*InstanceStatus, None}


@pytest.mark.parametrize("status", [*RUNNING, *UNDECIDED])
def test_a_node_is_kept_as_it_is_while_its_vm_may_run(status: InstanceStatus | None) -> None:
    for taints in ((), (SHUTDOWN,)):
        one = worker(taints=taints)

        assert isinstance(verdict(one, found(status), DOWN_TWICE, out_of_service=OPTED_IN), Keep)


@pytest.mark.parametrize("status", STOPPED)
@pytest.mark.parametrize("is_ready", [False, None])
def test_a_node_that_is_not_ready_is_marked_when_its_vm_has_stopped(
    status: InstanceStatus, *, is_ready: bool | None
) -> None:
    outcome = verdict(worker(is_ready=is_ready), found(status))

    assert isinstance(outcome, Mark)
    assert outcome.taint == SHUTDOWN


@pytest.mark.parametrize("status", STOPPED)
def test_a_marked_node_is_not_marked_again(status: InstanceStatus) -> None:
    assert isinstance(verdict(worker(taints=(SHUTDOWN,)), found(status)), Keep)


@pytest.mark.parametrize("status", InstanceStatus)
def test_a_ready_node_is_not_marked_whatever_its_vm(status: InstanceStatus) -> None:
    one = worker(is_ready=True)

    assert isinstance(verdict(one, found(status), DOWN_TWICE, out_of_service=OPTED_IN), Keep)


@pytest.mark.parametrize(
    "match",
    [found(InstanceStatus.DOWN), GONE, Unknown(Reason.ENGINE_UNREACHABLE, "away")],
    ids=["down", "gone", "unknown"],
)
def test_all_our_marks_go_when_the_node_is_ready(match: Match) -> None:
    timed = Taint(SHUTDOWN.key, "NoSchedule", None, "2026-05-04T12:00:00Z")
    other = Taint("others", "NoSchedule")
    one = worker(is_ready=True, annotations=MARKED, taints=(other, timed, OUT_OF_SERVICE))

    outcome = verdict(one, match)

    assert isinstance(outcome, Unmark)
    after = apply(one, patch_of(one, outcome, "later"))
    assert after.taints == (other,)
    assert after.annotations == OURS


def test_the_out_of_service_taint_of_another_stays() -> None:
    one = worker(is_ready=True, taints=(OUT_OF_SERVICE,))

    assert isinstance(verdict(one, found(InstanceStatus.UP)), Keep)


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(listed=NOW - 61, not_ready_since=NOW - 60),
        Evidence(listed=None, not_ready_since=NOW - 60),
        Evidence(listed=NOW, not_ready_since=None),
    ],
    ids=["listed before", "engine away", "never seen not ready"],
)
def test_what_the_engine_said_before_the_node_was_not_ready_marks_nothing(
    evidence: Evidence,
) -> None:
    outcome = verdict(worker(), found(InstanceStatus.DOWN), evidence)

    assert isinstance(outcome, Wait)
    assert outcome.missing


def test_a_direct_reading_is_as_good_as_a_listing() -> None:
    evidence = Evidence(listed=None, not_ready_since=NOW - 60, down_since=NOW, down_at=NOW)

    assert isinstance(verdict(worker(), found(InstanceStatus.DOWN), evidence), Mark)


# ---- out of service ---------------------------------------------------------------------------


def down(evidence: Evidence, *, enabled: bool = True, **facts: Any) -> Verdict:
    """The verdict on a marked node whose VM is down."""
    policy = OutOfService(enabled=enabled)
    one = worker(**({"taints": (SHUTDOWN,)} | facts))
    return verdict(one, found(InstanceStatus.DOWN), evidence, out_of_service=policy)


def test_volumes_are_taken_from_a_vm_that_is_twice_down() -> None:
    outcome = down(DOWN_TWICE)

    assert isinstance(outcome, Mark)
    assert outcome.taint == OUT_OF_SERVICE
    one = worker(taints=(SHUTDOWN,))
    after = apply(one, patch_of(one, outcome, "2026-05-04T12:00:00Z"))
    assert after.taints == (SHUTDOWN, OUT_OF_SERVICE)
    assert after.annotations == MARKED


def test_volumes_are_never_taken_unless_told_to() -> None:
    assert isinstance(down(DOWN_TWICE, enabled=False), Keep)


@pytest.mark.parametrize("status", [s for s in (*InstanceStatus, None) if s != "down"])
def test_volumes_are_never_taken_unless_down(status: InstanceStatus | None) -> None:
    one = worker(taints=(SHUTDOWN,))

    assert isinstance(verdict(one, found(status), DOWN_TWICE, out_of_service=OPTED_IN), Keep)


def test_the_vm_is_asked_for_alone_first() -> None:
    outcome = down(Evidence(listed=NOW, not_ready_since=NOW - 60))

    assert outcome == Ask(getattr(outcome, "reason", ""), uuid_of("worker-1"), Question.STATUS)


WAITING = {
    "grace": Evidence(NOW, NOW - 29, down_since=NOW - 20, down_at=NOW),
    "never seen not ready": Evidence(NOW, None, down_since=NOW - 20, down_at=NOW),
    "one reading": Evidence(NOW, NOW - 60, down_since=NOW - 9, down_at=NOW - 9),
    "readings too close": Evidence(NOW, NOW - 60, down_since=NOW - 9, down_at=NOW),
    "no place": Evidence(NOW, NOW - 60, down_since=NOW - 10, down_at=NOW, out_of_service=1),
}


@pytest.mark.parametrize("what", WAITING)
def test_volumes_stay_while_something_is_missing(what: str) -> None:
    outcome = down(WAITING[what])

    assert isinstance(outcome, Wait)
    assert outcome.missing


@pytest.mark.parametrize(
    ("since", "at"), [(20.0, 12.0), (20.0, 6.0)], ids=["too close", "too old"]
)
def test_an_old_reading_is_made_again(since: float, at: float) -> None:
    evidence = Evidence(NOW, NOW - 60, down_since=NOW - since, down_at=NOW - at)

    assert isinstance(down(evidence), Ask)


def test_a_node_that_is_out_of_service_is_not_put_so_again() -> None:
    one = worker(taints=(SHUTDOWN, OUT_OF_SERVICE), annotations=MARKED)

    outcome = verdict(one, found(InstanceStatus.DOWN), DOWN_TWICE, out_of_service=OPTED_IN)

    assert isinstance(outcome, Keep)


@pytest.mark.parametrize("status", [s for s in (*InstanceStatus, None) if s != "down"])
def test_our_taint_goes_when_the_vm_leaves_down(status: InstanceStatus | None) -> None:
    one = worker(taints=(SHUTDOWN, OUT_OF_SERVICE), annotations=MARKED)

    outcome = verdict(one, found(status), out_of_service=OPTED_IN)

    assert isinstance(outcome, Unmark)
    after = apply(one, patch_of(one, outcome, "later"))
    assert after.taints == (SHUTDOWN,)
    assert after.annotations == OURS


# ---- an instance that is not there ------------------------------------------------------------


def test_a_node_goes_when_all_is_proven() -> None:
    outcome = verdict(worker(), GONE, PROVEN)

    assert isinstance(outcome, Delete)
    assert (outcome.instance_id, outcome.presence) == (uuid_of("worker-1"), Presence.GONE)


def test_listings_come_before_the_question() -> None:
    outcome = verdict(worker(), GONE, Evidence(absences=2))

    assert isinstance(outcome, Wait)
    assert outcome.missing[0] == "2 of 3 complete listings without it"


@pytest.mark.parametrize(
    "evidence",
    [Evidence(absences=3), Evidence(absences=3, presence=Presence.GONE, asked=NOW - 6)],
    ids=["never asked", "asked long ago"],
)
def test_the_engine_is_asked_right_before(evidence: Evidence) -> None:
    outcome = verdict(worker(), GONE, evidence)

    assert isinstance(outcome, Ask)
    assert outcome.question is Question.PRESENCE


@pytest.mark.parametrize(
    ("facts", "deletion", "obstacle", "presence"),
    [
        ({"annotations": {**OURS, ANNOTATION_HOLD: "true"}}, {}, "", Presence.GONE),
        ({}, {}, "latched", Presence.GONE),
        ({}, {}, "", Presence.SELECTED),
        ({}, {}, "", Presence.UNSELECTED),
        ({}, {"untagged": "delete"}, "", Presence.SELECTED),
        ({}, {"untagged": "delete"}, "latched", Presence.UNSELECTED),
    ],
    ids=["held", "latched", "listed wrongly", "untagged", "selected", "untagged and latched"],
)
def test_a_node_is_held(
    facts: dict[str, Any], deletion: dict[str, Any], obstacle: str, presence: Presence
) -> None:
    evidence = Evidence(absences=3, presence=presence, asked=NOW, obstacle=obstacle)

    assert isinstance(verdict(worker(**facts), GONE, evidence, deletion=deletion), Hold)


def test_only_what_somebody_should_do_something_about_is_said() -> None:
    held = verdict(worker(), GONE, Evidence(absences=3, obstacle="latched"))
    untagged = verdict(
        worker(), GONE, Evidence(absences=3, presence=Presence.UNSELECTED, asked=NOW)
    )

    assert isinstance(held, Hold)
    assert isinstance(untagged, Hold)
    assert (held.level, untagged.level) == (Level.WARNING, Level.WAITING)


def test_a_vm_that_was_there_is_asked_for_again_after_a_minute() -> None:
    evidence = Evidence(absences=3, presence=Presence.UNSELECTED, asked=NOW - 61)

    assert isinstance(verdict(worker(), GONE, evidence), Ask)


def test_an_untagged_vm_costs_its_node_only_when_told_so() -> None:
    evidence = Evidence(absences=3, presence=Presence.UNSELECTED, asked=NOW)

    outcome = verdict(worker(), GONE, evidence, deletion={"untagged": "delete"})

    assert isinstance(outcome, Delete)
    assert "no longer selected" in outcome.reason


def test_nothing_goes_when_deletion_is_off() -> None:
    assert isinstance(verdict(worker(), GONE, PROVEN, deletion={"mode": "off"}), Keep)


def test_a_hold_that_says_anything_but_true_holds_nothing() -> None:
    one = worker(annotations={**OURS, ANNOTATION_HOLD: "false"})

    assert isinstance(verdict(one, GONE, PROVEN), Delete)


# ---- words ------------------------------------------------------------------------------------


def test_every_verdict_has_a_word_and_a_reason() -> None:
    outcomes = (
        verdict(worker(), found(InstanceStatus.UP)),
        verdict(worker(), GONE),
        verdict(worker(), GONE, Evidence(absences=3)),
        verdict(worker(), GONE, Evidence(absences=3, obstacle="latched")),
        verdict(worker(), GONE, PROVEN),
        verdict(worker(), found(None), Evidence()),
        verdict(worker(), found(InstanceStatus.DOWN)),
        verdict(worker(is_ready=True, taints=(SHUTDOWN,)), found(InstanceStatus.UP)),
    )

    assert {kind(one) for one in outcomes} == set(KINDS)
    assert all(one.reason for one in outcomes)


def test_the_grace_is_configurable() -> None:
    evidence = Evidence(NOW, NOW - 60, down_since=NOW - 10, down_at=NOW)
    policy = OutOfService(enabled=True, grace=timedelta(minutes=2))

    outcome = verdict(
        worker(taints=(SHUTDOWN,)), found(InstanceStatus.DOWN), evidence, out_of_service=policy
    )

    assert isinstance(outcome, Wait)
    assert "120 s" in outcome.missing[0]
