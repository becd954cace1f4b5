from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from provider.kube.recorder import EventRecorder
from provider.model import ANNOTATION_ENGINE, ANNOTATION_REGISTERED
from provider.simulator.cluster import BadGateway, Conflict, Refusal
from tests import builders
from tests.controllers.lab import until, working
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict

    from provider.model import Node, Notice
    from tests.controllers.lab import Lab

pytestmark = pytest.mark.looptime

CREATE = {"mode": "create"}
FORBIDDEN = Refusal(403, "Forbidden")


# ---- Nodes that come -------------------------------------------------------------------------


async def test_a_vm_without_a_node_gets_one(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), registration=CREATE) as lab:
        await until(lambda: lab.events("Registered"))
        await asyncio.sleep(100)

        assert lab.node("w")["spec"]["providerID"] == f"ovirt://{lab.vm('w').id}"
        assert lab.metric("registrations_total", result="created") == 1
        assert [status for _, status in lab.writes("POST")] == [201]
        assert lab.writes("PATCH") == []


async def test_many_vms_get_theirs_at_the_same_time(tmp_path: Path) -> None:
    limits = {"workers": 20}
    async with working(tmp_path, many(40), registration=CREATE, limits=limits) as lab:
        lab.cluster.faults.latency = 1
        await until(lambda: len(lab.cluster.nodes) == 40)

        began, ended = lab.writes("POST")[0][0], lab.writes("POST")[-1][0]
        assert ended - began < 5


async def test_a_name_that_was_taken_meanwhile_is_no_failure(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w", tags=()), registration=CREATE) as lab:
        lab.cluster.faults.silence_watches()
        lab.cluster.nodes.create({"metadata": {"name": "w"}})
        lab.vm("w").attach("docker-host")
        await until(lambda: lab.metric("registrations_total", result="exists"), within=60)

        assert lab.metric("registrations_total", result="created") == 0
        assert not lab.node("w")["spec"].get("providerID")


@pytest.mark.parametrize("fault", [FORBIDDEN, BadGateway()], ids=["403", "502"])
async def test_a_registration_that_fails_is_tried_again(
    tmp_path: Path, fault: Refusal | BadGateway
) -> None:
    async with working(tmp_path, vm("w", tags=()), registration=CREATE) as lab:
        lab.cluster.faults.inject(fault, methods=["POST"], path="/nodes")
        with capture_logs() as logs:
            lab.vm("w").attach("docker-host")
            await until(lambda: "w" in lab.cluster.nodes)

            await until(lambda: lab.events("Registered"))

        assert lab.metric("registrations_total", result="failed") == 1
        assert lab.metric("registrations_total", result="created") == 1
        assert said(logs) == ["registering nodes fails", "registering nodes works again"]


async def test_many_registrations_that_fail_for_long_are_logged_once(tmp_path: Path) -> None:
    async with working(tmp_path, many(5, tags=()), registration=CREATE) as lab:
        lab.cluster.faults.inject(FORBIDDEN, times=20, methods=["POST"], path="/nodes")
        with capture_logs() as logs:
            for n in range(5):
                lab.vm(f"w{n}").attach("docker-host")
            await until(lambda: len(lab.cluster.nodes) == 5)

        assert lab.metric("registrations_total", result="failed") == 20
        assert said(logs) == ["registering nodes fails", "registering nodes works again"]


async def test_a_node_that_was_deleted_by_hand_is_registered_again(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), registration=CREATE) as lab:
        await until(lambda: "w" in lab.cluster.nodes)
        lab.cluster.nodes.delete("w")
        await until(lambda: "w" in lab.cluster.nodes)

        assert lab.metric("registrations_total", result="created") == 2


async def test_equal_names_are_refused_and_said_once(tmp_path: Path) -> None:
    twins = vm("w"), vm("w", ip="10.0.0.2", cluster="red", host="hv-2")
    async with working(tmp_path, *twins, registration=CREATE) as lab:
        await until(lambda: len(lab.events("NodeNameClash")) == 1)
        await asyncio.sleep(120)

        refused = lab.metric("registrations_total", result="refused")
        assert refused >= 2
        assert [event["type"] for event in lab.events("NodeNameClash")] == ["Warning"]
        assert [series.count for series in lab.recorder._series.values()] == [refused / 2]
        assert len(lab.writes("POST", "/events") + lab.writes("PATCH", "/events")) == 1
        assert len(lab.cluster.nodes) == 0


