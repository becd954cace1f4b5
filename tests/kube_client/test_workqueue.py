"""The keyed queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from provider.kube.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.metrics import Metrics

pytestmark = pytest.mark.looptime


@pytest.fixture
async def queue(metrics: Metrics) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(metrics)
    yield queue
    queue.close()


async def _take(queue: WorkQueue) -> tuple[str, float]:
    name = await queue.get()
    return name, asyncio.get_running_loop().time()


async def test_a_name_that_is_added_twice_comes_once(queue: WorkQueue) -> None:
    queue.add("a")
    queue.add("a")
    queue.add("b")

    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_name_has_one_worker_at_a_time_and_comes_again_afterwards(
    queue: WorkQueue,
) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("b")

    assert await queue.get() == "b"
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_name_that_nobody_added_again_is_done(queue: WorkQueue) -> None:
    queue.add("a")
    queue.done(await queue.get())

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), timeout=3600)


async def test_the_earliest_of_several_delays_counts(queue: WorkQueue) -> None:
    queue.add_after("a", timedelta(seconds=60))
    queue.add_after("a", timedelta(seconds=10))
    queue.add_after("a", timedelta(seconds=30))

    assert await _take(queue) == ("a", 10)
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), timeout=3600)


async def test_names_come_in_the_order_in_which_they_fall_due(queue: WorkQueue) -> None:
    queue.add_after("late", timedelta(seconds=9))
    queue.add_after("early", timedelta(seconds=3))
    queue.add("now")
    await asyncio.sleep(20)

    assert [await queue.get() for _ in range(3)] == ["now", "early", "late"]


async def test_the_back_off_doubles_from_5_ms_to_1000_s_and_is_forgotten(
    queue: WorkQueue,
) -> None:
    delays = [queue.retry("a").total_seconds() for _ in range(2000)]

    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[17:20] == [655.36, 1000, 1000]
    assert delays[-1] == 1000
    assert queue.retry("b").total_seconds() == 0.005
    queue.forget("a")
    assert queue.retry("a").total_seconds() == 0.005


async def test_a_retry_comes_after_its_back_off(queue: WorkQueue) -> None:
    for _ in range(3):
        queue.retry("a")

    assert await _take(queue) == ("a", 0.005)


async def test_a_delay_that_ends_while_the_name_is_worked_on_waits_for_it(
    queue: WorkQueue,
) -> None:
    queue.add("a")
    await queue.get()
    queue.add_after("a", timedelta(seconds=1))
    await asyncio.sleep(5)

    assert len(queue) == 0
    queue.done("a")
    assert await _take(queue) == ("a", 5)


async def test_a_waiting_worker_that_is_cancelled_takes_no_name_with_it(queue: WorkQueue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await asyncio.wait_for(queue.get(), timeout=1) == "a"


async def test_many_workers_work_on_many_names_at_once(queue: WorkQueue) -> None:
    active: set[str] = set()
    most = 0

    async def work() -> None:
        nonlocal most
        while True:
            name = await queue.get()
            assert name not in active
            active.add(name)
            most = max(most, len(active))
            await asyncio.sleep(1)
            active.remove(name)
            queue.done(name)

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(8)]
        for name in ["a", "b", "c", "d", "e"] * 3:
            queue.add(name)
            await asyncio.sleep(0.3)
        await asyncio.sleep(10)
        for worker in workers:
            worker.cancel()

    assert most >= 3
    assert not active


async def test_delays_that_were_overtaken_do_not_pile_up(queue: WorkQueue) -> None:
    for hours in range(2000, 0, -1):
        queue.add_after("a", timedelta(hours=hours))

    assert len(queue._heap) < 100
    assert await _take(queue) == ("a", 3600)


async def test_depth_and_delay_are_measured(queue: WorkQueue, metrics: Metrics) -> None:
    queue.add("a")
    queue.add_after("b", timedelta(seconds=1))
    await asyncio.sleep(3)

    assert metrics.registry.get_sample_value("ovirt_ccm_queue_depth") == 2
    await queue.get()
    await queue.get()
    assert metrics.registry.get_sample_value("ovirt_ccm_queue_depth") == 0
    assert metrics.registry.get_sample_value("ovirt_ccm_queue_delay_seconds_sum") == 3 + 2
