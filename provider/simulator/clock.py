"""The world's time: seconds of the event loop, and the wall clock that they stand for."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Time since `start`, and timers on it.

    Only the loop's own time counts, so a virtual clock drives the whole simulation. Before
    `start` the time stands at 0 and timers wait.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._wall = datetime.now(UTC).timestamp()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._timers: set[asyncio.TimerHandle] = set()

    def start(self) -> None:
        """Let time run, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        while self._waiting:
            at, _, action = heapq.heappop(self._waiting)
            self._arm(self._loop, at, action)

    def stop(self) -> None:
        """Forget every timer."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def elapsed(self) -> float:
        """Seconds since `start`."""
        return self._loop.time() - self._began if self._loop else 0.0

    def epoch_ms(self) -> int:
        """Now as the engine writes dates: milliseconds since 1970."""
        return int((self._wall + self.elapsed()) * 1000)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` after so many seconds; at once when there are none to wait."""
        if seconds <= 0:
            action()
        elif self._loop is None:
            heapq.heappush(self._waiting, (seconds, next(self._order), action))
        else:
            self._arm(self._loop, seconds, action)

    def _arm(
        self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]
    ) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            action()

        timer = loop.call_later(seconds, fire)
        self._timers.add(timer)
