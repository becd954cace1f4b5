"""The informer against a good API server, and against each fault that one or a proxy can have."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.informer import NodeInformer
from provider.simulator.cluster import (
    BadGateway,
    CutFrame,
    EmptyWatch,
    ExpiredWatch,
    Reset,
    SilentWatch,
    SimulatedCluster,
    Throttle,
)
from tests.kube_client import wire
from tests.kube_client.wire import END, HEAD, bookmark, event, listing, node, reply, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import structlog

    from provider.kube.api import KubeApi
    from provider.metrics import Metrics
    from tests.kube_client.conftest import Connect

pytestmark = pytest.mark.looptime

HOUR = 3600.0


class Running:
    """An informer at work, and the names that it reported since the last `take`."""

    def __init__(self, informer: NodeInformer) -> None:
        self.informer = informer
        self._names: list[str] = []
        informer.subscribe(self._names.append)

    def take(self) -> list[str]:
        names = sorted(self._names)
        self._names.clear()
        return names

    async def until(self, condition: Callable[[], bool], within: float = 200) -> None:
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - any condition, seen from outside
                await asyncio.sleep(0.05)

    async def until_known(self, *names: str, within: float = 200) -> None:
        await self.until(lambda: sorted(self.informer.nodes) == sorted(names), within)


@asynccontextmanager
async def running(api: KubeApi, metrics: Metrics) -> AsyncIterator[Running]:
    informer = NodeInformer(api, metrics)
    watched = Running(informer)
    task = asyncio.create_task(informer.run())
    try:
        yield watched
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def manifest(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {"a": "b"}},
    }


def restarts(metrics: Metrics, reason: str) -> float:
    return (
        metrics.registry.get_sample_value("ovirt_ccm_informer_restarts_total", {"reason": reason})
        or 0
    )


def watches(cluster: SimulatedCluster) -> int:
    return sum("watch" in request.query for request in cluster.requests)


# ---- a good API server -------------------------------------------------------------------------


async def test_every_node_is_there_once_it_is_synced(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))
    cluster.nodes.create(manifest("b"))

    async with running(api, metrics) as run:
        assert not run.informer.is_synced
        await run.informer.wait_synced()

        assert sorted(run.informer.nodes) == ["a", "b"]
        assert run.take() == ["a", "b"]
        assert run.informer.is_current


async def test_what_it_knows_is_current_for_five_minutes_after_the_last_word(
    api: KubeApi, metrics: Metrics
) -> None:
    informer = NodeInformer(api, metrics)
    now = asyncio.get_running_loop().time()

    verdicts = [informer.is_current]
    for silence in (121, 301):  # a healthy server was silent for 121 s
        informer.last_contact = now - silence
        verdicts.append(informer.is_current)

    assert verdicts == [False, True, False]


async def test_what_comes_changes_and_goes_is_reported_by_name(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        cluster.nodes.create(manifest("a"))
        await run.until_known("a")
        cluster.nodes.patch("a", {"metadata": {"labels": {"zone": "z"}}})
        await run.until(lambda: run.informer.nodes["a"].labels.get("zone") == "z")
        cluster.nodes.delete("a")
        await run.until_known()

        assert run.take() == ["a", "a", "a"]


async def test_a_large_cluster_is_listed_in_pages(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    for number in range(1100):
        cluster.nodes.create(manifest(f"n{number}"))

    async with running(api, metrics) as run:
        await run.informer.wait_synced()

        lists = [r.query for r in cluster.requests if "watch" not in r.query]
        assert len(run.informer.nodes) == 1100
        assert [query["limit"] for query in lists] == ["500"] * 3


async def test_the_watch_asks_for_bookmarks_and_ends_at_a_random_time(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        return [HEAD, END] if request.is_watch else reply(200, listing(1))

    async with wire.serving(answer) as server, running(await connect(server.url), metrics):
        await asyncio.sleep(120)

    queries = [r.target for r in server.requests if r.is_watch]
    assert all("allowWatchBookmarks=true" in query for query in queries)
    assert len({query.partition("timeoutSeconds=")[2] for query in queries}) > 1


async def test_the_next_watch_starts_at_the_last_bookmark(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(1))
        return [HEAD, bookmark(7), END] if "resourceVersion=1&" in request.target else [HEAD, 60.0]

    async with wire.serving(answer) as server, running(await connect(server.url), metrics):
        await asyncio.sleep(20)

    assert "resourceVersion=7&" in server.requests[-1].target
    assert restarts(metrics, "closed") == 1


async def test_a_burst_of_events_lets_other_tasks_run(connect: Connect, metrics: Metrics) -> None:
    burst = b"".join(
        json.dumps({"type": "ADDED", "object": node(f"n{n}", n + 2)}).encode() + b"\n"
        for n in range(1000)
    )

    def answer(request: wire.Request) -> list[Any]:
        return [HEAD, wire.chunk(burst), HOUR] if request.is_watch else reply(200, listing(1))

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        sizes = set()
        while len(run.informer.nodes) < 1000:
            await asyncio.sleep(0)
            sizes.add(len(run.informer.nodes))

    assert len(sizes) > 10


# ---- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_event", [True, False])
async def test_deletions_that_an_expired_watch_missed_are_reported(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics, *, is_event: bool
) -> None:
    for name in ("kept", "lost", "replaced"):
        cluster.nodes.create(manifest(name))

    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        await run.until(lambda: cluster.faults.open_watches == 1)
        run.take()
        fault = cluster.faults.inject(ExpiredWatch(is_event=is_event))
        outage = cluster.faults.inject(Reset(), times=None)
        cluster.faults.cut_watches()
        cluster.nodes.delete("lost")
        cluster.nodes.delete("replaced")
        uid = cluster.nodes.create(manifest("replaced"))["metadata"]["uid"]
        await asyncio.sleep(5)
        cluster.faults.remove(outage)
        await run.until_known("kept", "replaced")

        assert run.take() == ["lost", "replaced"]
        assert run.informer.nodes["replaced"].uid == uid
        assert fault.times == 0
        assert restarts(metrics, "expired") == 1


async def test_a_410_after_a_long_outage_is_no_reason_to_wait_longer(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with running(api, metrics) as run:
        await run.until(lambda: cluster.faults.open_watches == 1)
        outage = cluster.faults.inject(Reset(), times=None)
        cluster.faults.cut_watches()
        await asyncio.sleep(300)
        cluster.faults.remove(outage)
        cluster.nodes.create(manifest("a"))
        cluster.faults.inject(ExpiredWatch())
        await run.until(lambda: restarts(metrics, "expired") == 1)

        await run.until_known("a", within=2)


async def test_an_endless_410_is_no_busy_loop(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))
    cluster.faults.inject(ExpiredWatch(), times=None)

    async with running(api, metrics) as run:
        await asyncio.sleep(60)

        assert watches(cluster) <= 10
        assert run.take() == ["a"]


async def test_a_watch_that_is_closed_at_once_is_no_busy_loop(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    fault = cluster.faults.inject(EmptyWatch(), times=None)

    async with running(api, metrics) as run:
        await asyncio.sleep(60)
        assert 2 <= watches(cluster) <= 10
        cluster.faults.remove(fault)
        cluster.nodes.create(manifest("a"))
        await run.until_known("a", within=60)


async def test_a_watch_that_is_closed_after_each_event_is_no_busy_loop(
    connect: Connect, metrics: Metrics
) -> None:
    version = iter(range(2, 10_000))

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(1))
        return [HEAD, event("MODIFIED", node("a", next(version))), END]

    async with wire.serving(answer) as server, running(await connect(server.url), metrics):
        await asyncio.sleep(60)

    assert 30 <= len(server.requests) <= 62


async def test_a_quiet_watch_that_a_proxy_ends_every_ten_seconds_is_resumed_soon(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        return [HEAD, 10.0, END] if request.is_watch else reply(200, listing(1))

    async with wire.serving(answer) as server, running(await connect(server.url), metrics):
        await asyncio.sleep(220)

    assert len(server.requests) >= 20


async def test_the_page_of_a_proxy_is_no_event(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.faults.inject(BadGateway(), times=3)

    async with running(api, metrics) as run:
        cluster.nodes.create(manifest("a"))
        await run.until_known("a")

        assert run.take() == ["a"]
        assert restarts(metrics, "error") == 3


@pytest.mark.parametrize("body", [b"<html>\n<body>login</body>\n</html>\n", b""])
async def test_a_page_with_status_200_is_no_stream(
    connect: Connect, metrics: Metrics, body: bytes
) -> None:
    pages = [reply(200, body, "text/html"), reply(200, body, "text/html")]

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(1))
        return pages.pop() if pages else [HEAD, event("ADDED", node("a", 2)), HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a")

    assert len(server.requests) == 1 + 3


@pytest.mark.parametrize(
    "broken",
    [b'{"type": "ADDED", "object": {"kind"\n', b"<html>\n", b'["ADDED"]\n', b"\xff\n"],
)
async def test_a_line_that_is_no_event_makes_it_list_again(
    connect: Connect, metrics: Metrics, broken: bytes
) -> None:
    lists = [listing(9, node("a", 3)), listing(1)]

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, lists.pop())
        return [HEAD, wire.chunk(broken), HOUR] if lists else [HEAD, HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", within=10)


async def test_a_connection_that_breaks_in_the_middle_of_an_event_loses_nothing(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.faults.inject(CutFrame())

    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        await run.until(lambda: cluster.faults.open_watches == 1)
        cluster.nodes.create(manifest("a"))
        cluster.nodes.create(manifest("b"))
        await run.until_known("a", "b", within=30)

        assert run.take() == ["a", "b"]
        assert sum("watch" not in r.query for r in cluster.requests) == 1


async def test_a_reset_in_the_middle_of_an_event_resumes_after_the_last_whole_one(
    connect: Connect, metrics: Metrics
) -> None:
    half = event("MODIFIED", node("a", 6))[:60]

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(1))
        if "resourceVersion=1&" in request.target:
            return [HEAD, event("ADDED", node("a", 5)), half, 0.5, wire.Reset]
        return [HEAD, event("MODIFIED", node("a", 6)), HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until(lambda: "a" in run.informer.nodes)
        await run.until(lambda: run.informer.nodes["a"].resource_version == "6", within=30)

        assert "resourceVersion=5&" in server.requests[-1].target
        assert run.take() == ["a", "a"]


async def test_a_half_open_connection_is_found_and_replaced(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.faults.inject(SilentWatch())

    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        cluster.nodes.create(manifest("a"))
        await run.until_known("a", within=80)

        assert restarts(metrics, "idle") == 1


async def test_a_quiet_api_server_is_no_trouble(
    connect: Connect, metrics: Metrics, logged: list[structlog.typing.EventDict]
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        return [HEAD, HOUR] if request.is_watch else reply(200, listing(1))

    async with wire.serving(answer) as server, running(await connect(server.url), metrics):
        await asyncio.sleep(1000)

    assert len(server.requests) <= 21
    assert logged == []


async def test_an_api_server_that_was_restored_from_a_backup_is_believed(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if request.is_watch:
            return [HEAD, HOUR]
        if len(server.requests) == 1:
            return reply(200, listing(5000, node("a", 4999), node("late", 5000)))
        return reply(200, listing(100, node("a", 90)))

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", within=160)

        assert run.informer.nodes["a"].resource_version == "90"


async def test_a_frozen_api_server_is_asked_again(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))
    cluster.faults.freeze()

    async with running(api, metrics) as run:
        await asyncio.sleep(20)
        assert not run.informer.is_synced
        assert len(cluster.requests) <= 8
        cluster.faults.thaw()
        await run.until_known("a", within=30)


async def test_an_api_server_that_restarts_is_followed(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        await cluster.down()
        cluster.nodes.create(manifest("a"))
        await asyncio.sleep(20)
        assert run.take() == []
        await cluster.up()
        await run.until_known("a", within=31)


async def test_retry_after_is_honoured(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.faults.inject(Throttle(retry_after=90))

    async with running(api, metrics) as run:
        await run.informer.wait_synced()

        first, second, *_ = cluster.requests
        assert second.at - first.at >= 90


async def test_retry_after_of_an_overloaded_server_is_honoured(
    connect: Connect, metrics: Metrics
) -> None:
    busy = [reply(503, status(503, "starting"), Retry_After="40")]

    def answer(request: wire.Request) -> list[Any]:
        if request.is_watch:
            return [HEAD, HOUR]
        return busy.pop() if busy else reply(200, listing(1))

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.informer.wait_synced()

    assert server.requests[1].at - server.requests[0].at >= 40


@pytest.mark.parametrize(
    "error", [status(500, "etcdserver: no leader"), {"kind": "Status", "metadata": {}}]
)
async def test_an_error_event_other_than_410_makes_it_list_again(
    connect: Connect, metrics: Metrics, error: dict[str, Any]
) -> None:
    lists = [listing(9, node("a", 3)), listing(1)]

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, lists.pop())
        return [HEAD, event("ERROR", error), HOUR] if lists else [HEAD, HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", within=10)


async def test_pages_that_expire_are_read_at_one_go(connect: Connect, metrics: Metrics) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if request.is_watch:
            return [HEAD, HOUR]
        if "continue=" in request.target:
            return reply(410, status(410, "expired", "Expired"))
        if "limit=0" in request.target:
            return reply(200, listing(8, node("a", 1), node("b", 2)))
        return reply(200, listing(5, node("a", 1), continue_="token"))

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", "b", within=2)


async def test_an_odd_node_costs_only_itself(
    connect: Connect, metrics: Metrics, logged: list[structlog.typing.EventDict]
) -> None:
    odd = node("odd", 2, labels=["no", "map"])

    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(5, node("a", 1), odd, node("b", 3)))
        odder = node("odder", 8, creationTimestamp="yesterday")
        return [HEAD, event("ADDED", odder), event("ADDED", node("c", 9)), HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", "b", "c")

    assert sum("cannot be read" in entry["event"] for entry in logged) == 2
    assert restarts(metrics, "error") == 0


async def test_a_node_may_be_larger_than_any_buffer(connect: Connect, metrics: Metrics) -> None:
    large = node("large", 2, annotations={"blob": "x" * 5_000_000})

    def answer(request: wire.Request) -> list[Any]:
        return [HEAD, event("ADDED", large), HOUR] if request.is_watch else reply(200, listing(1))

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("large")


async def test_an_unchanged_version_is_not_reported(connect: Connect, metrics: Metrics) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if not request.is_watch:
            return reply(200, listing(5, node("a", 5)))
        same = event("MODIFIED", node("a", 5))
        return [HEAD, same, same, event("ADDED", node("b", 6)), HOUR]

    async with (
        wire.serving(answer) as server,
        running(await connect(server.url), metrics) as run,
    ):
        await run.until_known("a", "b")

        assert run.take() == ["a", "b"]


async def test_an_outage_is_logged_once_and_its_end_once(
    cluster: SimulatedCluster,
    api: KubeApi,
    metrics: Metrics,
    logged: list[structlog.typing.EventDict],
) -> None:
    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        await cluster.down()
        await asyncio.sleep(300)
        await cluster.up()
        cluster.nodes.create(manifest("a"))
        await run.until_known("a")

    assert [entry["log_level"] for entry in logged] == ["warning", "info"]


# ---- what writers put in -----------------------------------------------------------------------


async def test_what_a_write_returned_is_seen_at_once_and_reported(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))

    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        run.take()
        cluster.nodes.patch("a", {"metadata": {"labels": {"zone": "z"}}})
        run.informer.observe(await api.get_node("a"))

        assert run.informer.nodes["a"].labels["zone"] == "z"
        await asyncio.sleep(1)
        assert run.take() == ["a"]


async def test_an_older_node_replaces_no_newer_one(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))
    old = await api.get_node("a")
    cluster.nodes.patch("a", {"metadata": {"labels": {"zone": "z"}}})

    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        run.informer.observe(old)

        assert run.informer.nodes["a"].labels["zone"] == "z"


async def test_a_node_that_was_deleted_meanwhile_does_not_rise_again(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    cluster.nodes.create(manifest("a"))
    async with running(api, metrics) as run:
        await run.informer.wait_synced()
        cluster.nodes.patch("a", {"metadata": {"labels": {"zone": "z"}}})
        written = await api.get_node("a")
        cluster.nodes.delete("a")
        await run.until_known()
        run.informer.observe(written)

        assert not run.informer.nodes


async def test_a_listing_that_began_before_a_write_does_not_undo_it(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if request.is_watch:
            return [HEAD, HOUR]
        if "/api/v1/nodes/a" in request.target:
            return reply(200, node("a", 7, labels={"zone": "z"}))
        if "continue=" in request.target:
            return [2.0, *reply(200, listing(5, node("b", 2)))]
        return reply(200, listing(5, node("a", 1), continue_="token"))

    async with wire.serving(answer) as server:
        server_api = await connect(server.url)
        async with running(server_api, metrics) as run:
            await asyncio.sleep(1)
            run.informer.observe(await server_api.get_node("a"))
            await run.until_known("a", "b")

            assert run.informer.is_synced
            assert run.informer.nodes["a"].labels == {"zone": "z"}


async def test_an_event_that_is_older_than_a_write_does_not_undo_it(
    connect: Connect, metrics: Metrics
) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if "/api/v1/nodes/a" in request.target:
            return reply(200, node("a", 9))
        if not request.is_watch:
            return reply(200, listing(5, node("a", 4)))
        return [HEAD, 2.0, event("MODIFIED", node("a", 6)), event("ADDED", node("b", 10)), HOUR]

    async with wire.serving(answer) as server:
        server_api = await connect(server.url)
        async with running(server_api, metrics) as run:
            await run.informer.wait_synced()
            run.informer.observe(await server_api.get_node("a"))
            await run.until_known("a", "b")

            assert run.informer.nodes["a"].resource_version == "9"
