"""What would become of every VM and every node, for those who want to know before it happens."""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from provider.decisions.decision import decide
from provider.decisions.identity import (
    Absent,
    Ambiguous,
    Foreign,
    Found,
    Unknown,
    instance_id_of,
    node_name,
)
from provider.decisions.metadata import describe
from provider.decisions.registration import (
    JOIN_PATIENCE,
    Refusal,
    never_joined,
    prospects,
    refuse,
)
from provider.model import ANNOTATION_ENGINE, Instance, Level, NewNode, Unreadable
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from provider.config import Config
    from provider.decisions.decision import Decision
    from provider.decisions.identity import Candidate, Directory, Match
    from provider.decisions.registration import Prospect
    from provider.model import InstanceMetadata, Node


class Fate(StrEnum):
    """What would become of a VM or a node."""

    REGISTERED = "would be registered"
    INITIALISED = "would be initialised"
    REFRESHED = "would be refreshed"
    SETTLED = "is initialised"
    WAITS = "waits"
    REFUSED = "refused"
    UNMANAGED = "not managed"


class Outcome(Struct, frozen=True):
    """What would become of one VM: the node that it is or would be, and why that or why not.

    `node` is None when no name can be made of the VM's; `metadata` when the VM is unreadable.
    """

    candidate: Candidate
    node: str | None
    fate: Fate
    reason: str
    metadata: InstanceMetadata | None


def instance_outcomes(
    directory: Directory, nodes: Mapping[str, Node], config: Config
) -> tuple[Outcome, ...]:
    """The outcome of each selected VM of all engines, by name; `nodes` are all, by name."""
    known = _Known(directory, nodes, config)
    members = chain.from_iterable(directory.by_id.values())
    ordered = sorted(members, key=lambda candidate: (candidate.name or "", candidate.id))
    return tuple(_outcome(candidate, known) for candidate in ordered)


class _Known:
    """The decisions about all nodes, and about all VMs without one, by the VM's id."""

    def __init__(self, directory: Directory, nodes: Mapping[str, Node], config: Config) -> None:
        self.directory = directory
        self.config = config
        self.found: dict[str, tuple[Node, Decision]] = {}
        self.doubts: dict[str, tuple[Fate, str]] = {}
        self.prospects: dict[str, Prospect] = {}
        for node in nodes.values():
            self._take(node, decide(node, directory, config))
        for prospect in prospects(directory, nodes, config):
            self.prospects[_instance_id(prospect)] = prospect

    def _take(self, node: Node, decision: Decision) -> None:
        match decision.match:
            case Found(instance=instance):
                before = self.found.get(instance.id)
                # A Node that no kubelet uses gives way to the one that a kubelet has made.
                if before is None or not before[0].kubelet_version:
                    self.found[instance.id] = (node, decision)
            case Ambiguous(reason=reason, candidates=candidates):
                for candidate in candidates:
                    self.doubts[candidate.id] = Fate.REFUSED, f"node {node.name}: {reason}"
            case Unknown(reason=reason) if claimed := instance_id_of(node):
                fate = Fate.WAITS if _is_passing(decision.match) else Fate.REFUSED
                self.doubts[claimed] = fate, f"node {node.name}: {reason}"


def _is_passing(match: Match) -> bool:
    """Whether nothing is wrong with node and VM: an engine could not be asked."""
    return isinstance(match, Unknown) and match.cause is Reason.ENGINE_UNREACHABLE


def _instance_id(prospect: Prospect) -> str:
    if isinstance(prospect, NewNode):
        return prospect.provider_id.removeprefix("ovirt://")
    return prospect.instance.id


def _outcome(candidate: Candidate, known: _Known) -> Outcome:
    if isinstance(candidate, Unreadable):
        name = node_name(candidate).name
        reason = f"the VM cannot be understood: {candidate.reason}"
        return Outcome(candidate, name, Fate.REFUSED, reason, None)
    snapshot = known.directory.snapshots[candidate.engine]
    metadata = describe(candidate, snapshot, known.config)
    if found := known.found.get(candidate.id):
        node, decision = found
        return Outcome(candidate, node.name, *_fate_of(node, decision), metadata)
    name, fate, reason = _fate_without_node(candidate, known)
    return Outcome(candidate, name, fate, reason, metadata)


def _fate_of(node: Node, decision: Decision) -> tuple[Fate, str]:
    warnings = [n.message for n in decision.plan.notices if n.level is Level.WARNING]
    conflicts = [n.message for n in decision.plan.notices if n.reason is Reason.RULE_CONFLICT]
    if node.is_deleting:
        return Fate.WAITS, "the node is being deleted"
    if not (node.is_uninitialized or node.is_ours):
        return Fate.UNMANAGED, "the node is left alone until it is adopted"
    if patch := decision.plan.patch:
        if node.is_uninitialized:
            return Fate.INITIALISED, "; ".join(warnings)
        return Fate.REFRESHED, "; ".join((*patch.changes, *warnings))
    if warnings != conflicts:
        return Fate.REFUSED, "; ".join(warnings)
    if node.is_uninitialized:
        return Fate.WAITS, "; ".join(notice.message for notice in decision.plan.notices)
    return Fate.SETTLED, "; ".join(conflicts)


