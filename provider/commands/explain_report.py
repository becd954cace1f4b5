"""How `explain` shows a node: the two sides, what is written, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from provider.commands import terminal
from provider.commands.verdict_report import print_verdict, verdict_as_json, verdict_of
from provider.decisions.identity import Absent, Ambiguous, Foreign, Found, Unknown
from provider.decisions.outcomes import strangers
from provider.decisions.plan import apply
from provider.decisions.rules import effects, taint_text
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    LABEL_CLUSTER,
    LABEL_DATA_CENTER,
    LABEL_HOST,
    LABEL_INSTANCE_TYPE,
    LABEL_INSTANCE_TYPE_BETA,
    LABEL_REGION,
    LABEL_REGION_BETA,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    TAINT_UNINITIALIZED,
    Freshness,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from provider.config import Config
    from provider.decisions.decision import Decision
    from provider.decisions.identity import Directory, Match
    from provider.decisions.lifecycle import Verdict
    from provider.model import Instance, Interface, Node, Snapshot


@dataclass(frozen=True, slots=True)
class Explanation:
    """A node, the decision about it, and what the decision was made from."""

    node: Node
    decision: Decision
    directory: Directory
    config: Config

    @property
    def instance(self) -> Instance | None:
        """The instance that the node certainly is."""
        match = self.decision.match
        return match.instance if isinstance(match, Found) else None

    @property
    def verdict(self) -> Verdict:
        """What would become of the node, as far as one listing tells."""
        return verdict_of(self.node, self.decision.match, self.config)

    @property
    def snapshot(self) -> Snapshot | None:
        """The listing that the instance is from."""
        return self.directory.snapshots[self.instance.engine] if self.instance else None


def _is(match: Match) -> str:
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
        case Unknown(reason=reason):
            return f"not known now: {reason}"


def _attitude(node: Node) -> str:
    if node.is_deleting:
        return "nothing is done to it: it is being deleted"
    if node.is_uninitialized:
        return "managed: it waits to be initialised"
    if node.is_ours:
        return "managed: it was registered or initialised by this controller"
    return "not managed: it has neither the taint nor our annotation; `ovirt-ccm check` helps"


# ---- what is written, as lines of a diff -------------------------------------------------------


_GONE = "no rule wants it any more"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the diff: ` ` stays, `-` goes, `+` comes; `why` is said of what comes or goes."""

    sign: str
    text: str
    why: str = ""


def diff(explanation: Explanation) -> tuple[Line, ...]:
    """What the planned patch makes of the node, in the node's order; () without a patch."""
    patch = explanation.decision.plan.patch
    if patch is None:
        return ()
    before, after = explanation.node, apply(explanation.node, patch)
    return tuple(_lines(explanation, before, after))


def _lines(explanation: Explanation, before: Node, after: Node) -> Iterator[Line]:
    reasons = _reasons(explanation)
    if before.provider_id != after.provider_id:
        yield Line("+", f"providerID {after.provider_id}", reasons["providerID"])
    if before.addresses != after.addresses:
        yield from _address_lines(before, after, reasons["addresses"])
    yield from _map_lines("label", before.labels, after.labels, reasons)
    yield from _map_lines("annotation", before.annotations, after.annotations, reasons)
    yield from _taint_lines(before, after, reasons)


def _address_lines(before: Node, after: Node, why: str) -> Iterator[Line]:
    """The list is written whole, so that its order counts too."""
    for address in before.addresses:
        if address not in after.addresses:
            yield Line("-", f"address {address.type} {address.address}", why)
    for address in after.addresses:
        sign = " " if address in before.addresses else "+"
        yield Line(sign, f"address {address.type} {address.address}", why if sign == "+" else "")


def _taint_lines(before: Node, after: Node, reasons: dict[str, str]) -> Iterator[Line]:
    for taint in before.taints:
        if taint not in after.taints:
            is_ruled = taint.key != TAINT_UNINITIALIZED
            yield Line("-", f"taint {taint_text(taint)}", _GONE if is_ruled else reasons["taint"])
    for taint in after.taints:
        if taint not in before.taints:
            yield Line("+", f"taint {taint_text(taint)}", reasons.get(taint_text(taint), ""))


