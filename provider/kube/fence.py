"""Keeps writes back that could arrive when another replica leads."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from provider.errors import NotLeading

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp.abc import AbstractStreamWriter

_Answer = TypeVar("_Answer")

# Between the end of a request and the end of the lease: the clocks of two machines do not run
# equally fast, and a busy loop is late.
_MARGIN = 1.0
# A write that has less time than this is not worth sending.
_LEAST = 1.0
# A write takes some ms; one that was sent is waited for so long when the program ends.
_PATIENCE = 1.0


class Fence:
    """Lets a write through only when the lease outlasts it.

    `time_left` says for how many seconds nobody else can lead; 0 for who does not lead.
    """

    def __init__(self, time_left: Callable[[], float]) -> None:
        self._time_left = time_left

    def allowance(self, what: object) -> float:
        """Seconds after which a request must have ended, wherever it hangs; NotLeading if none."""
        left = self._time_left() - _MARGIN
        if left < _LEAST:
            raise NotLeading(f"{what}: not sent: the lease is not held, or ends too soon.")
        return left

    def body(self, what: object, raw: bytes, content_type: str) -> aiohttp.BytesPayload:
        """`raw` as a body that looks at the lease once more when its bytes are about to go.

        A process that was stopped while it waited for a connection wakes up at this point.
        """
        return _FencedBody(raw, content_type, lambda: self.allowance(what))

    async def finish(self, exchange: Coroutine[Any, Any, _Answer]) -> _Answer:
        """The answer; a cancellation waits a little until it is there.

        Else a write that was given up at the end of the program could be done after another has
        taken the lease that was released.
        """
        task = asyncio.create_task(exchange)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,), timeout=_PATIENCE)
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()
            raise


def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A new socket, whose kernel drops bytes that the other side has not acknowledged in time.

    Else it goes on sending a write for minutes after the program has given it up or was stopped,
    and delivers it once the network is whole again.
    """
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    if sys.platform == "linux":
        milliseconds = round((_MARGIN + _LEAST) * 1000)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return opened


def refusal(error: BaseException) -> NotLeading | None:
    """The refusal of a body behind what aiohttp made of it; None when it is something else."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, NotLeading):
            return cause
        cause = cause.__cause__
    return None


class _FencedBody(aiohttp.BytesPayload):
    """Bytes that go out together with the headers, right after `check`."""

    def __init__(self, raw: bytes, content_type: str, check: Callable[[], object]) -> None:
        super().__init__(raw, content_type=content_type)
        self._check = check

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write them; NotLeading when it is too late, and nothing has gone out."""
        self._check()
        await super().write_with_length(writer, content_length)
