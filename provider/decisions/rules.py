"""Labels and taints that the rules give a node by its VM, and which of a node's are theirs.

A rule takes over nothing: what somebody else has set stays his. The record, an annotation of the
node, holds what was written for rules, so that it goes when no rule wants it any more. Whoever
may write a node's annotations can therefore have its labels and taints removed, those alone that
a rule may write.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct, field

from provider.decisions.labels import label_value
from provider.model import ANNOTATION_APPLIED, NOTHING_WANTED, Level, Notice, Taint, Wanted
from provider.reasons import Reason
from provider.rules import may_label, may_taint
from provider.scalars import split_taint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provider.model import Instance, Node
    from provider.rules import Rule

Place = tuple[str, str]  # key and effect: what names a taint


# ---- what the rules want -----------------------------------------------------------------------


class Effects(Struct, frozen=True):
    """What the rules give one VM's node.

    `notices` say, by label, that a property's value is no label value; `origins` by which rule
    something comes, by label or by the text of a taint.
    """

    wanted: Wanted
    notices: Mapping[str, Notice]
    origins: Mapping[str, str]


def effects(instance: Instance, rules: Iterable[Rule]) -> Effects:
    """What `rules` give the node of `instance`; where two disagree the first one counts."""
    labels: dict[str, str] = {}
    taints: dict[Place, Taint] = {}
    notices: dict[str, Notice] = {}
    origins: dict[str, str] = {}
    properties = dict(instance.properties)
    for rule in rules:
        if not _is_for(rule, instance, properties):
            continue
        for label, value, notice in _labels(rule, properties):
            if label in labels:
                continue
            labels[label], origins[label] = value, str(rule)
            if notice:
                notices[label] = notice
        for parsed in rule.parsed_taints:
            taint = _taint(*parsed)
            taint = taints.setdefault(_place(taint), taint)
            origins.setdefault(taint_text(taint), str(rule))
    found = Wanted(labels, tuple(taints.values())) if origins else NOTHING_WANTED
    return Effects(found, notices, origins)


def _is_for(rule: Rule, instance: Instance, properties: Mapping[str, str]) -> bool:
    if rule.tag is not None:
        return any(tag.name == rule.tag for tag in instance.tags)
    has = properties.get(rule.custom_property or "")
    return bool(has) and rule.value in (None, has)


def _labels(rule: Rule, properties: Mapping[str, str]) -> Iterator[tuple[str, str, Notice | None]]:
    for label, value in rule.labels.items():
        yield label, value, None
    if rule.label:
        text = properties[rule.custom_property or ""]
        value_ = label_value(text)
        message = f"{rule} {text!r} is written as the label value {value_.text!r}"
        notice = Notice(Level.NORMAL, Reason.LABEL_VALUE_CHANGED, message)
        yield rule.label, value_.text, notice if value_.is_changed else None


def taint_text(taint: Taint) -> str:
    """The taint as `kubectl taint` takes it: `key=value:Effect`."""
    value = f"={taint.value}" if taint.value else ""
    return f"{taint.key}{value}:{taint.effect}"


# ---- the record --------------------------------------------------------------------------------


class Record(Struct, frozen=True):
    """What the rules have written to a node: values by label, and taints by their place."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Mapping[Place, Taint] = field(default_factory=dict)

    def text(self) -> str | None:
        """The annotation, always the same for the same content; None when there is nothing."""
        if not self.labels and not self.taints:
            return None
        taints = sorted(taint_text(taint) for taint in self.taints.values())
        content = {"labels": dict(self.labels), "taints": taints}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


def record_of(wanted: Wanted) -> str | None:
    """The annotation of a new node that has all that is `wanted`, and from the rules alone."""
    return Record(wanted.labels, {_place(taint): taint for taint in wanted.taints}).text()


def read_record(node: Node) -> Record:
    """The record of `node`; empty when it has none that can be read.

    What no rule may write is not taken for ours, whatever the annotation says.
    """
    try:
        content = json.loads(node.annotations.get(ANNOTATION_APPLIED, "{}"))
        labels = {str(key): str(value) for key, value in content.get("labels", {}).items()}
        taints = [_taint(*split_taint(text)) for text in content.get("taints", ())]
    except (ValueError, TypeError, AttributeError):
        return Record()
    return Record(
        {key: value for key, value in labels.items() if may_label(key)},
        {_place(taint): taint for taint in taints if may_taint(taint.key)},
    )


