from __future__ import annotations

import asyncio
import os
import signal

import pytest

from provider.commands.stopping import until_stopped


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
