from datetime import timedelta
from typing import Any

import pytest

from provider.decisions.decision import Decision, decide
from provider.decisions.identity import Absent, Ambiguous, Foreign, Found, Rule, Unknown, directory
from provider.decisions.metadata import describe
from provider.decisions.plan import Plan, plan
from provider.model import ANNOTATION_ENGINE, Instance, Level, Node
from tests.builders import ENGINE_ID, NOW, config, instance, node, snapshot, uuid_of

OURS: dict[str, Any] = {"annotations": {ANNOTATION_ENGINE: ENGINE_ID}, "taints": ()}
TWINS = (instance("web", id=uuid_of("a")), instance("web", id=uuid_of("b")))


def decided(node: Node, *instances: Instance, engines: str = "east") -> Decision:
    known = directory(
        [snapshot(*instances)], dict.fromkeys(engines.split(), "503"), match_fqdn=False
    )
    return decide(node, known, config())


def test_a_node_whose_instance_is_found_is_described_and_planned_for() -> None:
    vm = instance("worker-1")
    decision = decided(node("worker-1"), vm)
    assert decision.match == Found(vm, Rule.SYSTEM_UUID)
    assert decision.metadata == describe(vm, snapshot(vm), config())
    assert decision.plan == plan(node("worker-1"), decision.metadata)


@pytest.mark.parametrize(
    ("facts", "engines", "kind", "level", "reason"),
    [
        ({}, "east", Absent, Level.WARNING, "InstanceNotFound"),
        ({"created": NOW}, "east", Absent, Level.WAITING, "InstanceNotFound"),
        ({"created": None}, "east", Absent, Level.WARNING, "InstanceNotFound"),
        ({"provider_id": uuid_of("x")}, "east", Absent, Level.WARNING, "InstanceNotFound"),
        (OURS, "east", Absent, Level.WARNING, "InstanceNotSelected"),
        ({"name": "web"}, "east", Ambiguous, Level.WARNING, "IdentityAmbiguous"),
        ({"provider_id": "aws:///i-1"}, "east", Foreign, Level.WAITING, "ForeignProviderID"),
        ({}, "east west", Unknown, Level.WARNING, "EngineUnreachable"),
        (OURS, "east west", Unknown, Level.WAITING, "EngineUnreachable"),
        (
            OURS | {"annotations": {ANNOTATION_ENGINE: "gone"}},
            "east",
            Unknown,
            Level.WARNING,
            "EngineChanged",
        ),
    ],
)
def test_a_node_without_a_certain_instance_gets_a_reason_and_no_patch(
    facts: dict[str, Any], engines: str, kind: type, level: Level, reason: str
) -> None:
    defaults: dict[str, Any] = {
        "name": "n",
        "system_uuid": "",
        "created": NOW - timedelta(minutes=1),
    }
    decision = decided(node(**(defaults | facts)), *TWINS, engines=engines)
    assert isinstance(decision.match, kind)
    assert decision.metadata is None
    assert decision.plan.patch is None
    [notice] = decision.plan.notices
    assert (notice.level, notice.reason) == (level, reason)


def test_nothing_is_said_of_a_node_that_the_program_has_no_business_with() -> None:
    assert decided(node("n", taints=())).plan == Plan()
