"""All that is to be said about one node: what it is, what would be written to it, and why.

The value is plain enough to be sent as JSON and read back: what a running controller says of a
node and what a command finds out by itself are shown by the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.differences import Difference, differences
from provider.decisions.identity import Absent, Ambiguous, Foreign, Found
from provider.decisions.lifecycle import Evidence, Policy, Wait, judge, kind
from provider.decisions.outcomes import strangers
from provider.decisions.rules import taint_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.config import Config
    from provider.decisions.decision import Decision
    from provider.decisions.identity import Directory, Match
    from provider.model import Instance, InstanceMetadata, Interface, Node, Snapshot


class MatchedInstance(Struct, frozen=True):
    """The VM that the node certainly is."""

    id: str
    name: str
    engine: str


class Remark(Struct, frozen=True):
    """Something that would be said: as an Event of this type, or with `Waiting` here only."""

    level: str
    reason: str
    message: str


class Outlook(Struct, frozen=True):
    """What becomes of the node: the verdict's kind, why, and what must be known first."""

    kind: str
    reason: str
    missing: tuple[str, ...] = ()


class EvidenceSoFar(Struct, frozen=True):
    """What a running controller has seen of the node and heard of its VM; times are seconds ago.

    `listed` is when the newest listing of its engine began, None when listing it fails now.
    `absences` of `confirmations` complete listings in a row lack the VM. `presence` is the newest
    answer about this VM alone, `asked` its age. `down_first` and `down_last` are the first and
    the last of the direct readings in a row that said `down`. `obstacle` says why nothing is
    deleted now, "" when that may be.
    """

    listed: float | None
    not_ready: float | None
    absences: int
    confirmations: int
    presence: str | None
    asked: float | None
    down_first: float | None
    down_last: float | None
    obstacle: str


class HowToAdopt(Struct, frozen=True):
    """How a node that is not managed can be, and what would be written to it then."""

    command: str
    changes: tuple[str, ...]


class Explanation(Struct, frozen=True):
    """All that is to be said about one node.

    `match` is one of found, absent, ambiguous, foreign, unknown; `identity` says it in words, and
    `rule` by which rule it was found. The facts are names and values to be shown in this order.
    `evidence` is None unless a running controller told of it. `silent_engines` are those that
    have not answered yet, and why.
    """

    node: str
    attitude: str
    match: str
    identity: str
    rule: str | None
    instance: MatchedInstance | None
    node_facts: dict[str, str]
    instance_facts: dict[str, str]
    engine_facts: dict[str, str]
    changes: tuple[Difference, ...]
    adoption: HowToAdopt | None
    remarks: tuple[Remark, ...]
    verdict: Outlook
    evidence: EvidenceSoFar | None
    silent_engines: dict[str, str]


def explain(
    node: Node,
    decision: Decision,
    directory: Directory,
    config: Config,
    evidence: Evidence | None,
    now: float,
) -> Explanation:
    """All about `node`, of which `decision` was made from `directory`.

    The verdict rests on `evidence` at `now`, both of the clock of a running controller. Without
    evidence it is what one listing tells that was made just now.
    """
    match = decision.match
    vm = match.instance if isinstance(match, Found) else None
    return Explanation(
        node=node.name,
        attitude=_attitude(node),
        match=type(match).__name__.lower(),
        identity=identity_text(match),
        rule=match.rule if isinstance(match, Found) else None,
        instance=MatchedInstance(vm.id, vm.name, vm.engine) if vm else None,
        node_facts=_node_facts(node),
        instance_facts=_instance_facts(vm, decision.metadata),
        engine_facts=_engine_facts(directory.snapshots[vm.engine]) if vm else {},
        changes=differences(node, decision, config),
        adoption=_adoption(node, directory, config),
        remarks=tuple(Remark(n.level, n.reason, n.message) for n in decision.plan.notices),
        verdict=outlook(node, match, evidence or first_evidence(match), config, now),
        evidence=_so_far(evidence, config, now) if evidence else None,
        silent_engines=dict(directory.silent),
    )


def identity_text(match: Match) -> str:
    """Which VM the node is, or why that is not known."""
    match match:
        case Found(instance=vm, rule=rule):
            return f"VM {vm.name} ({vm.id}) of engine {vm.engine}, by its {rule}"
        case Absent(instance_id=None):
            return "no selected VM, by no rule"
        case Absent(instance_id=instance_id):
            return f"no selected VM has the id {instance_id} of its providerID"
        case Foreign(provider_id=provider_id):
            return f"another cloud provider's: {provider_id}"
        case Ambiguous(reason=reason):
            return f"in doubt: {reason}"
    return f"not known now: {match.reason}"


