"""Which rows changed last, in order, as far back as is remembered."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Key = tuple[str, str]


class Ring:
    """The last changes of keys, each key once: at its last change. `size` keys are remembered.

    `sequence` counts all changes ever noted.
    """

    def __init__(self, size: int) -> None:
        self.sequence = 0
        self._size = size
        self._forgotten = 0  # the last change that is not remembered any more
        self._last: dict[Key, int] = {}  # in the order of the changes
        self._news = asyncio.Event()

    def note(self, keys: Iterable[Key]) -> None:
        """These have changed, come or gone, in this order; whoever waits is woken."""
        before = self.sequence
        for key in keys:
            self.sequence += 1
            self._last.pop(key, None)
            self._last[key] = self.sequence
        while len(self._last) > self._size:
            oldest = next(iter(self._last))
            self._forgotten = self._last.pop(oldest)
        if self.sequence != before:
            self._news.set()
            self._news = asyncio.Event()

    def of(self, key: Key) -> int:
        """The number of the key's last change; of one that is not remembered, a number before."""
        return self._last.get(key, self._forgotten)

    def since(self, sequence: int) -> tuple[Key, ...] | None:
        """What changed after `sequence`, in the order of the last change of each.

        None when that is not remembered, or was never reached.
        """
        if not self._forgotten <= sequence <= self.sequence:
            return None
        newest_first = takewhile(lambda one: one[1] > sequence, reversed(self._last.items()))
        return tuple(key for key, _ in newest_first)[::-1]

    async def changed(self, sequence: int) -> None:
        """Return once something has changed after `sequence`."""
        while self.sequence <= sequence:
            await self._news.wait()
