from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.readme import metric_names

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "deploy/prometheus/rules.yaml"


def groups() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return loaded


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def test_each_alert_fires_on_what_it_is_for_and_not_before(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    for file in (RULES, HERE / "rules.test.yaml"):
        shutil.copy(file, tmp_path)

    done = subprocess.run(
        [programs["promtool"], "test", "rules", "rules.test.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested() -> None:
    tests = yaml.safe_load((HERE / "rules.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert fired == {alert["alert"] for alert in alerts()}


def test_the_rules_ask_only_for_series_that_exist() -> None:
    recorded = {
        rule["record"] for group in groups() for rule in group["rules"] if "record" in rule
    }
    asked = {
        name
        for group in groups()
        for rule in group["rules"]
        for name in re.findall(r"\b(?:ovirt_ccm|leader_election)_\w+", rule["expr"])
    }

    assert asked
    assert asked <= metric_names() | recorded


def test_each_alert_says_what_to_do() -> None:
    for alert in alerts():
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
