"""The connections of the port: never more than a bound, and none that only sits there.

A newcomer always gets in, so that probes do: when there is no room, whoever has been silent for
the longest time gives way, and whoever has shown an accepted token only when nobody else is left.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import structlog
from msgspec import Struct

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

    from provider.metrics import Metrics

_log = structlog.get_logger(__name__)

# Without descriptors or memory for another connection accept() fails at once, again and again.
_BREATH = 0.1  # seconds
_SWEEP = 1.0  # seconds between two looks at what takes too long
_GOODBYE = 1.0  # seconds for the end of TLS, of which a peer has a part


class Bounds(Struct, frozen=True):
    """How many connections there may be, and how many seconds each may take for what."""

    connections: int
    handshake: float = 5
    """Until TLS stands."""
    head: float = 10
    """From the beginning until the first request's head is complete."""
    answer: float = 30
    """From a request's head until its answer is ready, or begins if it is a stream."""
    idle: float = 30
    """From that until the next request's head is complete: to take the answer is part of it."""


class Connection:
    """One connection, from `accept` to its end in whatever state."""

    __slots__ = ("_registry", "cause", "deadline", "is_guest", "task", "transport")

    def __init__(self, registry: Connections, deadline: float) -> None:
        self._registry = registry
        self.deadline = deadline
        self.cause = "head"
        """What takes too long once the deadline is over."""
        self.is_guest = False
        """Whether it has shown an accepted token."""
        self.transport: asyncio.Transport | None = None
        """None until the handshake is done."""
        self.task: asyncio.Task[None] | None = None
        """What is at work for it: the handshake, then the handler of a request."""

    @property
    def is_stream(self) -> bool:
        """Whether the answer has begun and may last."""
        return self.deadline == math.inf

    def begin(self, now: float) -> None:
        """A request's head is complete, and the task that runs answers it."""
        self.cause, self.deadline = "answer", now + self._registry.bounds.answer
        self.task = asyncio.current_task()
        if not self.is_guest:  # of guests only those that idle are compared
            self._registry.heard(self)

    def trust(self) -> None:
        """The request's token was accepted."""
        if not self.is_guest:
            self._registry.welcome(self)

    def flow(self) -> None:
        """The answer has begun and is a stream."""
        self.deadline = math.inf

    def end(self, now: float) -> None:
        """The answer is ready, or the stream has ended."""
        self.cause, self.deadline = "idle", now + self._registry.bounds.idle
        self.task = None
        self._registry.heard(self)

    def opened(self, transport: asyncio.Transport) -> None:
        """It can be spoken on."""
        self.transport = transport

    def lost(self) -> None:
        """It is over."""
        self._registry.forget(self)
        if self.task:
            self.task.cancel()


class Connections:
    """Takes connections from listening sockets and bounds them.

    `protocol` makes what speaks on one; it tells the connection when it is opened and lost. With
    a `context` they are TLS.
    """

    def __init__(
        self,
        bounds: Bounds,
        metrics: Metrics,
        context: ssl.SSLContext | None,
        protocol: Callable[[Connection], asyncio.Protocol],
    ) -> None:
        self.bounds = bounds
        self._metrics = metrics
        self._context = context
        self._protocol = protocol
        # Each in the order of its last sign of life, the longest silent first.
        self._strangers: dict[Connection, None] = {}
        self._guests: dict[Connection, None] = {}
        self._emptied = asyncio.Event()
        metrics.http_connections.set_function(self.__len__)

    def __len__(self) -> int:
        return len(self._strangers) + len(self._guests)

    def __iter__(self) -> Iterator[Connection]:
        yield from (*self._strangers, *self._guests)

    async def accept(self, listener: socket.socket) -> NoReturn:
        """Take what comes to `listener`, one in each turn of the loop, until cancelled."""
        loop = asyncio.get_running_loop()
        is_short = False
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                if not is_short:
                    _log.warning("no connection can be accepted", error=str(error))
                is_short = True
                await asyncio.sleep(_BREATH)
                continue
            is_short = False
            self._take(sock, loop)
            await asyncio.sleep(0)  # a flood must not keep the loop from all else

    async def sweep(self) -> NoReturn:
        """Cut what takes too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            now = loop.time()
            for connection in self:
                if connection.deadline <= now:
                    self._cut(connection, connection.cause)

    async def close(self) -> None:
        """Return when all have ended in order; those that take more than a second are cut."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                while len(self):
                    self._emptied.clear()
                    await self._emptied.wait()
        for connection in self:
            connection.lost()
            if connection.transport:
                connection.transport.abort()

    def end_tasks(self) -> None:
        """End handshakes and streams; requests get their answers."""
        for connection in self:
            if connection.task and (connection.is_stream or connection.transport is None):
                connection.task.cancel()

    def heard(self, connection: Connection) -> None:
        """It has shown a sign of life; nothing if it has been cut meanwhile."""
        some = self._guests if connection.is_guest else self._strangers
        if connection in some:
            del some[connection]
            some[connection] = None

    def welcome(self, connection: Connection) -> None:
        """It has shown an accepted token; nothing if it has been cut meanwhile."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._guests[connection] = None
            connection.is_guest = True

    def forget(self, connection: Connection) -> None:
        """It is over."""
        some = self._guests if connection.is_guest else self._strangers
        some.pop(connection, None)
        self._emptied.set()

    def _take(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        if len(self) >= self.bounds.connections:
            self._cut(self._last_wanted(), "room")
        connection = Connection(self, loop.time() + self.bounds.head)
        self._strangers[connection] = None
        connection.task = loop.create_task(self._open(connection, sock))
        connection.task.add_done_callback(lambda task: _settle(connection, sock, task))

    def _last_wanted(self) -> Connection:
        """Who gives way: a stranger; a guest that is idle; a guest that is served."""
        idle = (one for one in self._guests if one.task is None)
        return next(chain(self._strangers, idle, self._guests))

    def _cut(self, connection: Connection, cause: str) -> None:
        self._metrics.http_connections_cut.labels(cause).inc()
        connection.lost()
        if connection.transport:
            connection.transport.abort()  # a polite end of TLS would wait for the peer

    async def _open(self, connection: Connection, sock: socket.socket) -> None:
        """Have the protocol speak on `sock`, after the handshake if there is one."""
        timeouts: dict[str, float] = {}
        if self._context:
            timeouts["ssl_handshake_timeout"] = self.bounds.handshake
            timeouts["ssl_shutdown_timeout"] = _GOODBYE
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await loop.connect_accepted_socket(
                partial(_Threshold, partial(self._protocol, connection)),
                sock,
                ssl=self._context,
                **timeouts,
            )
        except (OSError, asyncio.CancelledError) as error:
            # The peer broke it off or speaks no TLS that we take; it took too long, or was cut.
            if isinstance(error, OSError) and loop.time() - began >= self.bounds.handshake:
                self._metrics.http_connections_cut.labels("handshake").inc()
            # Its frames hold the buffers of TLS, until the garbage is collected.
            error.__traceback__ = error.__context__ = None


class _Threshold(asyncio.Protocol):
    """Stands where the protocol will, until the handshake is done: a flood gets no more."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the protocol speak."""
        protocol = self._protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _settle(connection: Connection, sock: socket.socket, handshake: asyncio.Task[None]) -> None:
    """After the handshake: it is open, or over."""
    if connection.task is handshake:  # and no request, which may already have begun
        connection.task = None
    if connection.transport is None:
        connection.lost()
        sock.close()
