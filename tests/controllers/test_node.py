from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from provider.kube.recorder import EventRecorder
from provider.simulator.cluster import BadGateway, Conflict, Refusal, Reset, Throttle
from tests.controllers.lab import until, working
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from pathlib import Path

    from provider.model import Node, Notice

pytestmark = pytest.mark.looptime

FORBIDDEN = Refusal(403, "Forbidden")


# ---- what comes of a look ----------------------------------------------------------------------


async def test_a_new_node_is_written_and_counted(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.kubelet("w")
        await until(lambda: lab.is_initialised("w"))
        await until(lambda: lab.events("Synced"))
        lab.nodes.count_nodes()

        assert lab.node("w")["spec"]["providerID"] == f"ovirt://{lab.vm('w').id}"
        assert lab.reconciles("written") == 1
        assert lab.metric("nodes", state="initialised") == 1
        assert lab.metric("node_initialisation_delay_seconds_count") == 1


async def test_a_node_that_is_right_is_looked_at_again_and_not_written(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), intervals={"resync": "1m"}) as lab:
        lab.kubelet("w")
        await until(lambda: lab.is_initialised("w"))
        await until(lambda: lab.events("Synced"))
        version = lab.node("w")["metadata"]["resourceVersion"]
        looks = lab.reconciles("unchanged")

        await asyncio.sleep(190)

        assert lab.reconciles("unchanged") >= looks + 3
        assert lab.reconciles("written") == 1
        assert lab.node("w")["metadata"]["resourceVersion"] == version


async def test_a_changed_vm_has_its_node_refreshed(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), vm("x", ip="10.0.0.2")) as lab:
        lab.kubelet("w")
        lab.kubelet("x")
        await until(lambda: lab.is_initialised("w") and lab.is_initialised("x"))
        version = lab.node("x")["metadata"]["resourceVersion"]

        lab.vm("w").set_addresses(["10.0.0.9"])
        await until(lambda: lab.events("NodeAddressesChanged"))

        assert lab.node("w")["status"]["addresses"][0]["address"] == "10.0.0.9"
        assert lab.node("x")["metadata"]["resourceVersion"] == version


async def test_a_node_that_waits_for_its_guest_has_its_vm_read_often(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w", agent=False)) as lab:
        lab.vm("w").started += 600_000
        await asyncio.sleep(40)  # the listing that sees when it started
        lab.kubelet("w")
        await until(lambda: lab.reconciles("waiting"))
        lab.nodes.count_nodes()
        before = lab.engine.requests.counts["GET /vms/{id}"]
        listings = lab.engine.requests.counts["GET /vms"]

        lab.vm("w").agent_speaks = True
        await until(lambda: lab.is_initialised("w"))

        assert lab.metric("nodes", state="uninitialised") == 1
        assert lab.engine.requests.counts["GET /vms/{id}"] > before
        assert lab.engine.requests.counts["GET /vms"] == listings


async def test_a_node_in_doubt_is_refused_and_said(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), vm("x", ip="10.0.0.2")) as lab:
        lab.kubelet("w", vm="x")  # its name fits one, its system UUID the other
        await until(lambda: lab.events("IdentityAmbiguous"))

        assert lab.reconciles("refused") >= 1
        assert lab.writes("PATCH") == []


