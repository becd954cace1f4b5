"""How an explanation is told to people: the paragraphs of it, and all of it as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provider.decisions.differences import Difference
    from provider.decisions.explanation import EvidenceSoFar, Explanation, Outlook

# Characters; lines of a diff that are longer have their reason further right.
_ALIGNED = 60


class Paragraph(Struct, frozen=True):
    """What is shown under one title: first facts, then a diff, then lines."""

    title: str
    facts: dict[str, str]
    changes: tuple[Difference, ...] = ()
    lines: tuple[str, ...] = ()


def paragraphs(explanation: Explanation) -> Iterator[Paragraph]:
    """What is shown of the explanation, in this order."""
    vm, evidence = explanation.instance, explanation.evidence
    yield Paragraph(
        f"Node {explanation.node}", explanation.node_facts, (), (explanation.attitude,)
    )
    yield Paragraph("Which VM it is", {}, (), (explanation.identity,))
    if vm:
        yield Paragraph(f"VM {vm.name}", explanation.instance_facts)
        yield Paragraph(f"Engine {vm.engine}", explanation.engine_facts)
    yield Paragraph("What would be written", {}, explanation.changes, tuple(_beside(explanation)))
    if remarks := explanation.remarks:
        said = tuple(f"{one.level} {one.reason}: {one.message}" for one in remarks)
        yield Paragraph("What would be said", {}, (), said)
    yield Paragraph("What becomes of it", {}, (), tuple(_outlook_lines(explanation.verdict)))
    if evidence:
        yield Paragraph("What has been seen", _evidence_facts(evidence))


def _beside(explanation: Explanation) -> Iterator[str]:
    if not explanation.changes:
        yield "nothing"
    if adoption := explanation.adoption:
        yield f"when adopted: {'; '.join(adoption.changes) or 'nothing for now'}"
        yield f"to adopt it: {adoption.command}"


def _outlook_lines(outlook: Outlook) -> Iterator[str]:
    yield f"{outlook.kind}: {outlook.reason}"
    yield from (f"still missing: {missing}" for missing in outlook.missing)


def _evidence_facts(seen: EvidenceSoFar) -> dict[str, str]:
    first, last = seen.down_first, seen.down_last
    down = "not when it was asked last"
    if first is not None and last is not None:
        down = f"first {first:.0f} s ago, last {last:.0f} s ago"
    return {
        "listed": _past(seen.listed, "the engine cannot be listed now"),
        "not ready": "no" if seen.not_ready is None else f"for {seen.not_ready:.0f} s",
        "absences": f"{seen.absences} of {seen.confirmations} complete listings lack the VM",
        "asked": _past(seen.asked, "not yet", seen.presence),
        "down": down,
        "obstacle": seen.obstacle or "none: the budget lets nodes be deleted",
    }


def _past(ago: float | None, otherwise: str, what: str | None = None) -> str:
    if ago is None:
        return otherwise
    return f"{what}, {ago:.0f} s ago" if what else f"{ago:.0f} s ago"


def width(changes: Iterable[Difference]) -> int:
    """The width to which the lines of a diff are filled before their reasons."""
    return min(max((len(change.text) for change in changes), default=0), _ALIGNED)


def text(explanation: Explanation) -> str:
    """The explanation for people, without colours; it ends with a newline."""
    return "\n\n".join("\n".join(_text(part)) for part in paragraphs(explanation)) + "\n"


def _text(paragraph: Paragraph) -> Iterator[str]:
    yield paragraph.title
    name_width = max(map(len, paragraph.facts), default=0)
    for name, value in paragraph.facts.items():
        yield f"  {name:{name_width}}  {value}".rstrip()
    text_width = width(paragraph.changes)
    for change in paragraph.changes:
        why = f"  # {change.why}" if change.why else ""
        yield f"  {change.sign} {change.text:{text_width}}{why}".rstrip()
    for line in paragraph.lines:
        yield f"  {line}"
