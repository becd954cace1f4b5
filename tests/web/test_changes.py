"""Streams of changes over real sockets."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, ClientTimeout, web

from provider.web.changes import KINDS, PATH, Changes
from provider.web.feed import Feed
from provider.web.problems import Problem, respond
from tests.builders import instance, node
from tests.web.following import ROW, Follower, SetRows
from tests.web.test_catalogue import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import ClientResponse

    from provider.web.changes import Admit

RESUME = "Last-Event-ID"


class Served:
    """A catalogue whose changes are served on loopback."""

    def __init__(self, rows: SetRows, admit: Admit | None = None) -> None:
        self.rows = rows
        self.changes = Changes(rows, admit)
        application = web.Application(middlewares=[_problems])
        application.add_routes([self.changes.operation.route])
        self.runner = web.AppRunner(application, shutdown_timeout=2)
        self.client: ClientSession

    @property
    def port(self) -> int:
        return int(self.runner.addresses[0][1])

    @asynccontextmanager
    async def reading(self, follower: Follower, query: str = "") -> AsyncIterator[ClientResponse]:
        """A stream that the follower resumes."""
        follower.cut_off()
        headers = {RESUME: follower.last_id} if follower.last_id else {}
        async with self.client.get(PATH + query, headers=headers) as reply:
            assert reply.status == 200
            yield reply

    async def none_is_open(self) -> None:
        """Return when no stream is left."""
        while self.changes.count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)


@web.middleware
async def _problems(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except Problem as problem:
        return respond(problem)
    return answer


@asynccontextmanager
async def served(rows: SetRows | None = None, admit: Admit | None = None) -> AsyncIterator[Served]:
    """Streams of these rows, which end in order before the server does."""
    it = Served(rows or SetRows(), admit)
    await it.runner.setup()
    await web.TCPSite(it.runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{it.port}"
    async with ClientSession(url, timeout=ClientTimeout(total=120)) as it.client:
        try:
            yield it
        finally:
            it.changes.close()
            await it.runner.cleanup()


async def read_until(
    reply: ClientResponse, follower: Follower, is_enough: Callable[[], bool]
) -> None:
    """Have the follower read until it is enough."""
    while not is_enough():
        piece = await reply.content.readany()
        assert piece, "the stream has ended"
        follower.read(piece)


# ---- what is told ------------------------------------------------------------------------------


async def test_a_reader_is_told_everything_and_then_each_change() -> None:
    rows, follower = SetRows(), Follower()
    rows.put("instance", "east/1")
    rows.put("engine", "east")
    async with served(rows) as it, it.reading(follower) as reply:
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
        rows.put("node", "w1")
        rows.remove("instance", "east/1")
        await read_until(reply, follower, lambda: follower.rows == rows.rows)

    assert reply.content_type == "text/event-stream"
    assert reply.headers["Cache-Control"] == "no-store"
    assert follower.reader.retry == 3000
    assert follower.told == ["reset", "instance", "engine", "synced", "node", "instance-removed"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_who_is_cut_off_again_and_again_is_told_all_and_nothing_twice(
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    rows, follower = SetRows(remembered=30, size=200), Follower()
    names = [f"east/{n}" for n in range(40)]
    async with served(rows) as it:
        for _ in range(12):
            _change(rows, chance, names)
            async with it.reading(follower) as reply:
                follower.read(await reply.content.readany())
                _change(rows, chance, names)
                with suppress(TimeoutError):
                    async with asyncio.timeout(chance.random() * 0.15):
                        await read_until(reply, follower, lambda: False)
        async with it.reading(follower) as reply:
            await read_until(reply, follower, lambda: follower.last_id == f"e1-{rows.generation}")

    assert follower.rows == rows.rows
    assert follower.repeated == 0


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(4))
async def test_whoever_follows_a_real_catalogue_knows_what_it_knows(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    names = [f"w{n}" for n in range(8)]
    follower = Follower()
    async with world() as there:
        for turn in range(12):
            hosts = {name: chance.choice("ab") for name in chance.sample(names, 5)}
            there.list(*(instance(name, host=host) for name, host in hosts.items()))
            for name in chance.sample(names, 3):
                if name in there.nodes:
                    there.remove(name)
                else:
                    there.put(node(name, resource_version=str(turn)))
            feed = Feed(there.catalogue, KINDS, follower.last_id)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.random())
                follower.read(feed.take() or b"")
        await there.shown()
        feed = Feed(there.catalogue, KINDS, follower.last_id)
        while (piece := feed.take()) is not None:
            follower.read(piece)
        rows = [row for chapter in there.catalogue.everything() for row in chapter]

    # That an engine was listed anew is no change of it.
    assert _without_age(follower.rows) == _without_age({(kind, key): b for kind, key, b in rows})


def _without_age(rows: dict[tuple[str, str], bytes]) -> dict[tuple[str, str], Any]:
    return {key: {**json.loads(body), "as_of": None} for key, body in rows.items()}


def _change(rows: SetRows, chance: random.Random, names: list[str]) -> None:
    for _ in range(chance.randrange(20)):
        key = "instance", chance.choice(names)
        if key in rows.rows and chance.random() < 0.3:
            rows.remove(*key)
        else:
            rows.put(*key)


@pytest.mark.parametrize("query", ["?since={}", "?kind=node&since={}"])
async def test_an_id_in_the_query_resumes_as_well(query: str) -> None:
    rows, follower = SetRows(), Follower()
    rows.put("instance", "east/1")
    rows.put("node", "w1")
    async with served(rows) as it, it.reading(follower, query.format("e1-1")) as reply:
        await read_until(reply, follower, lambda: bool(follower.told))

    assert follower.told == ["node"]


async def test_only_the_kinds_that_are_asked_for_are_told() -> None:
    rows, follower = SetRows(), Follower()
    rows.put("instance", "east/1")
    rows.put("node", "w1")
    async with served(rows) as it, it.reading(follower, "?kind=node") as reply:
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])

    assert follower.told == ["reset", "node", "synced"]


async def test_several_kinds_may_be_asked_for() -> None:
    rows, follower = SetRows(), Follower()
    for key in (("instance", "east/1"), ("node", "w1"), ("engine", "east")):
        rows.put(*key)
    async with served(rows) as it, it.reading(follower, "?kind=node&kind=engine") as reply:
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])

    assert sorted(follower.told) == ["engine", "node", "reset", "synced"]


async def test_a_kind_that_there_is_not_is_a_bad_request() -> None:
    async with served() as it, it.client.get(f"{PATH}?kind=pod") as reply:
        assert reply.status == 400
        assert "kind (engine | instance | node), since" in await reply.text()


async def test_a_head_begins_no_stream() -> None:
    async with served() as it, it.client.head(PATH) as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert it.changes.count == 0


@pytest.mark.looptime
async def test_a_quiet_stream_says_every_15_s_that_it_lives() -> None:
    rows, follower = SetRows(), Follower()
    async with served(rows) as it, it.reading(follower, "?kind=node") as reply:
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
        began = asyncio.get_running_loop().time()
        rows.put("instance", "east/1")
        await read_until(reply, follower, lambda: follower.reader.comments == 2)

    assert 29 < asyncio.get_running_loop().time() - began < 35
    assert follower.last_id == "e1-1"  # of a row that was not asked for


# ---- readers that are slow, many, or gone ------------------------------------------------------


def slow_reader(port: int) -> socket.socket:
    """A connection that has asked, with as little room for the answer as there can be."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


