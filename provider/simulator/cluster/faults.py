"""The ways in which the simulated API server misbehaves, each a knob."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

    from .watch import WatchStream

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Throttle:
    """429 with Retry-After, in seconds."""

    retry_after: int = 1


@dataclass(frozen=True)
class Conflict:
    """409 to a PUT, PATCH or DELETE, which is not stored."""


@dataclass(frozen=True)
class Refusal:
    """A Status of that code and reason: 403 Forbidden, 401 Unauthorized, 500 InternalError."""

    code: int
    reason: str
    message: str = "refused by a fault"


@dataclass(frozen=True)
class BadGateway:
    """502 with the HTML page of a proxy."""


@dataclass(frozen=True)
class GatewayTimeout:
    """504 to a write, which was stored all the same or was not."""

    is_written: bool


@dataclass(frozen=True)
class Reset:
    """The connection is reset with no answer."""


@dataclass(frozen=True)
class ExpiredWatch:
    """410 to a watch: as an ERROR event in a 200 stream, else as the HTTP status."""

    is_event: bool = True


@dataclass(frozen=True)
class EmptyWatch:
    """A watch that is answered with 200 and closed at once."""


@dataclass(frozen=True)
class SilentWatch:
    """A watch that is answered with 200 and never says anything: half-open TCP."""


@dataclass(frozen=True)
class CutFrame:
    """A watch whose first change is cut in the middle of its line."""


Effect = (
    Throttle
    | Conflict
    | Refusal
    | BadGateway
    | GatewayTimeout
    | Reset
    | ExpiredWatch
    | EmptyWatch
    | SilentWatch
    | CutFrame
)
WatchEffect = ExpiredWatch | EmptyWatch | SilentWatch | CutFrame


@dataclass
class Injection:
    """An effect on the next `times` requests that it fits (None: on all, until removed)."""

    effect: Effect
    times: int | None
    methods: frozenset[str]
    path: str

    def fits(self, request: web.Request, *, is_watch: bool) -> bool:
        """Whether the effect makes sense for the request and was meant for it."""
        if self.times == 0 or self.path not in request.path:
            return False
        if self.methods and request.method not in self.methods:
            return False
        match self.effect:
            case Conflict():
                return request.method in ("PUT", "PATCH", "DELETE")
            case GatewayTimeout():
                return request.method in WRITES
            case ExpiredWatch() | EmptyWatch() | SilentWatch() | CutFrame():
                return is_watch
        return True


class Faults:
    """Knobs for tests and the demo. Nothing is wrong until one is turned."""

    def __init__(self) -> None:
        self.latency = 0.0
        """Seconds before each request is looked at."""
        self._injections: list[Injection] = []
        self._running = asyncio.Event()
        self._running.set()
        self._watches: set[WatchStream] = set()

    def inject(
        self,
        effect: Effect,
        *,
        times: int | None = 1,
        methods: Collection[str] = (),
        path: str = "",
    ) -> Injection:
        """The effect for the next `times` fitting requests (None: all, until `remove`).

        `methods` and `path` (a part of it) narrow which requests fit.
        """
        injection = Injection(effect, times, frozenset(methods), path)
        self._injections.append(injection)
        return injection

    def remove(self, injection: Injection) -> None:
        """End an injection; again is harmless."""
        injection.times = 0

    def clear(self) -> None:
        """All is well again: nothing injected, no latency, not frozen."""
        self._injections.clear()
        self.latency = 0.0
        self.thaw()

    def freeze(self) -> None:
        """Every request and every watch hangs, as under SIGSTOP."""
        self._running.clear()

    def thaw(self) -> None:
        """What hung goes on."""
        self._running.set()

    async def thawed(self) -> None:
        """Return when the server is not frozen."""
        await self._running.wait()

    def cut_watches(self) -> None:
        """Reset the connection of every open watch."""
        for stream in tuple(self._watches):
            stream.reset()

    def silence_watches(self) -> None:
        """Open watches never say anything again, not even that they end."""
        for stream in self._watches:
            stream.is_silent = True

    def cut_next_frames(self) -> None:
        """Cut each open watch in the middle of its next line."""
        for stream in self._watches:
            stream.cuts_next_frame = True

    @property
    def open_watches(self) -> int:
        """The number of watches that are being served."""
        return len(self._watches)

    def add_watch(self, stream: WatchStream) -> None:
        """Put a stream within reach of the knobs."""
        self._watches.add(stream)

    def discard_watch(self, stream: WatchStream) -> None:
        """The stream has ended."""
        self._watches.discard(stream)

    def take(self, request: web.Request, *, is_watch: bool) -> Effect | None:
        """The effect due for this request, counted down; None when it is served well."""
        for injection in self._injections:
            if injection.fits(request, is_watch=is_watch):
                if injection.times is not None:
                    injection.times -= 1
                return injection.effect
        return None


def reset_connection(request: web.Request) -> None:
    """Close the request's connection with RST, not FIN."""
    transport = request.transport
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
