"""The fault proxy does to connections what its switches say."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.proxy import HOST, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER = b"0123456789"


@asynccontextmanager
async def standing_before_a_server() -> AsyncIterator[Proxy]:
    """One that answers each byte with ten."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, count: int = len(ANSWER)) -> bytes:
        self._writer.write(b"?")
        return await self._reader.readexactly(count)

    async def rest(self) -> bytes:
        return await self._reader.read()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def test_it_hands_on_what_comes() -> None:
    async with standing_before_a_server() as proxy, connected(proxy) as client:
        assert await client.ask() == ANSWER
        assert await client.ask() == ANSWER


async def test_it_swallows_on_open_connections_until_it_is_healed() -> None:
    async with standing_before_a_server() as proxy, connected(proxy) as client:
        await client.ask()
        proxy.swallows = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.ask()
        proxy.heal()

        assert await client.ask() == ANSWER


async def test_it_ends_an_answer_in_its_middle() -> None:
    async with standing_before_a_server() as proxy:
        proxy.limit = 4
        async with connected(proxy) as client:
            assert await client.ask(4) == ANSWER[:4]
            assert await client.rest() == b""


async def test_it_slows_answers_down() -> None:
    async with standing_before_a_server() as proxy, connected(proxy) as client:
        await client.ask()
        proxy.rate = 40
        began = asyncio.get_running_loop().time()
        await client.ask()

        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_it_resets_what_is_open_and_what_comes() -> None:
    async with standing_before_a_server() as proxy, connected(proxy) as client:
        await client.ask()
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        proxy.resets = True
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            async with connected(proxy) as other:
                await other.ask()


async def test_it_refuses_tls() -> None:
    async with standing_before_a_server() as proxy:
        proxy.refuses_tls = True
        async with connected(proxy) as client:
            assert (await client.ask(7))[:1] == b"\x15"


async def test_it_closes_all_that_it_opened() -> None:
    async with standing_before_a_server() as proxy, connected(proxy) as client:
        await client.ask()
        await proxy.__aexit__()

        assert not proxy._open
