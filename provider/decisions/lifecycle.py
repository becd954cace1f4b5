"""What becomes of a node whose instance has stopped or is gone.

A node is deleted only on proof, and its volumes are taken only from an instance that is proven
down. Whatever is not known for certain changes nothing: peers have deleted half a cluster because
a log-in failed, a permission was lost, or a VM was merely stopped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.identity import Absent, Foreign, Found
from provider.model import (
    ANNOTATION_HOLD,
    ANNOTATION_OUT_OF_SERVICE,
    TAINT_OUT_OF_SERVICE,
    TAINT_SHUTDOWN,
    InstanceStatus,
    Level,
    NodePatch,
    Taint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.config import Deletion, OutOfService
    from provider.decisions.identity import Match
    from provider.model import Instance, Node

SHUTDOWN = Taint(TAINT_SHUTDOWN, "NoSchedule")
"""As k8s.io/cloud-provider writes it: the scheduler stays away from a machine that is off."""
OUT_OF_SERVICE = Taint(TAINT_OUT_OF_SERVICE, "NoExecute", "nodeshutdown")
"""KEP-2268: pods are removed by force and their volumes detached at once."""

# Between the two direct readings that must both say `down`: an engine that restarts an instance
# elsewhere shows it as down for a moment only.
DOWN_APART = 10.0  # seconds
# What the engine said of one instance counts for so long when something is to be done about it.
FRESH = 5.0  # seconds
# And for so long when it says that nothing is to be done.
SETTLED = 60.0  # seconds

# Not running, and nobody's guess: the instance may be started again.
_STOPPED = frozenset({InstanceStatus.DOWN, InstanceStatus.SUSPENDED, InstanceStatus.IMAGE_LOCKED})


class Policy(Struct, frozen=True):
    """The parts of the configuration that decide."""

    deletion: Deletion
    out_of_service: OutOfService


class Presence(StrEnum):
    """What the node's engine said when it was asked for the instance alone."""

    GONE = "gone"
    UNSELECTED = "unselected"
    SELECTED = "selected"


class Evidence(Struct, frozen=True):
    """What is known beside the node and its match; times are seconds of the loop's clock.

    `listed` is when the node's engine was asked for what the match rests on, for all instances or
    for this one alone; None when listing it fails now. `not_ready_since` is when this process
    first saw the node not ready. `absences` are the complete listings in a row that lack the
    instance and started after this process first saw the node's uid, in the engine that the node
    has recorded. `presence` and `asked` are the newest direct answer and its time. `down_since`
    and `down_at` are the first and the last of the direct readings in a row that said `down`.
    `obstacle` says why the budget lets nothing be deleted now, "" when it may. `out_of_service`
    counts the nodes that carry that taint.
    """

    listed: float | None = None
    not_ready_since: float | None = None
    absences: int = 0
    presence: Presence | None = None
    asked: float = 0.0
    down_since: float | None = None
    down_at: float | None = None
    obstacle: str = ""
    out_of_service: int = 0


# ---- the verdicts ----------------------------------------------------------------------------


class Keep(Struct, frozen=True):
    """Nothing is to be done."""

    reason: str


class Wait(Struct, frozen=True):
    """Something may have to be done; `missing` is the evidence that must come first."""

    reason: str
    missing: tuple[str, ...]


class Question(StrEnum):
    """What the engine is to be asked about one instance."""

    PRESENCE = "does it exist"
    STATUS = "is it down"


class Ask(Struct, frozen=True):
    """The engine is to be asked about this instance alone, and the node to be judged again."""

    reason: str
    instance_id: str
    question: Question


class Hold(Struct, frozen=True):
    """The node would be deleted, and is not; at `level` it is said as an Event."""

    reason: str
    level: Level = Level.WAITING


class Delete(Struct, frozen=True):
    """The node is to be deleted, once the engine has said the same again."""

    reason: str
    instance_id: str
    presence: Presence


class Mark(Struct, frozen=True):
    """The taint is to be added."""

    reason: str
    taint: Taint


class Unmark(Struct, frozen=True):
    """These taints, which are the program's own, are to be removed."""

    reason: str
    taints: tuple[Taint, ...]


