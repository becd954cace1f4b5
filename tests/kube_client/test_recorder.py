"""Events: what they say, how repeats are counted, and what an ill API server costs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.recorder import EventRecorder
from provider.model import Level, Node, Notice
from provider.reasons import Reason
from provider.simulator.cluster import BadGateway, GatewayTimeout, Throttle
from tests.kube_client import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.kube.api import KubeApi
    from provider.metrics import Metrics
    from provider.simulator.cluster import SimulatedCluster
    from tests.kube_client.conftest import Connect

pytestmark = pytest.mark.looptime

NODE = Node("worker-1", "uid-1", "1")
SYNCED = Notice(Level.NORMAL, Reason.SYNCED, "zone z")
MISMATCH = Notice(Level.WARNING, Reason.ADDRESS_MISMATCH, "wanted 10.0.0.1")


@asynccontextmanager
async def recording(api: KubeApi, metrics: Metrics) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(api, metrics)
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def sent(metrics: Metrics, level: str, reason: str) -> float | None:
    labels = {"type": level, "reason": reason}
    return metrics.registry.get_sample_value("ovirt_ccm_events_total", labels)


def dropped(metrics: Metrics, cause: str) -> float | None:
    return metrics.registry.get_sample_value("ovirt_ccm_events_dropped_total", {"cause": cause})


def writes(cluster: SimulatedCluster) -> list[str]:
    return [request.method for request in cluster.requests if "/events" in request.path]


async def test_an_event_names_the_node_by_its_uid_and_us_as_its_source(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        recorder.record(NODE, SYNCED)
        await asyncio.sleep(1)

    (event,) = cluster.events()
    assert event["metadata"]["namespace"] == "default"
    assert event["metadata"]["name"].startswith("worker-1.")
    involved = event["involvedObject"]
    assert (involved["kind"], involved["name"], involved["uid"]) == ("Node", "worker-1", "uid-1")
    assert "namespace" not in involved
    assert (event["type"], event["reason"]) == ("Normal", "Synced")
    assert event["message"] == "zone z"
    assert event["source"]["component"] == "ovirt-cloud-controller-manager"
    assert event["count"] == 1
    assert sent(metrics, "Normal", "Synced") == 1


async def test_repeats_are_counted_and_sent_at_most_once_in_five_minutes(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        for _ in range(61):
            recorder.record(NODE, MISMATCH)
            await asyncio.sleep(10)

    (event,) = cluster.events()
    assert writes(cluster) == ["POST", "PATCH", "PATCH"]
    assert event["count"] == 61


async def test_a_new_message_and_another_node_are_events_of_their_own(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        recorder.record(NODE, SYNCED)
        recorder.record(NODE, Notice(Level.NORMAL, Reason.SYNCED, "zone y"))
        recorder.record(Node("worker-1", "uid-2", "1"), SYNCED)
        await asyncio.sleep(1)

    assert len(cluster.events()) == 3


async def test_what_only_waits_is_no_event(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        recorder.record(NODE, Notice(Level.WAITING, Reason.NO_INTERNAL_IP, "not asked yet"))
        await asyncio.sleep(1)

    assert cluster.events() == ()


async def test_an_event_about_an_engine_is_said_about_kube_system(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        recorder.record_engine(
            "east", Notice(Level.WARNING, Reason.ENGINE_UNREACHABLE, "HTTP 503")
        )
        recorder.record_engine(
            "east", Notice(Level.WARNING, Reason.ENGINE_UNREACHABLE, "engine east: HTTP 503")
        )
        await asyncio.sleep(1)

    (event,) = cluster.events()
    involved = event["involvedObject"]
    assert (involved["kind"], involved["name"]) == ("Namespace", "kube-system")
    assert event["message"] == "engine east: HTTP 503"


async def test_an_event_that_has_expired_is_made_anew(connect: Connect, metrics: Metrics) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if request.method == "PATCH":
            gone = wire.status(404, 'events "x" not found', "NotFound", name="x")
            return wire.reply(404, gone)
        return wire.reply(201, {})

    async with (
        wire.serving(answer) as server,
        recording(await connect(server.url), metrics) as recorder,
    ):
        recorder.record(NODE, MISMATCH)
        await asyncio.sleep(4000)
        recorder.record(NODE, MISMATCH)
        await asyncio.sleep(1)

    assert [request.method for request in server.requests] == ["POST", "PATCH", "POST"]
    assert b'"count":2' in server.requests[-1].body


async def test_a_long_message_is_cut(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        recorder.record(
            Node("n" * 253, "u", "1"), Notice(Level.WARNING, Reason.WRITE_REFUSED, "x" * 5000)
        )
        await asyncio.sleep(1)

    (event,) = cluster.events()
    assert len(event["message"]) == 1024
    assert event["message"].endswith("…")
    assert len(event["metadata"]["name"]) <= 253


async def test_a_storm_is_sent_slowly(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        for number in range(1000):
            recorder.record(Node(f"n{number}", f"u{number}", "1"), SYNCED)
        await asyncio.sleep(10)
        assert 190 <= len(writes(cluster)) <= 201
        await asyncio.sleep(50)

    assert len(cluster.events()) == 1000


@pytest.mark.parametrize(
    ("took", "count"),
    [
        pytest.param(0.05, 20, id="busy: nine times as long"),
        pytest.param(2.0, 4, id="at most 1 s"),
    ],
)
async def test_events_leave_a_busy_api_server_alone(
    connect: Connect, metrics: Metrics, took: float, count: int
) -> None:
    async with (
        wire.serving(lambda _: [took, *wire.reply(201, {})]) as server,
        recording(await connect(server.url), metrics) as recorder,
    ):
        for number in range(1000):
            recorder.record(Node(f"n{number}", f"u{number}", "1"), SYNCED)
        await asyncio.sleep(9.9)

    assert len(server.requests) == count


async def test_a_warning_does_not_wait_behind_a_storm(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        for number in range(6000):  # more than are kept
            recorder.record(Node(f"n{number}", f"u{number}", "1"), SYNCED)
        await asyncio.sleep(1)
        recorder.record(NODE, Notice(Level.WARNING, Reason.WRITE_REFUSED, "no"))
        await asyncio.sleep(1)

    assert [e["reason"] for e in cluster.events()].count(Reason.WRITE_REFUSED) == 1


async def test_a_storm_of_warnings_leaves_a_place_for_others(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with recording(api, metrics) as recorder:
        for number in range(4000):
            warning = Notice(Level.WARNING, Reason.RULE_CONFLICT, "no")
            recorder.record(Node(f"n{number}", f"u{number}", "1"), warning)
        recorder.record(NODE, SYNCED)
        await asyncio.sleep(5)

    assert [e["reason"] for e in cluster.events()].count(Reason.SYNCED) == 1


async def test_what_does_not_fit_the_queue_is_dropped_and_counted(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.faults.freeze()
    async with recording(api, metrics) as recorder:
        for number in range(12_000):
            recorder.record(Node(f"n{number}", f"u{number}", "1"), SYNCED)
        assert len(recorder._series) <= 8192

    assert dropped(metrics, "queue_full") == 12_000 - 5000


async def test_what_is_remembered_is_bounded(api: KubeApi, metrics: Metrics) -> None:
    recorder = EventRecorder(api, metrics)
    for number in range(10_000):
        recorder.record(NODE, Notice(Level.NORMAL, Reason.SYNCED, f"{number}"))
        recorder._queue.clear()

    assert len(recorder._series) == 8192


@pytest.mark.parametrize("fault", [BadGateway(), GatewayTimeout(is_written=True), Throttle()])
async def test_an_ill_api_server_is_tried_again_without_a_second_event(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics, fault: Any
) -> None:
    cluster.faults.inject(fault, times=2)
    async with recording(api, metrics) as recorder:
        recorder.record(NODE, SYNCED)
        await asyncio.sleep(30)

    assert len(cluster.events()) == 1
    assert sent(metrics, "Normal", "Synced") == 1


async def test_an_api_server_that_stays_away_costs_the_event(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    await cluster.stop()
    async with recording(api, metrics) as recorder:
        recorder.record(NODE, SYNCED)
        await asyncio.sleep(120)

    assert dropped(metrics, "unavailable") == 1


async def test_an_event_that_stays_refused_is_dropped_and_the_next_is_sent(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if b"Synced" in request.body:
            return wire.reply(403, wire.status(403, "events is forbidden", "Forbidden"))
        return wire.reply(201, {})

    async with (
        wire.serving(answer) as server,
        recording(await connect(server.url), metrics) as recorder,
    ):
        recorder.record(NODE, SYNCED)
        recorder.record(NODE, MISMATCH)
        await asyncio.sleep(90)

    assert dropped(metrics, "refused") == 1
    assert sent(metrics, "Warning", "NodeAddressMismatch") == 1
    assert len(server.requests) == 7
