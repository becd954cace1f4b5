from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from provider.simulator.cluster import (
    BadGateway,
    Conflict,
    CutFrame,
    EmptyWatch,
    ExpiredWatch,
    GatewayTimeout,
    Refusal,
    Reset,
    SilentWatch,
    Throttle,
)
from tests.simulator.cluster_wire import NODES, node, started

LABEL = {"metadata": {"labels": {"x": "y"}}}


async def test_a_frozen_server_hangs_and_goes_on() -> None:
    async with started() as wire:
        wire.cluster.faults.freeze()
        request = asyncio.create_task(wire.send("POST", NODES, node()))
        _, waiting = await asyncio.wait([request], timeout=0.05)
        is_stored = "a" in wire.cluster.nodes
        wire.cluster.faults.thaw()
        code, _ = await request

    assert (waiting, is_stored, code) == ({request}, False, 201)


async def test_a_frozen_server_freezes_open_watches_too() -> None:
    async with started() as wire, wire.watch() as watch:
        wire.cluster.faults.freeze()
        wire.cluster.nodes.create(node())
        event = asyncio.create_task(watch.next())
        _, waiting = await asyncio.wait([event], timeout=0.05)
        wire.cluster.faults.thaw()
        kind, _ = await event

    assert (waiting, kind) == ({event}, "ADDED")


async def test_a_frozen_server_can_be_stopped() -> None:
    async with started() as wire:
        wire.cluster.faults.freeze()
        request = asyncio.create_task(wire.get(NODES))
        await asyncio.sleep(0.02)

        await wire.cluster.stop()

        with pytest.raises(aiohttp.ClientError):
            await request


async def test_throttle_names_its_delay() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(Throttle(retry_after=3))
        async with wire.session.get(NODES) as reply:
            first = reply.status, reply.headers["Retry-After"]
        async with wire.session.get(NODES) as reply:
            second = reply.status

    assert (first, second) == ((429, "3"), 200)


async def test_a_conflict_storm_hits_the_next_writes_only() -> None:
    async with started() as wire:
        wire.cluster.nodes.create(node())
        wire.cluster.faults.inject(Conflict(), times=2)

        codes = [(await wire.send("GET", f"{NODES}/a"))[0]]
        codes += [(await wire.patch(f"{NODES}/a", LABEL))[0] for _ in range(3)]

    assert codes == [200, 409, 409, 200]


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_gateway_timeout_may_have_written(*, is_written: bool) -> None:
    async with started() as wire:
        wire.cluster.faults.inject(GatewayTimeout(is_written=is_written))

        code, body = await wire.send("POST", NODES, node())

        assert (code, body["reason"]) == (504, "Timeout")
        assert ("a" in wire.cluster.nodes) is is_written


async def test_a_proxy_may_answer_html() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(BadGateway())
        async with wire.session.get(NODES) as reply:
            answer = reply.status, reply.content_type

    assert answer == (502, "text/html")


async def test_a_refusal_is_a_status_of_that_code() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(Refusal(403, "Forbidden"), path="/leases")
        leases = "/apis/coordination.k8s.io/v1/leases"

        codes = [(await wire.send("GET", path))[0] for path in (NODES, leases, leases)]

    assert codes == [200, 403, 200]


async def test_a_connection_may_be_reset() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(Reset(), methods=["POST"])
        with pytest.raises(aiohttp.ClientError):
            await wire.send("POST", NODES, node())

        assert "a" not in wire.cluster.nodes


async def test_an_injection_without_end_is_removed() -> None:
    async with started() as wire:
        injection = wire.cluster.faults.inject(Throttle(), times=None)
        codes = [(await wire.send("GET", NODES))[0] for _ in range(3)]
        wire.cluster.faults.remove(injection)
        codes.append((await wire.send("GET", NODES))[0])

    assert codes == [429, 429, 429, 200]


async def test_latency_delays_a_request() -> None:
    loop = asyncio.get_running_loop()
    async with started() as wire:
        wire.cluster.faults.latency = 0.05
        start = loop.time()
        await wire.get(NODES)
        wire.cluster.faults.clear()

    assert loop.time() - start >= 0.05


async def test_expired_watches_come_as_event_or_as_status() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(ExpiredWatch(is_event=True))
        wire.cluster.faults.inject(ExpiredWatch(is_event=False))
        async with wire.watch() as watch:
            kind, body = await watch.next()
        async with wire.watch() as watch:
            code = watch.reply.status

    assert (kind, body["code"], code) == ("ERROR", 410, 410)


async def test_an_empty_watch_closes_at_once() -> None:
    async with started() as wire:
        wire.cluster.nodes.create(node())
        wire.cluster.faults.inject(EmptyWatch())
        async with wire.watch() as watch:
            with pytest.raises(EOFError):
                await watch.next()
            assert watch.reply.status == 200


async def test_a_silent_watch_says_nothing_and_stays_open() -> None:
    async with started(bookmark_period=0.01) as wire:
        wire.cluster.faults.inject(SilentWatch())
        async with wire.watch("allowWatchBookmarks=true&timeoutSeconds=1") as watch:
            wire.cluster.nodes.create(node())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch.next(), 0.1)


async def test_open_watches_can_be_silenced() -> None:
    async with started() as wire, wire.watch() as watch:
        wire.cluster.nodes.create(node("a"))
        await watch.next()
        wire.cluster.faults.silence_watches()
        wire.cluster.nodes.create(node("b"))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.next(), 0.05)


async def test_open_watches_can_be_reset() -> None:
    async with started() as wire, wire.watch() as watch:
        wire.cluster.nodes.create(node("a"))
        await watch.next()

        wire.cluster.faults.cut_watches()

        with pytest.raises(aiohttp.ClientError):
            await watch.next()


@pytest.mark.parametrize("is_open_before", [True, False])
async def test_a_frame_can_be_cut_in_the_middle(*, is_open_before: bool) -> None:
    async with started() as wire:
        if not is_open_before:
            wire.cluster.faults.inject(CutFrame())
        async with wire.watch() as watch:
            if is_open_before:
                wire.cluster.faults.cut_next_frames()
            wire.cluster.nodes.create(node())

            line, error = await read_until_error(watch.reply)

    assert isinstance(error, aiohttp.ClientPayloadError)
    assert line.startswith(b'{"type":"ADDED"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(line)


async def read_until_error(reply: aiohttp.ClientResponse) -> tuple[bytes, Exception | None]:
    raw = b""
    try:
        async for chunk in reply.content.iter_any():
            raw += chunk
    except aiohttp.ClientError as error:
        return raw, error
    return raw, None


async def test_the_log_tells_which_fault_met_a_request() -> None:
    async with started() as wire:
        wire.cluster.faults.inject(Throttle(retry_after=1))
        await wire.send("POST", NODES, node())
        await wire.send("POST", NODES, node())

        requests = wire.cluster.requests
        met = [(item.method, item.path, item.status, item.effect) for item in requests]

    assert met == [("POST", NODES, 429, Throttle(1)), ("POST", NODES, 201, None)]