Verdict = Keep | Wait | Ask | Hold | Delete | Mark | Unmark

KINDS = ("keep", "wait", "ask", "hold", "delete", "mark", "unmark")
"""What `kind` calls the verdicts."""


def kind(verdict: Verdict) -> str:
    """The verdict in one word, for metrics and tables."""
    return type(verdict).__name__.lower()


def judge(node: Node, match: Match, evidence: Evidence, policy: Policy, now: float) -> Verdict:
    """What is to be done about the life of `node`.

    Nothing ever is with a node that is not the program's, that is of another cloud provider, or
    that is being deleted. What the program has put on a node goes when its kubelet is ready,
    whatever is known of the engine. All else needs certainty about the instance.
    """
    if isinstance(match, Foreign):
        return Keep("the node belongs to another cloud provider")
    if reason := _not_ours(node):
        return Keep(reason)
    if node.is_ready:
        marks = tuple(_marks(node))
        return Unmark("the node is ready", marks) if marks else Keep("the node is ready")
    if node.is_uninitialized:
        return Keep("the node is not initialised yet")
    match match:
        case Found(instance=instance):
            return _found(node, instance, evidence, policy, now)
        case Absent(instance_id=str(instance_id)):
            return _absent(node, instance_id, evidence, policy, now)
        case Absent():
            return Keep("nothing on the node says which VM it was")
    return Keep(f"nothing is certain about its VM: {match.reason}")


def _not_ours(node: Node) -> str:
    if node.is_deleting:
        return "the node is being deleted already"
    if not node.is_ours:
        return "the node was neither registered nor initialised by this controller"
    return ""


def _marks(node: Node) -> Iterator[Taint]:
    """The taints on the node that are the program's to remove.

    The shutdown taint belongs to whoever is the cloud provider; the other only with our mark.
    """
    for taint in node.taints:
        if taint.key == TAINT_SHUTDOWN or (
            taint.key == TAINT_OUT_OF_SERVICE and ANNOTATION_OUT_OF_SERVICE in node.annotations
        ):
            yield taint


def has_taint(node: Node, key: str) -> bool:
    """Whether the node carries a taint of this key."""
    return key in [taint.key for taint in node.taints]


# ---- an instance that is there ---------------------------------------------------------------


def _found(
    node: Node, instance: Instance, evidence: Evidence, policy: Policy, now: float
) -> Verdict:
    status = instance.status
    left_behind = tuple(taint for taint in _marks(node) if taint.key == TAINT_OUT_OF_SERVICE)
    if left_behind and status is not InstanceStatus.DOWN:
        return Unmark(f"the VM is no longer down: {_words(status)}", left_behind)
    if status not in _STOPPED:
        return Keep(f"the node is not ready, and the VM is not stopped: {_words(status)}")
    is_marked = has_taint(node, TAINT_SHUTDOWN)
    if not is_marked and _is_current(evidence):
        return Mark(f"the VM is {_words(status)} and the node is not ready", SHUTDOWN)
    may_lose_volumes = policy.out_of_service.enabled and status is InstanceStatus.DOWN
    if may_lose_volumes and not has_taint(node, TAINT_OUT_OF_SERVICE):
        return _down(instance, evidence, policy.out_of_service, now)
    if not is_marked:
        missing = ("the engine's word on it since the node is not ready",)
        return Wait(f"the VM was {_words(status)} when it was seen last", missing)
    return Keep(f"the VM is {_words(status)}, and the node is marked so")


def _is_current(evidence: Evidence) -> bool:
    """Whether the engine has spoken since the node is not ready: before that it was another boot.

    An engine that cannot be asked now says nothing either.
    """
    since = evidence.not_ready_since
    spoken = (evidence.listed, evidence.down_at)
    return since is not None and any(at is not None and at >= since for at in spoken)


def _words(status: InstanceStatus | None) -> str:
    return status or "in a state that the engine does not say"


