"""The guides name only what exists: fields of logs, keys, metrics, Events, files."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.config import Config
from provider.metrics import Metrics
from provider.reasons import Reason
from provider.web import access_log
from tests.readme import configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[1]
_MORE = _ROOT / "README.md", _ROOT / "deploy/ovirt/README.md"
_GUIDES = sorted((*_ROOT.glob("docs/*.md"), *_MORE))
_PROGRAM = [path for path in _ROOT.glob("provider/**/*.py") if "simulator" not in path.parts]
_LEVELS = {"debug", "info", "warning", "error", "exception"}
# structlog's own, and those that are put together elsewhere: a reload's facts.
_OTHER_FIELDS = {"event", "level", "timestamp", "exception", "file", "engine", "why"}

guides = pytest.mark.parametrize("guide", _GUIDES, ids=lambda path: str(path.relative_to(_ROOT)))


def logged_fields() -> Iterator[str]:
    """The fields of all lines that the program logs."""
    for path in _PROGRAM:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _is_log(node.func):
                for word in node.keywords:
                    yield from [word.arg] if word.arg else _keys(word.value)


def _keys(value: ast.expr) -> Iterator[str]:
    """The keys of dict displays in an expression that is unpacked."""
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            yield from (str(ast.literal_eval(key)) for key in node.keys if key)


def _is_log(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id in ("log", "_log")
    )


def requested_fields(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The fields of a line about a request."""
    settings = Config.model_fields["logging"].get_default(call_default_factory=True)
    access_log.AccessLog(settings).write("GET", "/v1/nodes", 200, "me", 0.1, 2)
    return set(re.findall(r"(\w+)=", capsys.readouterr().err))


def test_every_field_of_the_logs_is_explained_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (_ROOT / "docs/logs.md").read_text("utf-8")
    table = text.split("<!-- begin: fields -->")[1].split("<!-- end: fields -->")[0]
    explained = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)

    fields = {*logged_fields(), *_OTHER_FIELDS, *requested_fields(capsys)} - {"exc_info"}

    assert len(explained) == len(set(explained))
    assert set(explained) == fields


@guides
def test_every_link_of_a_guide_leads_to_a_file(guide: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", guide.read_text("utf-8"))

    for link in links:
        assert "://" in link or (guide.parent / link).exists(), link


@guides
def test_every_key_of_the_configuration_that_a_guide_names_exists(guide: Path) -> None:
    keys = set(re.findall(r"^\| `([\w.\[\]]+)`", configuration(), re.MULTILINE))
    sections = {key.partition(".")[0] for key in keys if "." in key}
    named = re.findall(r"`([a-z_]+(?:\[\])?\.[a-z_.]+)[`:]", guide.read_text("utf-8"))

    for name in named:
        if name.partition(".")[0] in sections:
            assert name in keys, name


@guides
def test_every_metric_and_event_that_a_guide_names_exists(guide: Path) -> None:
    text = guide.read_text("utf-8")
    series = {family.name for family in Metrics().registry.collect()}

    named = (name.removesuffix("_total") for name in re.findall(r"\bovirt_ccm_\w+", text))

    assert {*named} <= series
    assert {*re.findall(r"Event `(\w+)`", text)} <= set(Reason)


def test_every_guide_is_listed() -> None:
    listed = (_ROOT / "docs/README.md").read_text("utf-8")

    for guide in _ROOT.glob("docs/*.md"):
        assert guide.name == "README.md" or f"({guide.name})" in listed


def test_make_lists_every_target() -> None:
    command = "make", "help"
    listed = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout

    targets = re.search(r"^\.PHONY: (.*)$", (_ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)

    assert targets
    assert re.findall(r"^make (\S+)", listed, re.MULTILINE) == targets[1].split()


@guides
def test_every_target_of_make_that_a_guide_names_exists(guide: Path) -> None:
    makefile = (_ROOT / "Makefile").read_text("utf-8")
    text = guide.read_text("utf-8")
    named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE)

    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