def _map_lines(what: str, before: Any, after: Any, reasons: dict[str, str]) -> Iterator[Line]:
    for key in sorted({*before, *after}):
        if before.get(key) == after.get(key):
            continue
        if key in before:
            yield Line("-", f"{what} {key}={before[key]}", "" if key in after else _GONE)
        if key in after:
            yield Line("+", f"{what} {key}={after[key]}", reasons.get(key, ""))


def _reasons(explanation: Explanation) -> dict[str, str]:
    """Why each thing is as it is, by its key."""
    topology = explanation.config.topology
    vm = explanation.instance
    kind = "the VM's instance type" if vm and vm.instance_type else "the VM's CPUs and memory"
    by_labels = {
        kind: (LABEL_INSTANCE_TYPE, LABEL_INSTANCE_TYPE_BETA),
        f"topology.zone is {topology.zone}": (LABEL_ZONE, LABEL_ZONE_BETA),
        f"topology.region is {topology.region}": (LABEL_REGION, LABEL_REGION_BETA),
        "the hypervisor that the VM runs on": (LABEL_HOST,),
        "the VM's cluster": (LABEL_CLUSTER,),
        "the cluster's data centre": (LABEL_DATA_CENTER,),
        "records the engine, and that the node is ours": (ANNOTATION_ENGINE,),
        "records which labels and taints are the rules'": (ANNOTATION_APPLIED,),
    }
    reasons = {label: why for why, labels in by_labels.items() for label in labels}
    origins = effects(vm, explanation.config.rules).origins if vm else {}
    reasons |= {key: f"rule: {origin}" for key, origin in origins.items()}
    reasons["providerID"] = "the VM's id"
    reasons["taint"] = "an InternalIP is known: the node can be used"
    reasons["addresses"] = _address_reason(explanation)
    return reasons


def _address_reason(explanation: Explanation) -> str:
    metadata = explanation.decision.metadata
    match metadata.freshness if metadata else None:
        case Freshness.LIVE:
            return "the guest reports it now"
        case Freshness.OVERDUE:
            return "no guest agent: the kubelet's own"
    return "last reported by the guest"


# ---- facts -----------------------------------------------------------------------------------

Facts = list[tuple[str, str]]


def node_facts(node: Node) -> Facts:
    """What is known of the node, as name and value."""
    readiness = {True: "yes", False: "no", None: "not known"}
    return [
        ("uid", node.uid),
        ("created", f"{node.created:%Y-%m-%d %H:%M:%S} UTC" if node.created else "-"),
        ("ready", readiness[node.is_ready]),
        ("kubelet", node.kubelet_version or "none has used it"),
        ("providerID", node.provider_id or "-"),
        ("systemUUID", node.system_uuid or "-"),
        ("addresses", terminal.words(f"{a.type} {a.address}" for a in node.addresses) or "-"),
        ("taints", terminal.words(taint_text(taint) for taint in node.taints) or "-"),
    ]


def instance_facts(vm: Instance, freshness: Freshness) -> Facts:
    """What is known of the instance, as name and value."""
    return [
        ("status", str(vm.status or "not known")),
        ("up since", f"{vm.started:%Y-%m-%d %H:%M:%S} UTC" if vm.started else "-"),
        ("host", vm.host or "-"),
        ("cluster", vm.cluster.name if vm.cluster else "-"),
        ("data centre", vm.data_center or "-"),
        ("tags", terminal.words(sorted(tag.name for tag in vm.tags))),
        ("properties", terminal.words(f"{k}={v}" for k, v in vm.properties) or "-"),
        ("FQDN", vm.fqdn or "-"),
        ("vNICs", terminal.words(f"{nic.name} {nic.mac or '-'}" for nic in vm.nics) or "-"),
        ("guest", "; ".join(_interface(one) for one in vm.interfaces) or "reports nothing"),
        ("guest data", str(freshness)),
    ]


def _interface(interface: Interface) -> str:
    return f"{interface.name} {interface.mac or '-'} {terminal.words(interface.addresses)}"


