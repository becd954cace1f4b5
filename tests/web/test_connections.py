"""Connections that only sit there, take too long or come in floods, and probes among them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from asyncio.sslproto import SSLProtocol
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiohttp import web

from provider.metrics import Metrics
from provider.web.answers import Body, answer_large
from provider.web.connections import Bounds, Connection, Connections
from provider.web.exchange import Protocol
from tests.kube_client.wire import reply, serving
from tests.web.served import ask, protection, server_of, trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path


pytestmark = pytest.mark.looptime

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
GUARDED = b"GET /v1/zones HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"
FEW = 8  # connections that there may be


class Port:
    """An open port, and peers of it that do as they are told."""

    def __init__(self, number: int, metrics: Metrics, context: ssl.SSLContext | None) -> None:
        self.number = number
        self._metrics = metrics
        self._context = context
        self._writers: list[asyncio.StreamWriter] = []
        self.stays = False
        """Whether its peers outlive it."""

    async def peer(self, *, raw: bool = False) -> Peer:
        """A new connection; a `raw` one has not begun with TLS."""
        context = None if raw else self._context
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=context)
        self._writers.append(writer)
        return Peer(reader, writer)

    async def is_answering(self) -> bool:
        """Whether a probe is answered at once."""
        async with asyncio.timeout(1):
            return (await ask(self.number, self._context)).status == 200

    def cut(self, cause: str) -> float:
        """How many connections were cut for this."""
        name = "ovirt_ccm_http_connections_cut_total"
        return self._metrics.registry.get_sample_value(name, {"cause": cause}) or 0

    @property
    def open(self) -> float:
        """How many there are."""
        value = self._metrics.registry.get_sample_value("ovirt_ccm_http_connections")
        assert value is not None
        return value

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class Peer:
    """One connection, as its other end has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def stop_reading(self) -> None:
        assert isinstance(self.writer.transport, asyncio.Transport)
        self.writer.transport.pause_reading()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def request(self, data: bytes = GET) -> int:
        """The status of the answer, whose body is read."""
        self.send(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        await self._reader.readexactly(int(length.split()[1]))
        return int(head.split()[1])

    async def is_cut(self) -> bool:
        """Whether the other end has closed it, or does so within a tenth of a second."""
        try:
            async with asyncio.timeout(0.1):
                return await self._reader.read(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


@asynccontextmanager
async def port(
    folder: Path, *, tls: bool = False, routes: Any = (), **settings: Any
) -> AsyncIterator[Port]:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        facts: dict[str, Any] = {"metrics": metrics, "routes": routes, **settings}
        if tls:
            api = await stack.enter_async_context(serving(lambda _: reply(201, ADMITTED)))
            facts["protection"] = await stack.enter_async_context(
                protection(folder, metrics, api.url)
            )
        server = await stack.enter_async_context(server_of(**facts))
        opened = Port(server.port, metrics, trusting() if tls else None)
        try:
            yield opened
        finally:
            if not opened.stays:
                opened.close()


ADMITTED = {"status": {"authenticated": True, "user": {"username": "alice"}, "allowed": True}}


async def empty(_request: web.Request) -> web.Response:
    return web.Response(text="{}")


async def test_one_that_sends_no_request_is_cut_after_ten_seconds(tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()
        await asyncio.sleep(9)
        assert not await peer.is_cut()

        await asyncio.sleep(2.5)

        assert await peer.is_cut()
        assert (opened.cut("head"), opened.open) == (1, 0)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_head_that_comes_byte_by_byte_is_cut_after_ten_seconds(
    tls: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    async with port(tmp_path, tls=tls) as opened:
        peer = await opened.peer()
        for byte in GET[:12]:
            peer.send(bytes([byte]))
            await asyncio.sleep(1)

        assert await peer.is_cut()
        assert opened.cut("head") == 1


async def test_a_handshake_may_take_five_seconds(tmp_path: Path) -> None:
    async with port(tmp_path, tls=True) as opened:
        silent, slow = await opened.peer(raw=True), await opened.peer(raw=True)
        for byte in b"\x16\x03\x01\x02\x00\x01":
            slow.send(bytes([byte]))
            await asyncio.sleep(1)

        assert await silent.is_cut()
        assert await slow.is_cut()
        assert (opened.cut("handshake"), opened.open) == (2, 0)


@pytest.mark.parametrize("content", [GET, b"\x00" * 100, b""])
async def test_what_is_no_tls_is_nothing_to_wait_for(content: bytes, tmp_path: Path) -> None:
    async with port(tmp_path, tls=True) as opened:
        peer = await opened.peer(raw=True)
        peer.send(content)
        if not content:
            peer.writer.write_eof()
        await asyncio.sleep(0.5)

        assert opened.open == 0
        assert await opened.is_answering()


async def test_an_idle_one_is_cut_after_thirty_seconds(tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()
        for _ in range(3):
            assert await peer.request() == 200
            await asyncio.sleep(25)
        await asyncio.sleep(7)

        assert await peer.is_cut()
        assert (opened.cut("idle"), opened.open) == (1, 0)


async def test_an_answer_that_does_not_come_ends_the_connection(tmp_path: Path) -> None:
    ended: list[bool] = []

    async def hang(_request: web.Request) -> web.Response:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)
        raise AssertionError

    async with port(tmp_path, routes=[web.get("/v1/zones", hang)]) as opened:
        peer = await opened.peer()
        peer.send(GUARDED)
        await asyncio.sleep(32)

        assert await peer.is_cut()
        assert opened.cut("answer") == 1
        assert ended


async def test_a_stream_lasts_and_ends_with_its_client(tmp_path: Path) -> None:
    ended: list[bool] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)
        return response

    async with port(tmp_path, routes=[web.get("/v1/changes", stream)]) as opened:
        peer = await opened.peer()
        peer.send(GUARDED.replace(b"zones", b"changes"))
        await asyncio.sleep(300)
        assert (opened.open, ended) == (1, [])

        opened.close()
        await asyncio.sleep(0.1)

        assert (opened.open, ended) == (0, [True])


async def test_what_waits_for_a_slow_reader_of_a_large_answer_is_bounded(tmp_path: Path) -> None:
    document = Body(bytes(32 * 2**20))
    transports: list[asyncio.Transport] = []

    async def large(request: web.Request) -> web.Response:
        assert isinstance(request.transport, asyncio.Transport)
        transports.append(request.transport)
        return await answer_large(request, document, "1", 0)

    async with port(tmp_path, routes=[web.get("/v1/zones", large)]) as opened:
        slow, quick = await opened.peer(), await opened.peer()
        slow.stop_reading()
        slow.send(GUARDED)
        await asyncio.sleep(5)

        assert transports[0].get_write_buffer_size() < 2**20
        assert await quick.request(GUARDED) == 200
        await asyncio.sleep(30)
        assert await opened.is_answering()
        assert opened.cut("idle") == 2


async def test_the_longest_silent_gives_way_to_a_newcomer(tmp_path: Path) -> None:
    async with port(tmp_path, connections=FEW) as opened:
        peers = [await opened.peer() for _ in range(FEW)]
        for peer in peers:
            assert await peer.request() == 200
        assert await peers[0].request() == 200

        assert await opened.is_answering()

        assert await peers[1].is_cut()
        assert not any([await peer.is_cut() for peer in (peers[0], *peers[2:])])
        assert opened.cut("room") == 1


async def test_whoever_has_shown_an_accepted_token_gives_way_last(tmp_path: Path) -> None:
    async with port(
        tmp_path, tls=True, routes=[web.get("/v1/zones", empty)], connections=FEW
    ) as opened:
        guest = await opened.peer()
        assert await guest.request(GUARDED) == 200
        for _ in range(3 * FEW):
            await (await opened.peer()).request()

        assert await guest.request(GUARDED) == 200
        assert opened.open == FEW


async def test_one_that_waits_for_its_answer_gives_way_after_one_that_idles(
    tmp_path: Path,
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        return web.Response(text="{}")

    routes = [web.get("/v1/zones", empty), web.get("/v1/nodes", slow)]
    async with port(tmp_path, tls=True, routes=routes, connections=FEW) as opened:
        guests = [await opened.peer() for _ in range(FEW)]
        for guest in guests:
            assert await guest.request(GUARDED) == 200
        answer = asyncio.create_task(guests[0].request(GUARDED.replace(b"zones", b"nodes")))
        await asked.wait()

        assert await opened.is_answering()

        may_answer.set()
        assert await answer == 200
        assert await guests[1].is_cut()


async def test_a_newcomer_gets_in_though_all_have_shown_a_token(tmp_path: Path) -> None:
    async with port(
        tmp_path, tls=True, routes=[web.get("/v1/zones", empty)], connections=FEW
    ) as opened:
        guests = [await opened.peer() for _ in range(FEW)]
        for guest in guests:
            assert await guest.request(GUARDED) == 200

        assert await opened.is_answering()

        assert await guests[0].is_cut()


@pytest.mark.parametrize("tls", [False, True])
async def test_hundreds_of_idle_connections_keep_no_probe_out(
    tls: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    async with port(tmp_path, tls=tls, connections=FEW) as opened:
        for number in range(300):
            await opened.peer(raw=True)
            assert opened.open <= FEW
            if number % 50 == 0:
                assert await opened.is_answering()

        assert await opened.is_answering()
        assert opened.cut("room") >= 290 - FEW


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked", b"Content-Length: 3"]
)
async def test_a_body_is_refused_before_it_has_come(framing: bytes, tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()

        status = await peer.request(GET.replace(b"Host: x", b"Host: x\r\n" + framing))

        assert status == 413


async def test_nothing_is_answered_behind_a_body(tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()

        body = GET.replace(b"Host: x", b"Host: x\r\nContent-Length: 3").replace(b"GET", b"POST")
        assert await peer.request(body + b"abc" + GET) == 413

        assert await peer.is_cut()


async def test_a_body_without_end_is_not_read(tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()
        peer.send(GET.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked"))
        sent = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    peer.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    sent += 0x10000
                    await peer.writer.drain()
                    await asyncio.sleep(0.01)

        assert opened.open == 0
        assert sent < 32 * 2**20  # what a second holds at this pace, and what lay in buffers


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=["many", "long", "path", "nonsense"],
)
async def test_a_head_that_is_too_large_or_none_is_a_problem(head: bytes, tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()

        assert await peer.request(head) == 400

        assert await peer.is_cut()


async def test_a_head_without_end_takes_no_memory(tmp_path: Path) -> None:
    async with port(tmp_path) as opened:
        peer = await opened.peer()
        peer.send(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(10_000):
                peer.send(b"X-%d: y\r\n" % number)
                await peer.writer.drain()
        await asyncio.sleep(0.1)

        assert opened.open == 0


async def test_what_is_accepted_inherits_the_time_for_unacknowledged_bytes(
    tmp_path: Path,
) -> None:
    seen: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.transport
        sock = request.transport.get_extra_info("socket")
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        return web.Response()

    async with port(tmp_path, routes=[web.get("/v1/zones", handler)]) as opened:
        await (await opened.peer()).request(GUARDED)

    assert seen == [30_000]


async def test_one_that_says_no_goodbye_holds_the_end_up_for_a_second(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with port(tmp_path, tls=True) as opened:
        polite = await opened.peer()
        assert await polite.request() == 200
        deaf = await opened.peer()
        assert await deaf.request() == 200
        deaf.stop_reading()
        opened.stays = True
        began = loop.time()

    assert loop.time() - began < 1.5
    assert opened.open == 0
    opened.close()


async def test_when_none_can_be_accepted_it_says_so_once_and_goes_on() -> None:
    def protocol(connection: Connection) -> asyncio.Protocol:
        connection.opened(asyncio.Transport())
        return asyncio.Protocol()

    connections = Connections(Bounds(FEW), Metrics(), None, protocol)
    with socket.socket() as listener, structlog.testing.capture_logs() as entries:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0)
        accepting = asyncio.create_task(connections.accept(listener))
        await asyncio.sleep(1)
        assert [entry["event"] for entry in entries] == ["no connection can be accepted"]

        listener.listen()
        _, writer = await asyncio.open_connection(*listener.getsockname())
        await asyncio.sleep(0.5)

        assert len(connections) == 1
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        writer.transport.abort()
        await asyncio.sleep(0.1)


async def test_what_is_refused_leaves_no_buffers_to_the_garbage_collector(tmp_path: Path) -> None:
    def alive() -> int:
        return sum(
            isinstance(one, Protocol) or (isinstance(one, SSLProtocol) and one._server_side)
            for one in gc.get_objects()
        )

    gc.collect()
    gc.disable()
    try:
        before = alive()
        async with port(tmp_path, tls=True, connections=FEW) as opened:
            for _ in range(10):
                peer = await opened.peer()
                assert await peer.request(b"X: " + b"y" * 20_000) == 400
            for _ in range(2 * FEW):
                await opened.peer(raw=True)
            opened.close()
            await asyncio.sleep(2)
            assert alive() == before
    finally:
        gc.enable()
