"""A byte stream as lines, however long they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines in `chunks`, without newline; empty ones are left out.

    A rest without a newline comes last. aiohttp's own `readline` refuses a line that is longer
    than its buffer, and a Node may have a megabyte.
    """
    rest: list[bytes] = []
    async for chunk in chunks:
        *complete, last = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join((*rest, complete[0]))
            rest.clear()
        rest.append(last)
        for line in complete:
            if line:
                yield line
    if tail := b"".join(rest):
        yield tail