def _fate_without_node(instance: Instance, known: _Known) -> tuple[str | None, Fate, str]:
    name = node_name(instance).name
    if doubt := known.doubts.get(instance.id):
        return name, *doubt
    prospect = known.prospects.get(instance.id)
    if prospect is None:
        return name, Fate.WAITS, "a node claims it by its providerID or systemUUID"
    if isinstance(prospect, NewNode):
        return prospect.name, Fate.REGISTERED, ""
    if isinstance(prospect, Refusal):
        return name, Fate.REFUSED, prospect.notice.message
    # What will refuse it once it need not wait is better known now.
    if refusal := refuse(instance, known.directory, known.config):
        return name, Fate.REFUSED, refusal.notice.message
    return name, Fate.WAITS, prospect.reason


# ---- nodes that are not ours -----------------------------------------------------------------


class Adoption(Struct, frozen=True):
    """How a node that is not managed can be: by recording the engine of its VM on it.

    The annotation is what initialisation writes too, and harms nothing: unlike the taint it
    keeps no pod away, and a node that cannot be brought to what the engine knows stays as it is.
    `changes` is what would be written then, in words; `obstacles` what would prevent it.
    """

    command: str
    changes: tuple[str, ...]
    obstacles: tuple[str, ...]


class Stranger(Struct, frozen=True):
    """A node that the program does nothing to, why, and how that can be changed.

    `is_waiting` when it has the taint of uninitialised nodes and waits for the program in vain.
    """

    node: Node
    match: Match
    reason: str
    is_waiting: bool
    adoption: Adoption | None = None


def strangers(
    directory: Directory, nodes: Mapping[str, Node], config: Config
) -> tuple[Stranger, ...]:
    """The nodes that nothing is done to, by name: without a certain VM, or not managed."""
    found = (_stranger(nodes[name], directory, config) for name in sorted(nodes))
    return tuple(stranger for stranger in found if stranger)


def _stranger(node: Node, directory: Directory, config: Config) -> Stranger | None:
    match = decide(node, directory, config).match
    if isinstance(match, Found):
        if node.is_uninitialized or node.is_ours:
            return None
        adoption = _adoption(node, match.instance, directory, config)
        vm = match.instance
        reason = f"is VM {vm.name} of engine {vm.engine} (by its {match.rule})"
        return Stranger(node, match, reason, is_waiting=False, adoption=adoption)
    is_waiting = node.is_uninitialized and not _is_passing(match)
    return Stranger(node, match, _why(match), is_waiting=is_waiting)


def _why(match: Absent | Ambiguous | Foreign | Unknown) -> str:
    match match:
        case Absent():
            return "is no selected VM"
        case Foreign(provider_id=provider_id):
            return f"belongs to another cloud provider: its providerID is {provider_id}"
    return match.reason


def _adoption(node: Node, instance: Instance, directory: Directory, config: Config) -> Adoption:
    engine_id = instance.engine_id
    adopted = replace(node, annotations={**node.annotations, ANNOTATION_ENGINE: engine_id})
    plan = decide(adopted, directory, config).plan
    return Adoption(
        command=f"kubectl annotate node {node.name} {ANNOTATION_ENGINE}={engine_id}",
        changes=plan.patch.changes if plan.patch else (),
        obstacles=tuple(
            notice.message
            for notice in plan.notices
            if notice.level is Level.WARNING and notice.reason is not Reason.RULE_CONFLICT
        ),
    )


# ---- hints of another cluster ----------------------------------------------------------------


def unjoined(
    outcomes: tuple[Outcome, ...], nodes: Mapping[str, Node], directory: Directory, now: datetime
) -> tuple[str, ...]:
    """The names of VMs that carry the tag and have been up for long, without a kubelet here.

    Either they run none, or one of another cluster that shares the tag.
    """
    return tuple(sorted({*_never_here(outcomes, directory), *_never_came(nodes, now)}))


def _never_here(outcomes: tuple[Outcome, ...], directory: Directory) -> Iterator[str]:
    for outcome in outcomes:
        vm = outcome.candidate
        if outcome.fate is not Fate.REGISTERED or not isinstance(vm, Instance):
            continue
        taken = directory.snapshots[vm.engine].taken
        if vm.started and taken - vm.started >= JOIN_PATIENCE:
            yield vm.name


def _never_came(nodes: Mapping[str, Node], now: datetime) -> Iterator[str]:
    return (node.name for node in nodes.values() if never_joined(node, now))