def _attitude(node: Node) -> str:
    if node.is_deleting:
        return "nothing is done to it: it is being deleted"
    if node.is_uninitialized:
        return "managed: it waits to be initialised"
    if node.is_ours:
        return "managed: it was registered or initialised by this controller"
    return "not managed: it has neither the taint nor our annotation; `ovirt-ccm check` helps"


def _adoption(node: Node, directory: Directory, config: Config) -> HowToAdopt | None:
    for stranger in strangers(directory, {node.name: node}, config):
        if adoption := stranger.adoption:
            return HowToAdopt(adoption.command, adoption.changes)
    return None


# ---- facts -----------------------------------------------------------------------------------


def _node_facts(node: Node) -> dict[str, str]:
    readiness = {True: "yes", False: "no", None: "not known"}
    return {
        "uid": node.uid,
        "created": f"{node.created:%Y-%m-%d %H:%M:%S} UTC" if node.created else "-",
        "ready": readiness[node.is_ready],
        "kubelet": node.kubelet_version or "none has used it",
        "providerID": node.provider_id or "-",
        "systemUUID": node.system_uuid or "-",
        "addresses": _words(f"{a.type} {a.address}" for a in node.addresses) or "-",
        "taints": _words(taint_text(taint) for taint in node.taints) or "-",
    }


def _instance_facts(vm: Instance | None, metadata: InstanceMetadata | None) -> dict[str, str]:
    if vm is None or metadata is None:
        return {}
    return {
        "status": str(vm.status or "not known"),
        "up since": f"{vm.started:%Y-%m-%d %H:%M:%S} UTC" if vm.started else "-",
        "host": vm.host or "-",
        "cluster": vm.cluster.name if vm.cluster else "-",
        "data centre": vm.data_center or "-",
        "tags": _words(sorted(tag.name for tag in vm.tags)),
        "properties": _words(f"{k}={v}" for k, v in vm.properties) or "-",
        "FQDN": vm.fqdn or "-",
        "vNICs": _words(f"{nic.name} {nic.mac or '-'}" for nic in vm.nics) or "-",
        "guest": "; ".join(map(_interface, vm.interfaces)) or "reports nothing",
        "guest data": str(metadata.freshness),
    }


def _interface(interface: Interface) -> str:
    return f"{interface.name} {interface.mac or '-'} {_words(interface.addresses)}"


def _engine_facts(snapshot: Snapshot) -> dict[str, str]:
    shared = _words(sorted(map(str, snapshot.shared_addresses)))
    return {
        "id": snapshot.engine_id,
        "listed": f"{snapshot.taken:%Y-%m-%d %H:%M:%S} UTC (its clock)",
        "selected": f"{len(snapshot.instances)} VMs, {len(snapshot.unreadable)} unreadable",
        "shared": shared or "no address is reported by two VMs",
    }


def _words(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


# ---- verdict and evidence --------------------------------------------------------------------


def first_evidence(match: Match) -> Evidence:
    """What one listing tells that was made just now, of a node of which nothing else was seen."""
    absences = 1 if isinstance(match, Absent) else 0
    return Evidence(listed=0.0, not_ready_since=0.0, absences=absences)


def outlook(node: Node, match: Match, evidence: Evidence, config: Config, now: float) -> Outlook:
    """What becomes of `node`, which was matched like this, by `evidence` at `now`."""
    verdict = judge(node, match, evidence, Policy(config.deletion, config.out_of_service), now)
    missing = verdict.missing if isinstance(verdict, Wait) else ()
    return Outlook(kind(verdict), verdict.reason, missing)


def _so_far(evidence: Evidence, config: Config, now: float) -> EvidenceSoFar:
    return EvidenceSoFar(
        listed=_ago(evidence.listed, now),
        not_ready=_ago(evidence.not_ready_since, now),
        absences=evidence.absences,
        confirmations=config.deletion.confirmations,
        presence=evidence.presence,
        asked=_ago(evidence.asked, now) if evidence.presence else None,
        down_first=_ago(evidence.down_since, now),
        down_last=_ago(evidence.down_at, now),
        obstacle=evidence.obstacle,
    )


def _ago(then: float | None, now: float) -> float | None:
    """Seconds since then, to a tenth; never negative."""
    return None if then is None else round(max(0.0, now - then), 1)