async def test_a_node_of_nobody_is_unmatched(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        lab.cluster.nodes.create({"metadata": {"name": "stranger"}})
        await until(lambda: lab.reconciles("unchanged"))
        lab.nodes.count_nodes()

        assert lab.metric("nodes", state="unmatched") == 1


async def test_a_node_that_went_is_no_longer_counted(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.kubelet("w")
        await until(lambda: lab.is_initialised("w"))
        lab.cluster.nodes.delete("w")
        await until(lambda: "w" not in lab.informer.nodes)
        await asyncio.sleep(1)
        lab.nodes.count_nodes()

        assert lab.metric("nodes", state="initialised") == 0


# ---- writes that fail --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "result"),
    [(Conflict(), "conflict"), (BadGateway(), "error"), (Reset(), "error"), (FORBIDDEN, "error")],
    ids=["409", "502", "reset", "403"],
)
async def test_a_failed_write_is_counted_and_done_again(
    tmp_path: Path, fault: Conflict | BadGateway | Reset | Refusal, result: str
) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.cluster.faults.inject(fault, methods=["PATCH"], path="/status")
        lab.kubelet("w")
        await until(lambda: lab.is_initialised("w"))

        assert lab.reconciles(result) == 1
        assert lab.reconciles("written") == 1


async def test_a_node_that_goes_while_it_is_written_is_a_conflict(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.cluster.faults.latency = 1
        lab.kubelet("w")
        await until(lambda: lab.cluster.requests[-1].method == "PATCH")
        lab.cluster.nodes.delete("w")
        await until(lambda: lab.reconciles("conflict"))

        assert "w" not in lab.cluster.nodes
        assert lab.reconciles("error") == 0


async def test_a_throttled_write_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.cluster.faults.inject(Throttle(retry_after=7), methods=["PATCH"], path="/status")
        lab.kubelet("w")
        await until(lambda: lab.is_initialised("w"))

        (first, refused), (second, _) = lab.writes("PATCH", "/status")
        assert refused == 429
        assert second - first >= 7
        assert lab.reconciles("error") == 1


async def test_a_refused_write_is_said_as_an_event(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.cluster.faults.inject(FORBIDDEN, times=None, methods=["PATCH"], path="/nodes")
        with capture_logs() as logs:
            lab.kubelet("w")
            await until(lambda: lab.events("WriteRefused"))

        assert not lab.is_initialised("w")
        assert "refused by a fault" in lab.events("WriteRefused")[0]["message"]
        assert {one["node"] for one in logs if one["log_level"] == "warning"} == {"w"}


async def test_a_right_that_is_missing_is_logged_once_for_all_nodes(tmp_path: Path) -> None:
    async with working(tmp_path, many(5)) as lab:
        lab.cluster.faults.inject(FORBIDDEN, times=20, methods=["PATCH"], path="/nodes")
        with capture_logs() as logs:
            for n in range(5):
                lab.kubelet(f"w{n}")
            await until(lambda: all(lab.is_initialised(f"w{n}") for n in range(5)))
            await until(lambda: lab.reconciles("written") == 5)

        words = [one["event"] for one in logs if one["event"].startswith("a write was")]
        assert words == ["a write was refused"]
        assert [one for one in logs if one["event"] == "writes to nodes are allowed again"]


async def test_writes_that_fail_for_long_become_rare(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.cluster.faults.inject(BadGateway(), times=None, methods=["PATCH"], path="/nodes")
        lab.kubelet("w")
        await asyncio.sleep(600)

        # 5 ms, doubled each time, are seventeen within ten minutes, and each listing of the engine
        # has nodes that wait looked at once.
        assert lab.reconciles("error") <= 17 + lab.engine.requests.counts["GET /vms"] + 2


async def test_a_change_while_a_write_fails_is_looked_at_without_the_back_off(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, vm("w"), intervals={"poll": "1h", "resync": "1h"}) as lab:
        lab.cluster.faults.latency = 1
        fault = lab.cluster.faults.inject(FORBIDDEN, times=None, methods=["PATCH"], path="/nodes")
        lab.kubelet("w")
        await asyncio.sleep(600)  # the next try is some minutes away
        failures, tries = lab.reconciles("error"), len(lab.writes("PATCH"))
        lab.cluster.nodes.patch("w", {"metadata": {"labels": {"a": "1"}}})
        await until(lambda: len(lab.writes("PATCH")) > tries, within=5)
        lab.cluster.nodes.patch("w", {"metadata": {"labels": {"a": "2"}}})
        await until(lambda: lab.reconciles("error") > failures, within=5)
        lab.cluster.faults.remove(fault)

        await until(lambda: lab.is_initialised("w"), within=5)


# ---- until the informer has what was written ---------------------------------------------------


async def test_what_was_written_here_is_no_reason_for_another_look(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w")) as lab:
        lab.kubelet("w")
        await until(lambda: lab.events("Synced"))
        lab.vm("w").set_addresses(["10.0.0.9"])
        await until(lambda: lab.reconciles("written") == 2)
        await asyncio.sleep(10)

        assert lab.informer.nodes["w"].addresses[0].address == "10.0.0.9"
        assert lab.reconciles("unchanged") == 0


async def test_what_another_writes_between_a_look_and_its_write_is_looked_at(
    tmp_path: Path,
) -> None:
    zone = "topology.kubernetes.io/zone"
    async with working(tmp_path, vm("w"), intervals={"resync": "1h"}) as lab:
        lab.kubelet("w")
        await until(lambda: lab.events("Synced"))
        lab.cluster.faults.latency = 1
        writes = len(lab.writes("PATCH"))
        lab.vm("w").set_addresses(["10.0.0.9"])
        await until(lambda: len(lab.writes("PATCH")) > writes)
        lab.cluster.nodes.patch("w", {"metadata": {"labels": {zone: None}}})
        await until(lambda: zone in lab.node("w")["metadata"]["labels"], within=10)

        assert lab.node("w")["status"]["addresses"][0]["address"] == "10.0.0.9"
        assert [status for _, status in lab.writes("PATCH")[writes:]] == [200, 200]


async def test_a_look_waits_until_the_watch_tells_of_the_last_write(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w"), intervals={"resync": "1h"}) as lab:
        lab.cluster.faults.latency = 1
        lab.kubelet("w")
        await until(lambda: len(lab.writes("PATCH")) == 2)
        lab.cluster.faults.silence_watches()
        await until(lambda: lab.reconciles("written") == 1)
        lab.vm("w").set_addresses(["10.0.0.9"])
        await until(lambda: lab.reconciles("waiting"))
        assert len(lab.writes("PATCH", "/nodes/w")) == 2
        await until(lambda: lab.reconciles("written") == 2)

        assert lab.node("w")["status"]["addresses"][0]["address"] == "10.0.0.9"
        assert lab.metric("informer_restarts_total", reason="idle") == 1


async def test_a_version_that_never_comes_is_waited_for_until_the_next_resync(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, vm("w"), intervals={"resync": "1m"}) as lab:
        lab.kubelet("w")
        await until(lambda: lab.events("Synced"))
        lab.nodes._written["w"] = 10**9, None  # as if etcd were restored from a backup
        lab.vm("w").set_addresses(["10.0.0.9"])
        await until(lambda: lab.reconciles("written") == 2)

        assert lab.node("w")["status"]["addresses"][0]["address"] == "10.0.0.9"


# ---- many nodes --------------------------------------------------------------------------------


class BrokenRecorder(EventRecorder):
    """A fault that nobody thought of, at one node."""

    def record(self, node: Node, notice: Notice) -> None:
        """Fail for the first node."""
        if node.name == "w0":
            raise RuntimeError("nobody thought of this")
        super().record(node, notice)


async def test_a_fault_at_one_node_does_not_stop_the_others(tmp_path: Path) -> None:
    workers = {"workers": 1}
    async with working(tmp_path, many(3), recorder=BrokenRecorder, limits=workers) as lab:
        with capture_logs() as logs:
            for n in range(3):
                lab.kubelet(f"w{n}")
            await until(lambda: len(lab.events("Synced")) == 2)

        assert lab.reconciles("error") >= 1
        assert lab.reconciles("written") == 2
        assert {one["node"] for one in logs if one["log_level"] == "error"} == {"w0"}


async def test_many_nodes_are_written_at_the_same_time(tmp_path: Path) -> None:
    async with working(tmp_path, many(40), limits={"workers": 20}) as lab:
        lab.cluster.faults.latency = 1
        for n in range(40):
            lab.kubelet(f"w{n}")
        began = asyncio.get_running_loop().time()
        await until(lambda: all(lab.is_initialised(f"w{n}") for n in range(40)))

        # Two rounds of twenty nodes, two writes of a second each.
        assert asyncio.get_running_loop().time() - began < 10


async def test_many_looks_leave_the_loop_to_others_in_between(tmp_path: Path) -> None:
    count, workers = 60, 2
    async with working(tmp_path, many(count), limits={"workers": workers}) as lab:
        for n in range(count):
            lab.kubelet(f"w{n}")
        await until(lambda: lab.reconciles("written") == count)
        await until(lambda: len(lab.events("Synced")) == count)
        looks = lab.reconciles("unchanged")

        for name in lab.informer.nodes:
            lab.nodes._queue.add(name)
        turns = 0
        while lab.reconciles("unchanged") < looks + count:
            turns += 1
            await asyncio.sleep(0)

        assert turns >= count / workers