async def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    rows = SetRows(remembered=1000)
    names = [f"east/{n}" for n in range(1000)]
    for name in names:
        rows.put("instance", name)
    async with served(rows) as it:
        with slow_reader(it.port):
            await _at_rest(rows)
            stuck = rows.rendered
            for name in names:
                rows.put("instance", name)
            await asyncio.sleep(0.5)

            assert rows.rendered == stuck
            assert stuck * ROW < len(names) * ROW / 2
            assert it.changes.count == 1


async def _at_rest(rows: SetRows) -> None:
    """Return when nothing has been made for a reader for a moment."""
    before = -1
    while rows.rendered != before:
        before = rows.rendered
        await asyncio.sleep(0.3)


@pytest.mark.looptime
async def test_a_reader_that_takes_nothing_for_a_minute_is_cut() -> None:
    rows = SetRows(remembered=1000)
    for n in range(1000):
        rows.put("instance", f"east/{n}")
    async with served(rows) as it:
        with slow_reader(it.port):
            async with asyncio.timeout(90):
                while not it.changes.count:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.1)
                await it.none_is_open()


async def test_a_reader_that_goes_leaves_nothing_behind() -> None:
    follower = Follower()
    async with served() as it:
        before = asyncio.all_tasks()
        async with it.reading(follower) as reply:
            await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
            reply.close()
        async with asyncio.timeout(10):
            await it.none_is_open()
            await asyncio.sleep(0.1)

        assert asyncio.all_tasks() == before