def _down(instance: Instance, evidence: Evidence, policy: OutOfService, now: float) -> Verdict:
    """Taking the volumes of a VM that runs corrupts them: so it is asked for twice, uncached."""
    reason = "the VM is down: its volumes may be taken from it"
    if evidence.out_of_service >= policy.max_nodes:
        taken = (
            f"a place: {evidence.out_of_service} of {policy.max_nodes} nodes are out of service"
        )
        return Wait(reason, (taken,))
    if evidence.down_since is None or evidence.down_at is None:
        return Ask(reason, instance.id, Question.STATUS)
    if missing := tuple(_down_missing(evidence, policy, now)):
        return Wait(reason, missing)
    is_proven = evidence.down_at - evidence.down_since >= DOWN_APART
    if not is_proven or now - evidence.down_at > FRESH:
        return Ask(reason, instance.id, Question.STATUS)
    return Mark(f"{reason}, twice said so by the engine", OUT_OF_SERVICE)


def _down_missing(evidence: Evidence, policy: OutOfService, now: float) -> Iterator[str]:
    grace = policy.grace.total_seconds()
    since = now if evidence.not_ready_since is None else evidence.not_ready_since
    if now - since < grace:
        yield f"the node must have been not ready for {grace:.0f} s"
    if evidence.down_since is not None and now - evidence.down_since < DOWN_APART:
        yield f"a second reading, {DOWN_APART:.0f} s after the first"


# ---- an instance that is not there -----------------------------------------------------------


def _absent(
    node: Node, instance_id: str, evidence: Evidence, policy: Policy, now: float
) -> Verdict:
    deletion = policy.deletion
    reason = f"no listing has the VM {instance_id} any more"
    if deletion.mode == "off":
        return Keep(f"{reason}; deletion.mode is off")
    if evidence.absences < deletion.confirmations:
        counted = f"{evidence.absences} of {deletion.confirmations} complete listings without it"
        return Wait(reason, (counted, "the engine's word that it does not exist"))
    if settled := _settled(evidence, deletion, now):
        return settled
    if node.annotations.get(ANNOTATION_HOLD) == "true":
        return Hold(f"{reason}; the annotation {ANNOTATION_HOLD} keeps the node", Level.WARNING)
    if evidence.obstacle:
        return Hold(f"{reason}; {evidence.obstacle}", Level.WARNING)
    if evidence.presence is None or now - evidence.asked > FRESH:
        return Ask(reason, instance_id, Question.PRESENCE)
    return Delete(_why(evidence, instance_id), instance_id, evidence.presence)


def _settled(evidence: Evidence, deletion: Deletion, now: float) -> Hold | None:
    """Why an instance that the engine has after all keeps its node, while that is known."""
    if evidence.presence is None or now - evidence.asked > SETTLED:
        return None
    if evidence.presence is Presence.SELECTED:
        return Hold("the engine has the VM, and its list lacks it")
    if evidence.presence is Presence.UNSELECTED and deletion.untagged == "keep":
        return Hold("the VM exists and is no longer selected: deletion.untagged is keep")
    return None


def _why(evidence: Evidence, instance_id: str) -> str:
    listings = f"{evidence.absences} complete listings in a row lack it"
    if evidence.presence is Presence.UNSELECTED:
        return (
            f"its VM {instance_id} is no longer selected: {listings} (deletion.untagged: delete)"
        )
    return f"its VM {instance_id} does not exist any more: the engine says so, and {listings}"


def patch_of(node: Node, verdict: Mark | Unmark, moment: str) -> NodePatch:
    """The patch that carries out the verdict on `node`; `moment` is the time for the record.

    The mark that a taint out of service is ours comes and goes in the same write.
    """
    if isinstance(verdict, Unmark):
        return _without(node, verdict.taints)
    taint = verdict.taint
    return NodePatch(
        annotations={ANNOTATION_OUT_OF_SERVICE: moment} if taint == OUT_OF_SERVICE else {},
        taints=(*node.taints, taint),
        changes=(f"taint {taint.key}: added",),
    )


def _without(node: Node, taints: tuple[Taint, ...]) -> NodePatch:
    is_ours = any(taint.key == TAINT_OUT_OF_SERVICE for taint in taints)
    return NodePatch(
        annotations={ANNOTATION_OUT_OF_SERVICE: None} if is_ours else {},
        taints=tuple(taint for taint in node.taints if taint not in taints),
        changes=tuple(f"taint {taint.key}: removed" for taint in taints),
    )
