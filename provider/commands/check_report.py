"""How the result of `check` is shown: a checklist, the VMs, and the nodes that are not ours."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from provider.commands import terminal
from provider.commands.findings import Finding, Result
from provider.decisions.outcomes import Fate
from provider.model import ANNOTATION_ENGINE, TAINT_UNINITIALIZED, Instance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from provider.decisions.outcomes import Outcome, Stranger


class Report(Struct, frozen=True):
    """All that `check` has found out.

    `excluded` are VMs with the tag that are not selected, and why; `hints` say by node which VM
    it is after all; `has_nodes` is false when the cluster's nodes are not known.
    """

    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    excluded: tuple[tuple[Instance, str], ...]
    strangers: tuple[Stranger, ...]
    hints: Mapping[str, str]
    has_nodes: bool

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def problems(self) -> int:
        """How many checks failed."""
        return sum(finding.result is Result.FAILED for finding in self.findings)


# ---- for scripts -----------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report for scripts."""
    return {
        "ok": report.is_fine,
        "findings": [finding.as_json() for finding in report.findings],
        "nodes_known": report.has_nodes,
        "instances": [
            *(_outcome(outcome) for outcome in report.outcomes),
            *(_excluded(vm, why) for vm, why in report.excluded),
        ],
        "nodes": [_stranger(stranger, report.hints) for stranger in report.strangers],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    vm, metadata = outcome.candidate, outcome.metadata
    return {
        "name": vm.name,
        "id": vm.id,
        "engine": vm.engine if isinstance(vm, Instance) else None,
        "status": vm.status if isinstance(vm, Instance) else None,
        "zone": metadata.zone if metadata else None,
        "addresses": [a.address for a in metadata.addresses] if metadata else [],
        "node": outcome.node,
        "outcome": outcome.fate,
        "reason": outcome.reason,
    }


def _excluded(vm: Instance, why: str) -> dict[str, Any]:
    facts = {"name": vm.name, "id": vm.id, "engine": vm.engine, "status": vm.status}
    nothing: dict[str, Any] = {"zone": None, "addresses": [], "node": None}
    return facts | nothing | {"outcome": "not selected", "reason": why}


def _stranger(stranger: Stranger, hints: Mapping[str, str]) -> dict[str, Any]:
    adoption = stranger.adoption
    return {
        "name": stranger.node.name,
        "reason": stranger.reason,
        "is_waiting": stranger.is_waiting,
        "remedy": hints.get(stranger.node.name, ""),
        "adopt": adoption.command if adoption else None,
        "changes": list(adoption.changes) if adoption else [],
        "obstacles": list(adoption.obstacles) if adoption else [],
    }


# ---- for people ------------------------------------------------------------------------------

_MARKS = {
    Result.OK: ("✓", "ok", "green"),
    Result.WARNING: ("!", "warn", "yellow"),
    Result.FAILED: ("✗", "FAIL", "bold red"),
    Result.NOT_CHECKED: ("-", "-", "yellow"),
}
_STYLES = {
    Fate.REFUSED: "red",
    Fate.WAITS: "yellow",
    Fate.UNMANAGED: "yellow",
    Fate.SETTLED: "green",
}
_ADOPTING = (
    "To adopt a node is to record its engine on it. The controller then writes its providerID (for"
    " good), its labels and its addresses within seconds, and keeps labels and addresses true. No"
    " pod is stopped or kept away, and where something is in the way the node stays as it is."
    " Before, start its kubelet with --cloud-provider=external: else both write its addresses."
)
_GIVING_UP = f"to give it up again: kubectl annotate node NAME {ANNOTATION_ENGINE}-"
_TAINTING = (
    "the usual way, which keeps new pods away until all is written:"
    f" kubectl taint node NAME {TAINT_UNINITIALIZED}=true:NoSchedule"
)


def print_report(report: Report) -> None:
    """Print the report."""
    console = terminal.output()
    _print_findings(console, report.findings)
    if report.outcomes or report.excluded:
        _print_instances(console, report)
    if report.strangers:
        _print_strangers(console, report)
    console.print()
    if report.is_fine:
        looked = "" if report.has_nodes else ", as far as was looked: the cluster was not asked"
        console.print(f"Nothing is wrong{looked}.", style="green")
    else:
        count = report.problems
        console.print(f"{count} problem{'' if count == 1 else 's'} found.", style="bold red")


def _print_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    for subject, group in groupby(findings, key=lambda finding: finding.subject):
        console.print(Text(f"{subject[0].upper()}{subject[1:]}", style="bold"))
        grid = Table.grid(padding=(0, 1))
        for finding in group:
            grid.add_row(_mark(console, finding.result), _lines(finding))
        console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def _mark(console: Console, result: Result) -> Text:
    sign, plain, style = _MARKS[result]
    return Text(sign if console.encoding.startswith("utf") else plain, style=style)


def _lines(finding: Finding) -> Text:
    text = Text(finding.message)
    if finding.remedy:
        text.append(f"\n{finding.remedy}", style="italic")
    return text


def _print_instances(console: Console, report: Report) -> None:
    console.print()
    console.print(Text("What would become of the VMs", style="bold"))
    if not report.has_nodes:
        console.print("The cluster's nodes are not known: this is so if it has none.")
    grid = terminal.table("NODE", "VM", "STATUS", "ZONE", "ADDRESSES", "OUTCOME")
    for outcome in report.outcomes:
        row = _outcome(outcome)
        style = _STYLES.get(outcome.fate, "")
        grid.add_row(*_cells(row), Text(_words(outcome.fate, outcome.reason), style=style))
    for vm, why in report.excluded:
        grid.add_row(*_cells(_excluded(vm, why)), Text(_words("not selected", why), style="dim"))
    console.print(grid)


def _cells(row: dict[str, Any]) -> list[Text]:
    plain = [row["node"], row["name"] or row["id"], row["status"], row["zone"]]
    plain.append(terminal.words(row["addresses"]))
    return [terminal.cell(value or "-") for value in plain]


def _words(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what


def _print_strangers(console: Console, report: Report) -> None:
    console.print()
    console.print(Text("Nodes that nothing is done to", style="bold"))
    for reason, group in groupby(report.strangers, key=lambda one: _shared(one, report.hints)):
        if reason:  # an engine that is away is one fact, however many nodes wait for it
            names = terminal.words(stranger.node.name for stranger in group)
            _print_text(console, 2, f"{names}: {reason}")
        else:
            for stranger in group:
                _print_stranger(console, stranger, report.hints)
    if any(stranger.adoption for stranger in report.strangers):
        _print_text(console, 2, _ADOPTING)
        _print_line(console, 2, _GIVING_UP)
        _print_line(console, 2, _TAINTING)


def _shared(stranger: Stranger, hints: Mapping[str, str]) -> str:
    """The reason when it is all that there is to say of a node; "" when there is more."""
    is_all = stranger.adoption is None and stranger.node.name not in hints
    return stranger.reason if is_all else ""


def _print_stranger(console: Console, stranger: Stranger, hints: Mapping[str, str]) -> None:
    _print_text(console, 2, f"{stranger.node.name}: {stranger.reason}")
    if hint := hints.get(stranger.node.name):
        _print_line(console, 4, hint)
    if adoption := stranger.adoption:
        changes = "; ".join(adoption.changes) or "nothing for now"
        _print_text(console, 4, f"would be written when adopted: {changes}")
        for obstacle in adoption.obstacles:
            _print_text(console, 4, f"in the way: {obstacle}")
        _print_line(console, 4, f"adopt it: {adoption.command}")


def _print_text(console: Console, indent: int, text: str) -> None:
    console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))


def _print_line(console: Console, indent: int, text: str) -> None:
    """A line that only the terminal breaks, so that a command in it can be copied."""
    console.print(Text(" " * indent + text), soft_wrap=True)
