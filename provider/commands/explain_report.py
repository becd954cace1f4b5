"""How `explain` shows a node: the paragraphs of its explanation, with colours, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.table import Table
from rich.text import Text

from provider.commands import terminal
from provider.decisions.explanation_text import paragraphs, width

if TYPE_CHECKING:
    from rich.console import Console

    from provider.decisions.differences import Difference
    from provider.decisions.explanation import Explanation

_SIGNS = {"+": "green", "-": "red", " ": ""}


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation for scripts."""
    renamed = {"attitude": "managed", "identity": "is", "remarks": "notices"}
    return {
        renamed.get(name, name): value for name, value in msgspec.to_builtins(explanation).items()
    }


def print_explanation(explanation: Explanation) -> None:
    """Print the explanation."""
    console = terminal.output()
    for index, paragraph in enumerate(paragraphs(explanation)):
        blank = "\n" if index else ""
        console.print(Text(f"{blank}{paragraph.title}", style="bold"))
        _print_facts(console, paragraph.facts)
        _print_changes(console, paragraph.changes)
        for line in paragraph.lines:
            console.print(Text(f"  {line}"), soft_wrap=True)


def _print_facts(console: Console, facts: dict[str, str]) -> None:
    if not facts:
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(f"  {name}", style="dim"), Text(value))
    console.print(grid)


def _print_changes(console: Console, changes: tuple[Difference, ...]) -> None:
    filled = width(changes)
    for change in changes:
        text = Text(f"  {change.sign} {change.text:{filled}}", style=_SIGNS[change.sign])
        if change.why:
            text.append(f"  # {change.why}", style="not bold dim default")
        console.print(text, soft_wrap=True)
