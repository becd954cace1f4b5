"""Ends a command at SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Coroutine

_BURIAL = 5.0  # seconds


async def until_stopped(work: Coroutine[Any, Any, object]) -> None:
    """Do `work` until it ends, or cancel it at the first SIGTERM or SIGINT.

    The kernel drops a signal for which the first process of a container has no handler, so the
    handlers come before all that takes time. What `work` raises is raised.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    burying = asyncio.create_task(bury_orphans()) if os.getpid() == 1 else None
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    if burying:
        burying.cancel()
    if working.done():
        stopping.cancel()
        working.result()  # work that was cancelled, but not from here, has failed
        return
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def bury_orphans() -> NoReturn:
    """Bury what has ended and nobody waits for, until cancelled.

    Whoever loses its parent in a container becomes a child of the first process. A child of our
    own, such as a plugin that brings a token, is waited for: it is gone at the second look.
    """
    seen = None
    while True:
        await asyncio.sleep(_BURIAL)
        if seen is not None and _ended() == seen:
            _bury(seen)
        seen = _ended()


def _ended() -> int | None:
    """A child that has ended and is not buried; None when there is none."""
    try:
        child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return child.si_pid if child else None


def _bury(child: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, os.WNOHANG)