def snapshot_facts(snapshot: Snapshot) -> Facts:
    """What is known of the engine, as name and value."""
    shared = terminal.words(sorted(map(str, snapshot.shared_addresses)))
    return [
        ("id", snapshot.engine_id),
        ("listed", f"{snapshot.taken:%Y-%m-%d %H:%M:%S} UTC (its clock)"),
        ("selected", f"{len(snapshot.instances)} VMs, {len(snapshot.unreadable)} unreadable"),
        ("shared", shared or "no address is reported by two VMs"),
    ]


# ---- the two forms ---------------------------------------------------------------------------


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation for scripts."""
    vm, metadata, snapshot = (
        explanation.instance,
        explanation.decision.metadata,
        explanation.snapshot,
    )
    match = explanation.decision.match
    notices = explanation.decision.plan.notices
    return {
        "node": explanation.node.name,
        "managed": _attitude(explanation.node),
        "match": type(match).__name__.lower(),
        "is": _is(match),
        "rule": match.rule if isinstance(match, Found) else None,
        "instance": {"id": vm.id, "name": vm.name, "engine": vm.engine} if vm else None,
        "node_facts": dict(node_facts(explanation.node)),
        "instance_facts": dict(instance_facts(vm, metadata.freshness)) if vm and metadata else {},
        "engine_facts": dict(snapshot_facts(snapshot)) if snapshot else {},
        "changes": [
            {"sign": line.sign, "text": line.text, "why": line.why} for line in diff(explanation)
        ],
        "notices": [{"level": n.level, "reason": n.reason, "message": n.message} for n in notices],
        "verdict": verdict_as_json(explanation.verdict),
        "silent_engines": dict(explanation.directory.silent),
    }


_ALIGNED = 60  # characters; longer lines have their reason further right
_SIGNS = {"+": "green", "-": "red", " ": ""}


def print_explanation(explanation: Explanation) -> None:
    """Print the explanation."""
    console = terminal.output()
    node, vm, metadata = (
        explanation.node,
        explanation.instance,
        explanation.decision.metadata,
    )
    _print_facts(console, f"Node {node.name}", node_facts(node))
    console.print(Text(f"  {_attitude(node)}"))
    console.print(Text("\nWhich VM it is", style="bold"))
    console.print(Text(f"  {_is(explanation.decision.match)}"))
    if vm and metadata:
        _print_facts(console, f"\nVM {vm.name}", instance_facts(vm, metadata.freshness))
    if snapshot := explanation.snapshot:
        _print_facts(console, f"\nEngine {snapshot.engine}", snapshot_facts(snapshot))
    _print_diff(console, explanation)
    _print_notices(console, explanation)
    print_verdict(console, explanation.verdict)


def _print_facts(console: Console, title: str, facts: Facts) -> None:
    console.print(Text(title, style="bold"))
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(f"  {name}", style="dim"), Text(value))
    console.print(grid)


def _print_diff(console: Console, explanation: Explanation) -> None:
    console.print(Text("\nWhat would be written", style="bold"))
    lines = diff(explanation)
    if not lines:
        console.print("  nothing")
    width = min(max((len(line.text) for line in lines), default=0), _ALIGNED)
    for line in lines:
        text = Text(f"  {line.sign} {line.text:{width}}", style=_SIGNS[line.sign])
        if line.why:
            text.append(f"  # {line.why}", style="not bold dim default")
        console.print(text, soft_wrap=True)
    for stranger in strangers(
        explanation.directory, {explanation.node.name: explanation.node}, explanation.config
    ):
        if adoption := stranger.adoption:
            changes = "; ".join(adoption.changes) or "nothing for now"
            console.print(Text(f"  when adopted: {changes}"))
            console.print(Text(f"  to adopt it: {adoption.command}"), soft_wrap=True)


def _print_notices(console: Console, explanation: Explanation) -> None:
    notices = explanation.decision.plan.notices
    if not notices:
        return
    console.print(Text("\nWhat would be said", style="bold"))
    for notice in notices:
        console.print(Text(f"  {notice.level} {notice.reason}: {notice.message}"))
