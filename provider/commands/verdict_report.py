"""How `explain` shows what becomes of a node whose VM has stopped or is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from provider.decisions.identity import Absent
from provider.decisions.lifecycle import Evidence, Policy, Wait, judge, kind

if TYPE_CHECKING:
    from rich.console import Console

    from provider.config import Config
    from provider.decisions.identity import Match
    from provider.decisions.lifecycle import Verdict
    from provider.model import Node


def verdict_of(node: Node, match: Match, config: Config) -> Verdict:
    """What would become of the node, as far as one listing tells that was made just now.

    A running controller knows more: how many listings lacked the VM before.
    """
    evidence = Evidence(
        listed=0.0, not_ready_since=0.0, absences=1 if isinstance(match, Absent) else 0
    )
    return judge(node, match, evidence, Policy(config.deletion, config.out_of_service), 0.0)


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict for scripts."""
    return {"kind": kind(verdict), "reason": verdict.reason, "missing": list(_missing(verdict))}


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the verdict, its reason, and the evidence that must come before it is another."""
    console.print(Text("\nWhat becomes of it", style="bold"))
    console.print(Text(f"  {kind(verdict)}: {verdict.reason}"))
    for missing in _missing(verdict):
        console.print(Text(f"  still missing: {missing}"))


def _missing(verdict: Verdict) -> tuple[str, ...]:
    return verdict.missing if isinstance(verdict, Wait) else ()
