"""Answers in one piece say what all others say."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from provider.web.answers import answer
from provider.web.ready import Ready
from tests.web.served import served

BODY = b'{"name":"w1"}'
made: list[web.Response] = []


async def _small(request: web.Request) -> web.Response:
    made.append(answer(request, BODY, "tag-1", 3.7))
    return made[-1]


async def ask(*requests: str) -> list[tuple[str, dict[str, str], bytes]]:
    """The answers to these requests, sent at once on one connection: status, headers and body."""
    made.clear()
    async with served(routes=[web.get("/small", _small)]) as (_, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for request in requests:
            writer.write(request.replace("\n", "\r\n").encode())
        try:
            return [await _read(reader, is_head=r.startswith("HEAD")) for r in requests]
        finally:
            writer.close()
            await writer.wait_closed()


async def _read(
    reader: asyncio.StreamReader, *, is_head: bool
) -> tuple[str, dict[str, str], bytes]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    size = 0 if is_head else int(headers.get("Content-Length", 0))
    return status, headers, await reader.readexactly(size)


GET = "GET /small HTTP/1.1\nHost: x\n\n"


async def test_it_says_what_an_answer_of_any_kind_says() -> None:
    ((status, headers, body),) = await ask(GET)
    ((ordinary_status, ordinary, ordinary_body),) = await ask(
        "GET /small HTTP/1.1\nHost: x\nConnection: close\n\n"
    )

    assert (status, body) == (ordinary_status, ordinary_body) == ("HTTP/1.1 200 OK", BODY)
    assert ordinary.pop("Connection") == "close"
    assert headers.pop("Date").endswith(" GMT")
    assert ordinary.pop("Date").endswith(" GMT")
    assert headers == ordinary


async def test_requests_on_one_connection_are_answered_in_turn() -> None:
    answers = await ask(GET, GET, GET)

    assert [body for _, _, body in answers] == [BODY] * 3
    assert all(isinstance(one, Ready) for one in made)


@pytest.mark.parametrize(
    "request_",
    [
        "HEAD /small HTTP/1.1\nHost: x\n\n",
        "GET /small HTTP/1.0\nHost: x\n\n",
        "GET /small HTTP/1.1\nHost: x\nConnection: close\n\n",
        'GET /small HTTP/1.1\nHost: x\nIf-None-Match: W/"tag-1"\n\n',
    ],
)
async def test_whoever_asks_for_something_else_gets_an_ordinary_answer(request_: str) -> None:
    await ask(request_)

    assert not isinstance(made[0], Ready)
