"""Answers in JSON: validators, age and compression."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from provider.web.ready import Ready, takes_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

# Less is not worth the header.
_SMALL = 1024
# More takes longer to compress than others should have to wait.
_LARGE = 32 * 1024
_PIECE = 64 * 1024

# Whoever keeps an answer must ask each time whether it still is true.
_HEADERS: dict[str, str] = {
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.CACHE_CONTROL: "private, no-cache",
}
_LINES = "".join(f"{name}: {value}\r\n" for name, value in _HEADERS.items())


class Body:
    """A document in JSON, compressed once however often and by however many it is asked for."""

    def __init__(self, plain: bytes) -> None:
        self.plain = plain
        self._work: asyncio.Future[bytes] | None = None

    async def compressed(self) -> bytes:
        """The document in gzip, made in another thread."""
        if self._work is None:
            loop = asyncio.get_running_loop()
            self._work = loop.run_in_executor(None, _gzip, self.plain)
        # Whoever goes away must not take it from the others.
        return await asyncio.shield(self._work)


def _gzip(plain: bytes) -> bytes:
    # Level 1: a list of 5,000 instances in a fourth of the time that the usual level takes.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(plain) + compressor.flush()


def answer(request: web.Request, body: bytes, etag: str, age: float) -> web.Response:
    """A small document: `etag` without quotes, `age` in seconds; 304 when the client has it."""
    if len(body) <= _SMALL and takes_ready(request):
        lines = f'{_LINES}{hdrs.ETAG}: W/"{etag}"\r\n{hdrs.AGE}: {int(age)}\r\n'
        return Ready(lines, body)
    headers = _headers(len(body), etag, age)
    if hdrs.IF_NONE_MATCH in request.headers and _is_known(request, etag):
        return web.Response(status=304, headers=headers)
    if len(body) > _SMALL and _takes_gzip(request):
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        body = _gzip(body)
    return web.Response(body=body, headers=headers)


async def answer_large(request: web.Request, body: Body, etag: str, age: float) -> web.Response:
    """The same of a document of any size."""
    if len(body.plain) < _LARGE:
        return answer(request, body.plain, etag, age)
    headers = _headers(len(body.plain), etag, age)
    if hdrs.IF_NONE_MATCH in request.headers and _is_known(request, etag):
        return web.Response(status=304, headers=headers)
    if not _takes_gzip(request):
        return _in_pieces(body.plain, headers)
    headers[hdrs.CONTENT_ENCODING] = "gzip"
    return _in_pieces(await body.compressed(), headers)


def _in_pieces(body: bytes, headers: dict[str, Any]) -> web.Response:
    """Sent as its reader takes it: hundreds of slow ones have the document in common."""
    if len(body) <= _PIECE:
        return web.Response(body=body, headers=headers)
    headers[hdrs.CONTENT_LENGTH] = str(len(body))
    return web.Response(body=_pieces(memoryview(body)), headers=headers)


async def _pieces(body: memoryview) -> AsyncIterator[memoryview]:
    for first in range(0, len(body), _PIECE):
        yield body[first : first + _PIECE]


def _headers(size: int, etag: str, age: float) -> dict[str, Any]:
    headers: dict[str, Any] = {**_HEADERS, hdrs.ETAG: f'W/"{etag}"', hdrs.AGE: str(int(age))}
    if size > _SMALL:
        headers[hdrs.VARY] = "Accept-Encoding"
    return headers


def _takes_gzip(request: web.Request) -> bool:
    return takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))


def _is_known(request: web.Request, etag: str) -> bool:
    return any(one.value in (etag, "*") for one in request.if_none_match or ())


@lru_cache(maxsize=64)
def takes_gzip(accepted: str) -> bool:
    """Whether a client that accepts these encodings takes gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, str] = {}
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.strip().removeprefix("q=")
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != "" or weight == ""