async def test_what_a_node_says_of_its_state_brings_no_look(tmp_path: Path) -> None:
    twins = vm("w"), vm("w", ip="10.0.0.2", cluster="red", host="hv-2")
    async with working(tmp_path, *twins, registration=CREATE, intervals={"poll": "1h"}) as lab:
        lab.cluster.nodes.create({"metadata": {"name": "foreign"}})
        await asyncio.sleep(30)
        refused = lab.metric("registrations_total", result="refused")
        for n in range(10):
            lab.cluster.nodes.patch("foreign", {"metadata": {"labels": {"beat": str(n)}}})
            await asyncio.sleep(2)

        assert refused > 0
        assert lab.metric("registrations_total", result="refused") == refused


async def test_nothing_is_registered_while_the_api_server_is_silent(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w", tags=()), registration=CREATE) as lab:
        lab.cluster.faults.silence_watches()
        lab.informer.last_contact = asyncio.get_running_loop().time() - 301
        lab.vm("w").attach("docker-host")
        await asyncio.sleep(35)

        assert len(lab.cluster.nodes) == 0


class BrokenRecorder(EventRecorder):
    """A fault that nobody thought of, at one node."""

    def record(self, node: Node, notice: Notice) -> None:
        """Fail for the first node."""
        if node.name == "w0":
            raise RuntimeError("nobody thought of this")
        super().record(node, notice)


async def test_a_fault_at_one_node_does_not_stop_the_others(tmp_path: Path) -> None:
    vms = vm("w0"), vm("w1", ip="10.0.0.2", tags=())
    async with working(tmp_path, *vms, registration=CREATE, recorder=BrokenRecorder) as lab:
        await until(lambda: "w0" in lab.cluster.nodes)
        lab.vm("w1").attach("docker-host")
        await until(lambda: lab.events("Registered"))

        assert "w1" in lab.cluster.nodes


def said(logs: list[EventDict]) -> list[str]:
    return [one["event"] for one in logs if one["event"].startswith("registering")]


# ---- Nodes that go ---------------------------------------------------------------------------


async def test_a_spare_node_gives_way_after_it_was_said(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), registration=CREATE) as lab:
        await _registered(lab)
        uid = lab.node("w")["metadata"]["uid"]
        lab.kubelet("kubelet-1", vm="w")
        await until(lambda: "w" not in lab.cluster.nodes)
        await until(lambda: lab.events("NodeSuperseded"))
        await asyncio.sleep(100)

        assert lab.events("NodeSuperseded")[0]["involvedObject"]["uid"] == uid
        assert [node["metadata"]["name"] for node in lab.cluster.nodes] == ["kubelet-1"]


async def test_a_spare_node_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), registration=CREATE) as lab:
        await _registered(lab)
        lab.cluster.faults.inject(Conflict(), methods=["DELETE"])
        lab.kubelet("kubelet-1", vm="w")
        await until(lambda: "w" not in lab.cluster.nodes)

        assert [status for _, status in lab.writes("DELETE")] == [409, 200]


async def test_a_spare_node_that_cannot_be_removed_is_logged_and_tried_again(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, vm("w"), registration=CREATE) as lab:
        await _registered(lab)
        lab.cluster.faults.inject(FORBIDDEN, methods=["DELETE"])
        with capture_logs() as logs:
            lab.kubelet("kubelet-1", vm="w")
            await until(lambda: "w" not in lab.cluster.nodes)

        assert [one["node"] for one in logs if one["log_level"] == "warning"] == ["w"]


async def test_a_node_whose_kubelet_never_came_is_warned_of_once(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.informer.observe(_registered_for(hours=2))
        await until(lambda: lab.events("NodeNeverJoined"))
        await asyncio.sleep(400)

        assert [event["count"] for event in lab.events("NodeNeverJoined")] == [1]


async def test_a_node_registered_lately_is_not_warned_of(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.informer.observe(_registered_for(hours=0.5))
        await asyncio.sleep(100)

        assert lab.events("NodeNeverJoined") == []


async def _registered(lab: Lab) -> None:
    await until(lambda: "w" in lab.informer.nodes)


def _registered_for(*, hours: float) -> Node:
    return builders.node(
        "old",
        created=datetime.now(UTC) - timedelta(hours=hours),
        annotations={ANNOTATION_ENGINE: "x", ANNOTATION_REGISTERED: "true"},
        taints=(),
        kubelet_version="",
        resource_version="99999",
    )
