"""Ends a command at SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def until_stopped(work: Coroutine[Any, Any, object]) -> None:
    """Do `work` until it ends, or cancel it at the first SIGTERM or SIGINT.

    The kernel drops a signal for which the first process of a container has no handler, so the
    handlers come before all that takes time. What `work` raises is raised.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.getpid() == 1:
        # Whoever loses its parent in a container becomes ours: ended, the kernel buries it.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        stopping.cancel()
        working.result()  # work that was cancelled, but not from here, has failed
        return
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