def _taint(key: str, value: str | None, effect: str) -> Taint:
    return Taint(key, effect, value or None)


def _place(taint: Taint) -> Place:
    return taint.key, taint.effect


# ---- what is to be written ---------------------------------------------------------------------


class Settlement(Struct, frozen=True):
    """What brings a node to what the rules want.

    A label that is None goes; `record` is the annotation as it shall be. `has_news` says whether
    anything is to be written, `changes` what in words; `notices` what the rules may not have.
    """

    labels: Mapping[str, str | None] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    record: str | None = None
    changes: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()


def settle(node: Node, wanted: Wanted) -> Settlement:
    """What is to be written to `node`, so that it has what is `wanted` and nothing else of ours.

    `taints` are all that it shall have.
    """
    if wanted is NOTHING_WANTED and ANNOTATION_APPLIED not in node.annotations:
        return Settlement(taints=node.taints)
    record = read_record(node)
    labels = _LabelSettlement(node, wanted, record)
    taints = _TaintSettlement(node, wanted, record)
    text = Record(labels.ours, taints.ours).text()
    changes = (*labels.changes, *taints.changes)
    if text != node.annotations.get(ANNOTATION_APPLIED) and not changes:
        changes = ("rules: the record of what is theirs is brought up to date",)
    return Settlement(
        labels.written, taints.remaining, text, changes, (*labels.notices, *taints.notices)
    )


class _LabelSettlement:
    """The labels: `written` to the node, `ours` from then on."""

    def __init__(self, node: Node, wanted: Wanted, record: Record) -> None:
        self.written: dict[str, str | None] = {}
        self.ours: dict[str, str] = {}
        self.changes: list[str] = []
        self.notices: list[Notice] = []
        for label, value in wanted.labels.items():
            has = node.labels.get(label)
            if label in record.labels or has is None:
                self.ours[label] = value
                self._write(label, has, value)
            elif has != value:
                self.notices.append(_taken(f"label {label}", has, value))
        for label, value in record.labels.items():
            if label not in wanted.labels and node.labels.get(label) == value:
                self._write(label, value, None)

    def _write(self, label: str, has: str | None, value: str | None) -> None:
        if has != value:
            self.written[label] = value
            self.changes.append(f"label {label}: {_shown(has)} -> {_shown(value)}")


class _TaintSettlement:
    """The taints: those that are `remaining` on the node, those that are `ours` from then on."""

    def __init__(self, node: Node, wanted: Wanted, record: Record) -> None:
        self.ours: dict[Place, Taint] = {}
        self.changes: list[str] = []
        self.notices: list[Notice] = []
        there = {_place(taint): taint for taint in node.taints}
        for taint in wanted.taints:
            place = _place(taint)
            has = there.get(place)
            if place in record.taints or has is None:
                self.ours[place] = taint
                if has is None or not _is_same(has, taint):
                    there[place] = taint
                    self.changes.append(f"taint {taint_text(taint)}: added")
            elif not _is_same(has, taint):
                what = f"taint {taint.key}:{taint.effect}"
                self.notices.append(_taken(what, has.value or "", taint.value or ""))
        wanted_places = {_place(taint) for taint in wanted.taints}
        for place in sorted(record.taints.keys() - wanted_places):
            if place in there and _is_same(there[place], record.taints[place]):
                self.changes.append(f"taint {taint_text(there.pop(place))}: removed")
        self.remaining = tuple(there.values())


def _is_same(one: Taint, other: Taint) -> bool:
    return (one.value or "") == (other.value or "")


def _shown(value: str | None) -> str:
    return "none" if value is None else value or "''"


def _taken(what: str, has: str, value: str) -> Notice:
    message = (
        f"{what} is {has!r}, which somebody else has set: the rule's {value!r} is not written"
    )
    return Notice(Level.WARNING, Reason.RULE_CONFLICT, message)
