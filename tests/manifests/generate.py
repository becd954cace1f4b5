"""What is made from something else in manifests/ and deploy/helm; this module writes it.

`python -m tests.manifests.generate` after a change of a configuration key, of manifests/, of
values.yaml or of the rules for Prometheus. A chart must bring all that it needs, so it has copies.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from provider.config import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
CHART = ROOT / "deploy/helm/cloud-provider-ovirt"
RULES = ROOT / "deploy/prometheus/rules.yaml"

_PROMETHEUS = MANIFESTS / "components/prometheus"
_FILLED_IN = {"password_file"}  # the chart says where it is


def _copy(source: Path) -> Callable[[], str]:
    return lambda: source.read_text("utf-8")


# ---- the rules for Prometheus -----------------------------------------------------------------


def prometheus_rule() -> str:
    """The rules as an object of the Prometheus operator."""
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ovirt-cloud-controller-manager", "namespace": "kube-system"},
    }
    rules = RULES.read_text("utf-8").rstrip("\n")
    return (
        "# deploy/prometheus/rules.yaml for the Prometheus operator.\n"
        + yaml.safe_dump(head, sort_keys=False)
        + "spec:\n"
        + "".join(f"  {line}\n" if line else "\n" for line in rules.split("\n"))
    )


# ---- the chart --------------------------------------------------------------------------------


def values_schema() -> str:
    """The schema of the values: what is there by hand, and `config` as the product has it."""
    document = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    product = _tightened(schema())
    definitions = product.pop("$defs")
    engine = definitions["Engine"]
    engine["required"] = [key for key in engine["required"] if key not in _FILLED_IN]
    document["properties"]["config"] = product
    own = {name: one for name, one in document["$defs"].items() if name.islower()}
    document["$defs"] = own | definitions
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tightened(part: Any) -> Any:
    """`part` without titles; a map takes only keys of the pattern that it has for them."""
    match part:
        case dict():
            kept = {key: _tightened(value) for key, value in part.items()}
            if isinstance(kept.get("title"), str):
                del kept["title"]
            return kept | ({"additionalProperties": False} if "patternProperties" in kept else {})
        case list():
            return [_tightened(value) for value in part]
    return part


def readme() -> str:
    """The chart's README with the table of its values."""
    text = (CHART / "README.md").read_text("utf-8")
    begin, end = "<!-- begin: values -->", "<!-- end: values -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    rows = (f"| `{key}` | {default} | {meaning} |" for key, default, meaning in values())
    table = "\n".join(("| value | default | meaning |", "| --- | --- | --- |", *rows))
    return f"{before}{begin}\n{table}\n{end}{after}"


def values() -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of each value: the comment above it in values.yaml."""
    text = (CHART / "values.yaml").read_text("utf-8")
    defaults = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.split("\n"):
        if found := re.match(r" *# ?(.*)", line):
            comment.append(found[1])
        elif found := re.match(r"( *)([A-Za-z]+):", line):
            path[len(found[1]) // 2 :] = [found[2]]
            if comment:
                yield ".".join(path), _shown(defaults, path), " ".join(comment)
            comment = []


def _shown(defaults: Any, path: list[str]) -> str:
    for key in path:
        defaults = defaults[key]
    return "" if defaults in ("", [], {}) else f"`{json.dumps(defaults).strip(chr(34))}`"


FILES: Mapping[Path, Callable[[], str]] = {
    CHART / "files/rbac.yaml": _copy(MANIFESTS / "rbac.yaml"),
    CHART / "files/lookup-reader.yaml": _copy(MANIFESTS / "lookup-reader.yaml"),
    CHART / "files/scrape-account.yaml": _copy(_PROMETHEUS / "scrape-account.yaml"),
    CHART / "values.schema.json": values_schema,
    CHART / "README.md": readme,
    CHART / "files/rules.yaml": _copy(RULES),
    _PROMETHEUS / "prometheus-rule.yaml": prometheus_rule,
}
"""Each file that is made, and what it must hold."""


def main() -> None:
    """Write every file."""
    for path, content in FILES.items():
        path.write_text(content(), "utf-8")


if __name__ == "__main__":
    main()
