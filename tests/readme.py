"""The tables of README.md, made from the code.

`python -m tests.readme` writes them, and what manifests/ and the chart have of the code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from prometheus_client.metrics import MetricWrapperBase

from provider.cli import COMMANDS
from provider.config import schema
from provider.metrics import HttpRequests, Metrics
from provider.reasons import MEANINGS
from tests.manifests import generate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

README = Path(__file__).parent.parent / "README.md"
RULES = README.with_name("deploy") / "prometheus/rules.yaml"


def configuration() -> str:
    """Every key of the configuration file, its default and its meaning."""
    return _table(("key", "default", "meaning"), _keys(schema(), ""))


def _keys(section: dict[str, Any], above: str) -> Iterator[tuple[str, str, str]]:
    definitions = schema()["$defs"]
    for name, field in section["properties"].items():
        path = f"{above}{name}"
        items = field.get("items", {})
        if reference := items.get("$ref"):
            yield f"`{path}`", _default(field), field["description"]
            yield from _keys(definitions[_name(reference)], f"{path}[].")
        elif "$ref" in field:
            yield from _keys(definitions[_name(field["$ref"])], f"{path}.")
        else:
            yield f"`{path}`", _default(field), field["description"]


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    match value:
        case None | "" | [] | {}:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def commands() -> str:
    """Every command."""
    return _table(
        ("command", "what it does"),
        ((f"`ovirt-ccm {name}`", entry.summary) for name, entry in COMMANDS.items()),
    )


def events() -> str:
    """Every reason of an Event."""
    return _table(
        ("reason", "meaning and what to do"),
        ((f"`{reason}`", meaning) for reason, meaning in MEANINGS.items()),
    )


def metrics() -> str:
    """Every series of our own."""
    rows = ((f"`{s.name}`", s.type, ", ".join(s.labels), s.documentation) for s in _series())
    return _table(("series", "type", "labels", "meaning"), rows)


def metric_names() -> frozenset[str]:
    """The names of all series of our own as Prometheus has them."""
    names: set[str] = set()
    for series in _series():
        suffixes = ("_bucket", "_count", "_sum") if series.type == "histogram" else ("",)
        names.update(f"{series.name}{suffix}" for suffix in suffixes)
    return frozenset(names)


def alerts() -> str:
    """Every alert, in the words that it comes with."""
    rules = (
        rule
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    )
    rows = (
        (f"`{rule['alert']}`", rule["labels"]["severity"], rule["annotations"]["description"])
        for rule in rules
        if "alert" in rule
    )
    return _table(("alert", "severity", "what it means and what to do"), rows)


class _Series(NamedTuple):
    name: str
    type: str
    labels: tuple[str, ...]
    documentation: str


def _series() -> Iterator[_Series]:
    for one in vars(Metrics()).values():
        if isinstance(one, MetricWrapperBase):
            yield _described(one._name, one._type, one._labelnames, one._documentation)
        elif isinstance(one, HttpRequests):
            for family in one.collect():
                labels = tuple(family._labelnames)
                yield _described(family.name, family.type, labels, family.documentation)


def _described(
    name: str, kind: str | None, labels: tuple[str, ...], documentation: str
) -> _Series:
    return _Series(
        f"{name}_total" if kind == "counter" else name, str(kind), labels, documentation
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


TABLES = {
    "configuration": configuration,
    "commands": commands,
    "events": events,
    "metrics": metrics,
    "alerts": alerts,
}


def render(text: str) -> str:
    """`text` with every table between its marks as the code has it."""
    for name, table in TABLES.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        assert pattern.search(text), f"README.md has no table {name}"
        text = pattern.sub(f"{begin}\n{table()}\n{end}".replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    README.write_text(render(README.read_text("utf-8")), "utf-8")
    generate.main()
