"""Names that have something to be done: each once, delayed, with back-off, one worker a name."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.metrics import Metrics

# client-go's DefaultTypedItemBasedRateLimiter.
_FIRST_RETRY = 0.005
_LAST_RETRY = 1000.0
# Entries of the heap that were overtaken are dropped when they outnumber the others by far.
_SLACK = 64


class WorkQueue:
    """The queue; for one event loop.

    `add` and its kin never block and never lose a name: a name that is added while it is worked
    on comes again afterwards. Names come in the order in which they fell due. Every operation
    costs at most O(log n).
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._due: dict[str, float] = {}  # names in _ready, and when they fell due
        self._active: set[str] = set()
        self._again: dict[str, float] = {}  # added while active
        self._delayed: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        """Names that could be worked on now."""
        return len(self._due)

    def add(self, name: str) -> None:
        """Have `name` worked on as soon as a worker is free."""
        self._fall_due(name, asyncio.get_running_loop().time())

    def add_after(self, name: str, delay: timedelta) -> None:
        """Have `name` worked on after `delay`; of several delays the earliest end counts."""
        self._schedule(name, delay.total_seconds())

    def retry(self, name: str) -> timedelta:
        """Have `name` worked on again after its back-off, which is returned.

        5 ms, doubled by each call up to 1000 s, until `forget`.
        """
        failures = self._failures.get(name, 0)
        self._failures[name] = failures + 1
        # 2**18 is beyond the last one; the power of a long outage would not fit a float.
        delay = min(_FIRST_RETRY * 2 ** min(failures, 18), _LAST_RETRY)
        self._schedule(name, delay)
        return timedelta(seconds=delay)

    def forget(self, name: str) -> None:
        """Let the next back-off of `name` be the shortest again."""
        self._failures.pop(name, None)

    async def get(self) -> str:
        """The next name, now the caller's until `done`."""
        name = await self._ready.get()
        due = self._due.pop(name)
        self._active.add(name)
        self._metrics.queue_depth.set(len(self._due))
        self._metrics.queue_delay.observe(asyncio.get_running_loop().time() - due)
        return name

    def done(self, name: str) -> None:
        """Give `name` back after `get`."""
        self._active.remove(name)
        if (due := self._again.pop(name, None)) is not None:
            self._fall_due(name, due)

    def close(self) -> None:
        """Stop the timer: nothing falls due any more."""
        if self._timer:
            self._timer.cancel()

    def _fall_due(self, name: str, due: float) -> None:
        if name in self._active:
            self._again.setdefault(name, due)
        elif name not in self._due:
            self._due[name] = due
            self._ready.put_nowait(name)
            self._metrics.queue_depth.set(len(self._due))

    def _schedule(self, name: str, delay: float) -> None:
        due = asyncio.get_running_loop().time() + delay
        if due >= self._delayed.get(name, float("inf")):
            return
        self._delayed[name] = due
        heapq.heappush(self._heap, (due, name))
        if len(self._heap) > 2 * len(self._delayed) + _SLACK:
            self._heap = [(due, name) for name, due in self._delayed.items()]
            heapq.heapify(self._heap)
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._release, due)

    def _release(self, now: float) -> None:
        """Make everything ready that is due at `now`, the time that the timer was set for.

        The loop may be early by the resolution of its clock.
        """
        self._timer = None
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            if self._delayed.get(name) == due:
                del self._delayed[name]
                self._fall_due(name, due)
        self._set_timer()
