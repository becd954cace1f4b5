from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from provider.ovirt.pace import Pace

STEP = 0.02  # seconds of work


async def steps(pace: Pace, count: int, done: list[float]) -> None:
    for _ in range(count):
        async with pace.step():
            time.sleep(STEP)  # noqa: ASYNC251 - work that keeps the loop
            done.append(asyncio.get_running_loop().time())


async def test_steps_of_all_come_one_at_a_time_and_leave_the_loop_to_others_in_between() -> None:
    pace, done = Pace(), list[float]()
    pace.is_hurried = False

    await asyncio.gather(steps(pace, 2, done), steps(pace, 2, done))

    gaps = [later - earlier for earlier, later in pairwise(done)]
    assert len(gaps) == 3
    assert min(gaps) >= 4 * STEP * 0.95  # three of rest, one of work


async def test_whoever_is_hurried_gives_others_a_turn_only() -> None:
    pace, done, turns = Pace(), list[float](), 0
    task = asyncio.create_task(steps(pace, 3, done))

    while not task.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns >= 3


async def test_a_step_that_fails_gives_its_turn_back() -> None:
    pace = Pace()
    with pytest.raises(ValueError, match="odd"):
        async with pace.step():
            raise ValueError("odd")

    async with pace.step():
        pass
