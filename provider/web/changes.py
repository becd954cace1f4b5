"""`GET /v1/changes`: what the catalogue knows and each change of it, as server-sent events.

The format is the HTML standard's (9.2, server-sent events), so that a browser's EventSource reads
it and resumes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from provider.web.feed import Feed, Rows
from provider.web.operations import Operation
from provider.web.problems import Problem
from provider.web.query import ChangesQuery, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.abc import AbstractStreamWriter

    Admit = Callable[[str | None, str], Awaitable[object]]

KINDS = frozenset({"instance", "node", "engine"})
"""The kinds of rows."""

PATH = "/v1/changes"

# Each stream costs a little of every change, and up to a megabyte while its reader is slow.
_STREAMS = 64
_FULL_RETRY = 15  # seconds; streams are long, so that coming sooner would help nobody
_RECONNECT = 3000  # milliseconds until a reader that lost its stream comes again
# Proxies cut connections that are silent for a minute, some for half of one.
_HEARTBEAT = 15.0
_PATIENCE = 60.0  # seconds in which a reader must take something of what waits for it
_LOOK = 1.0  # seconds between two looks at whether a reader is still there and may read
# All Nodes of a cluster may change at once: what comes close together is told together.
_GATHER = 0.1
_GOODBYE = 1.0  # seconds for the last bytes of a stream

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies of the nginx family would keep events back
}


class Catalogue(Rows, Protocol):
    """What the streams follow."""

    async def changed(self, sequence: int) -> None:
        """Return once something has changed after `sequence`."""
        ...


class Changes:
    """The streams of one catalogue.

    `admit` takes the Authorization header and the path, and raises a Problem when they must not be
    served (any more); None where all are. `close` ends all streams, and afterwards none begins.
    """

    def __init__(self, catalogue: Catalogue, admit: Admit | None) -> None:
        self._catalogue = catalogue
        self._admit = admit
        self._streams: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def operation(self) -> Operation:
        """What is served here."""
        return Operation(
            PATH,
            "followChanges",
            "Rows and each change of them, as server-sent events.",
            self.stream,
            str,
            {503: "There are as many streams as may be."},
            ChangesQuery,
            media_type="text/event-stream",
        )

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def close(self) -> None:
        """End all streams in order: readers see the end, and come to another replica."""
        self._is_closed = True
        for stream in self._streams:
            stream.cancel()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Events from `Last-Event-ID`, or `?since=`, on; Problem 400 or 503 instead of them.

        Ends when the reader goes, takes nothing for a minute or may not read any more.
        """
        query = read(request, ChangesQuery)
        response = web.StreamResponse(headers=_HEADERS)
        if request.method == "HEAD":
            return response
        if self._is_closed or self.count >= _STREAMS:
            raise _too_many()
        kinds = frozenset(query.kind) or KINDS
        last = request.headers.get("Last-Event-ID") or query.since
        feed = Feed(self._catalogue, kinds, last)
        stream = asyncio.create_task(self._tell(request, response, feed))
        self._streams.add(stream)
        stream.add_done_callback(self._streams.discard)
        try:
            await asyncio.wait((stream,))
        finally:
            stream.cancel()
        if not stream.cancelled():
            stream.result()
        await _end(request, response)
        return response

    async def _tell(self, request: web.Request, response: web.StreamResponse, feed: Feed) -> None:
        """Tell until the reader is gone or may not read any more."""
        with contextlib.suppress(ConnectionError, Problem):
            writer = await response.prepare(request)
            if writer is None:
                return
            try:
                await self._tell_all(request, _Reader(writer), feed)
            except TimeoutError:
                _abort(request)

    async def _tell_all(self, request: web.Request, reader: _Reader, feed: Feed) -> None:
        await reader.take(b"retry: %d\n\n" % _RECONNECT)
        looked = _now()
        while True:
            if _now() - looked >= _LOOK:
                await self._require_right(request)
                looked = _now()
            if (piece := feed.take()) is not None:
                await reader.take(piece)
            elif _now() - reader.told >= _HEARTBEAT:
                await reader.take(feed.heartbeat())
            else:
                await self._news(feed.position)

    async def _require_right(self, request: web.Request) -> None:
        """ConnectionError when the reader is gone, Problem when it may not read any more."""
        if request.transport is None or request.transport.is_closing():
            raise ConnectionError
        if self._admit:
            await self._admit(request.headers.get("Authorization"), request.path)

    async def _news(self, position: int) -> None:
        """Return a little after the next change, or when it is time to look at the reader."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._catalogue.changed(position)
            await asyncio.sleep(_GATHER)


class _Reader:
    """The other end of a stream; `told` is when it was last told something."""

    def __init__(self, writer: AbstractStreamWriter) -> None:
        self._writer = writer
        self.told = _now()

    async def take(self, piece: bytes) -> None:
        """Return when there is room for more; TimeoutError when there is none for too long."""
        if piece:
            self.told = _now()
            async with asyncio.timeout(_PATIENCE):
                await self._writer.write(piece)
                await self._writer.drain()
        await asyncio.sleep(0)  # while there is room nothing else lets others have their turn


def _now() -> float:
    return asyncio.get_running_loop().time()


def _too_many() -> Problem:
    detail = "This replica has no stream left: ask another, or later."
    return Problem(503, "too-many-streams", "Too many streams", detail, retry_after=_FULL_RETRY)


async def _end(request: web.Request, response: web.StreamResponse) -> None:
    """Say that this is the end, unless the reader has no room even for that."""
    if not response.prepared:
        return
    try:
        async with asyncio.timeout(_GOODBYE):
            await response.write_eof()
    except ConnectionError:
        return
    except TimeoutError:
        _abort(request)


def _abort(request: web.Request) -> None:
    """Cut the connection: what waits for the reader is dropped."""
    if request.transport:
        request.transport.abort()
