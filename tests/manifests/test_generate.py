"""What is made from something else says the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.manifests.generate import CHART, FILES, ROOT, values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_what_it_was_made_from(path: Path) -> None:
    assert path.read_text("utf-8") == FILES[path](), "run `python -m tests.manifests.generate`"


def test_the_table_of_the_values_lacks_none() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    said = {path for path, _, _ in values()}

    assert [path for path in _leaves(defaults, said) if path not in said] == []


def test_the_schema_of_the_values_leaves_no_key_open() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

    open_ones = [place for place, part in _objects(schema) if not _is_closed(part)]
    assert open_ones == ["properties.global"], "Helm itself gives that to subcharts"


def _objects(part: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, and where it is."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield place, part
        for name, below in part.items():
            yield from _objects(below, f"{place}.{name}" if place else name)
    if isinstance(part, list):
        for below in part:
            yield from _objects(below, place)


def _is_closed(part: dict[str, Any]) -> bool:
    """Whether it lists its keys, or is a map of which the values have a type."""
    rest = part.get("additionalProperties")
    return rest is False or (isinstance(rest, dict) and bool(rest))


def _leaves(section: Any, said: set[str], above: str = "") -> Iterator[str]:
    for name, value in section.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and value and path not in said:
            yield from _leaves(value, said, f"{path}.")
        else:
            yield path
