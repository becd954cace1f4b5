"""Long work on an engine's answers in short steps, so that others are served in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# After a step the loop is left to others so many times as long: three quarters are theirs.
_REST = 3


class Pace:
    """Steps of work, one at a time whoever does them, each followed by a rest.

    Without a rest each turn of the loop would have a step in it, and whoever asks for more than is
    answered in the rest of a turn would wait for all of the listing. `is_hurried` leaves the rests
    out: at the beginning nobody can be answered, and nodes wait.
    """

    def __init__(self) -> None:
        self.is_hurried = True
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Do a step inside of it: some milliseconds of work that waits for nothing."""
        clock = asyncio.get_running_loop().time
        async with self._turn:
            began = clock()
            yield
            await asyncio.sleep(0 if self.is_hurried else _REST * (clock() - began))
