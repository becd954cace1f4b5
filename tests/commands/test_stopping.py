from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.commands import stopping
from provider.commands.stopping import bury_orphans, until_stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def first_process() -> Iterator[None]:
    """Have orphans become our children, as those of the first process of a container."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


async def test_a_signal_ends_the_work_in_order() -> None:
    has_ended = False

    async def work() -> None:
        nonlocal has_ended
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            has_ended = True

    await until_stopped(work())

    assert has_ended


async def test_work_that_was_cancelled_without_a_signal_is_no_success() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await until_stopped(work())


async def test_orphans_are_buried_and_children_keep_their_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "_BURIAL", 0.3)
    with first_process():
        burying = asyncio.create_task(bury_orphans())
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "sleep 0.1 & echo $!; exit 7", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        assert child.returncode == 7
        orphan = int(output)
        assert is_there(orphan)
        await asyncio.sleep(2)
        assert not is_there(orphan)
        burying.cancel()