async def test_there_are_as_many_streams_as_may_be_and_each_end_makes_room() -> None:
    async with served() as it:
        first, *others = [slow_reader(it.port) for _ in range(64)]
        async with asyncio.timeout(10):
            while it.changes.count < 64:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
            async with it.client.get(PATH) as reply:
                assert reply.status == 503
                assert int(reply.headers["Retry-After"]) > 0
            first.close()
            while it.changes.count == 64:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
            async with it.client.get(PATH) as reply:
                assert reply.status == 200
        for other in others:
            other.close()


async def test_thousands_of_rows_come_in_pieces_between_which_others_have_their_turn() -> None:
    rows, follower = SetRows(remembered=10_000, size=800, chapter=100), Follower()
    for n in range(5000):
        rows.put("instance", f"east/{n}")
    made: list[int] = []  # rows, by each turn of the others

    async def others() -> None:
        while True:
            made.append(rows.rendered)
            await asyncio.sleep(0)

    async with served(rows) as it, it.reading(follower) as reply:
        beside = asyncio.create_task(others())
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
        beside.cancel()

    assert follower.rows == rows.rows
    assert max(after - before for before, after in pairwise(made)) <= 100


# ---- how streams end ---------------------------------------------------------------------------


async def test_streams_end_in_order_and_none_begins_afterwards() -> None:
    follower = Follower()
    async with served() as it, it.reading(follower) as reply:
        await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
        it.changes.close()

        assert await reply.content.read() == b""  # an end in the middle of a chunk would raise
        async with it.client.get(PATH) as refused:
            assert refused.status == 503


async def test_a_reader_that_takes_nothing_does_not_keep_the_server_from_its_end() -> None:
    rows = SetRows(remembered=1000)
    for n in range(1000):
        rows.put("instance", f"east/{n}")
    async with served(rows) as it:
        with slow_reader(it.port):
            await _at_rest(rows)
            it.changes.close()
            async with asyncio.timeout(10):
                await it.runner.cleanup()


@pytest.mark.looptime
async def test_a_stream_ends_in_order_soon_after_its_reader_may_not_read_any_more() -> None:
    asked: list[tuple[str | None, str]] = []
    may_read = True

    async def admit(authorization: str | None, path: str) -> None:
        asked.append((authorization, path))
        if not may_read:
            raise Problem(403, "forbidden", "Forbidden")

    follower = Follower()
    async with served(admit=admit) as it:
        headers = {"Authorization": "Bearer geheim"}
        async with it.client.get(PATH, headers=headers) as reply:
            await read_until(reply, follower, lambda: follower.told[-1:] == ["synced"])
            await asyncio.sleep(5)
            may_read = False
            began = asyncio.get_running_loop().time()
            assert await reply.content.read() == b""

    assert asyncio.get_running_loop().time() - began < 3
    assert set(asked) == {("Bearer geheim", PATH)}
