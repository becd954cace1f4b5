"""Labels and taints follow tags and custom properties, between two simulators."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.controllers.lab import until, working
from tests.ovirt.lab import vm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controllers.lab import Lab

pytestmark = pytest.mark.looptime

GPU = "example.com/gpu"
RACK = "example.com/rack"
APPLIED = "ccm.ovirt.org/applied"
RULES: Any = [
    {"tag": "gpu", "labels": {GPU: "true"}, "taints": [f"{GPU}=true:NoSchedule"]},
    {"custom_property": "rack", "label": RACK},
]
TAINT = {"key": GPU, "value": "true", "effect": "NoSchedule"}
FOREIGN = {"key": "foreign", "effect": "NoExecute"}


def labels(lab: Lab) -> dict[str, str]:
    found: dict[str, str] = lab.node("w")["metadata"]["labels"]
    return found


def taints(lab: Lab) -> list[Any]:
    found: list[Any] = lab.node("w")["spec"].get("taints") or []
    return found


def is_recorded(lab: Lab) -> bool:
    return APPLIED in lab.node("w")["metadata"]["annotations"]


async def initialised(lab: Lab) -> None:
    """Have a kubelet register its Node, and wait until all of it is written."""
    lab.kubelet("w")
    await until(lambda: lab.is_initialised("w"))
    await until(lambda: lab.events("Synced"))


async def test_a_new_node_gets_what_the_rules_want_in_the_same_two_writes(tmp_path: Path) -> None:
    machine = vm("w", tags=("gpu",), custom_properties={"rack": "r7"})
    async with working(tmp_path, machine, rules=RULES, intervals={"resync": "1m"}) as lab:
        await initialised(lab)
        await asyncio.sleep(200)

        assert labels(lab).items() >= {GPU: "true", RACK: "r7"}.items()
        assert TAINT in taints(lab)
        assert is_recorded(lab)
        assert len(lab.writes("PATCH")) == 2


async def test_what_its_tag_gave_goes_with_the_tag_and_nothing_else_does(tmp_path: Path) -> None:
    machine = vm("w", tags=("docker-host", "gpu"), custom_properties={"rack": "r7"})
    async with working(tmp_path, machine, rules=RULES) as lab:
        await initialised(lab)
        foreign = {"metadata": {"labels": {"example.com/mine": "x"}}}
        lab.cluster.nodes.patch("w", foreign | {"spec": {"taints": [*taints(lab), FOREIGN]}})

        lab.vm("w").detach("gpu")
        await until(lambda: lab.events("NodeRulesApplied"))

        assert labels(lab).items() >= {RACK: "r7", "example.com/mine": "x"}.items()
        assert GPU not in labels(lab)
        assert FOREIGN in taints(lab)
        assert TAINT not in taints(lab)
        assert len(lab.writes("PATCH")) == 3


async def test_a_label_follows_its_property_until_that_is_empty(tmp_path: Path) -> None:
    machine = vm("w", custom_properties={"rack": "r7"})
    async with working(tmp_path, machine, rules=RULES) as lab:
        await initialised(lab)

        lab.vm("w").custom_properties = {"rack": "r8"}
        await until(lambda: labels(lab)[RACK] == "r8")
        lab.vm("w").custom_properties = {}
        await until(lambda: RACK not in labels(lab))

        assert not is_recorded(lab)
        await until(lambda: len(lab.events("NodeRulesApplied")) == 2)
        messages = {event["message"] for event in lab.events("NodeRulesApplied")}
        assert messages == {f"label {RACK}: r7 -> r8", f"label {RACK}: r8 -> none"}


async def test_what_somebody_else_has_set_stays_and_is_warned_of_in_one_event(
    tmp_path: Path,
) -> None:
    machine = vm("w", tags=("gpu",))
    async with working(tmp_path, machine, rules=RULES, intervals={"resync": "1m"}) as lab:
        lab.kubelet("w")
        lab.cluster.nodes.patch("w", {"metadata": {"labels": {GPU: "maybe"}}})
        await until(lambda: lab.is_initialised("w"))
        await until(lambda: lab.events("NodeRuleConflict"))
        await asyncio.sleep(200)

        assert labels(lab)[GPU] == "maybe"
        assert TAINT in taints(lab)
        assert len(lab.events("NodeRuleConflict")) == 1
        assert len(lab.writes("PATCH", "/nodes")) == 2

        lab.cluster.nodes.patch("w", {"metadata": {"labels": {GPU: None}}})
        await until(lambda: labels(lab).get(GPU) == "true")


async def test_a_registered_node_has_what_the_rules_want_from_the_start(tmp_path: Path) -> None:
    machine = vm("w", tags=("gpu",), custom_properties={"rack": "Süd"})
    registration = {"mode": "create", "labels": {GPU: "no", "a": "b"}, "taints": ["c:NoSchedule"]}
    async with working(tmp_path, machine, rules=RULES, registration=registration) as lab:
        await until(lambda: "w" in lab.cluster.nodes)
        await until(lambda: lab.events("LabelValueChanged"))
        await asyncio.sleep(120)

        assert labels(lab).items() >= {GPU: "true", "a": "b"}.items()
        assert labels(lab)[RACK].startswith("S-d-")
        assert TAINT in taints(lab)
        assert is_recorded(lab)
        assert lab.writes("PATCH", "/nodes") == []


async def test_nothing_follows_while_the_vm_migrates(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), rules=RULES) as lab:
        await initialised(lab)
        lab.vm("w").set_status("migrating")
        lab.vm("w").attach("gpu")
        await asyncio.sleep(70)
        assert GPU not in labels(lab)

        lab.vm("w").set_status("up")
        await until(lambda: labels(lab).get(GPU) == "true")
