"""An engine that is restored from a backup while no replica runs costs no node either."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from provider.simulator.cluster import BadGateway
from tests.controllers.lab import until
from tests.controllers.test_lifecycle import LONG, herd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.controllers.test_lifecycle import Herd

pytestmark = pytest.mark.looptime

WRITTEN = 610.0  # seconds: five minutes, and until nodes are looked at without a reason


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[Herd]:
    """Two nodes, and the newest event of their engine on record."""
    async with herd(folder, intervals={"events": "20s"}) as nodes, following(nodes):
        for _ in range(20):
            nodes.lab.engine.world.write_event(30, {})
        await until(lambda: nodes.lab.writes("POST", "/leases"), within=WRITTEN)
        yield nodes


@asynccontextmanager
async def following(nodes: Herd) -> AsyncIterator[None]:
    feed = asyncio.create_task(nodes.lab.feed.run())
    try:
        yield
    finally:
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)


def recorded_event(nodes: Herd) -> str:
    """What names the newest event of the engine in the record."""
    return str(nodes.record["events"][nodes.lab.engine.world.instance_id])


async def test_the_newest_event_is_recorded_seldom(tmp_path: Path) -> None:
    async with recorded(tmp_path) as nodes:
        first = recorded_event(nodes)
        for _ in range(30):
            nodes.lab.engine.world.write_event(30, {})
            await asyncio.sleep(60)
        patches = nodes.lab.writes("PATCH", "/leases")

        assert recorded_event(nodes) != first
        assert len(patches) <= 6
        await asyncio.sleep(WRITTEN)
        written = len(nodes.lab.writes("PATCH", "/leases"))
        await asyncio.sleep(2 * WRITTEN)
        assert len(nodes.lab.writes("PATCH", "/leases")) == written, "nothing is new"


async def test_an_engine_that_was_restored_while_nobody_ran_costs_no_node(tmp_path: Path) -> None:
    async with recorded(tmp_path) as nodes:
        await nodes.lab.stop()
        nodes.lab.engine.world.events.rewind(5)
        nodes.lose("w0")  # it was made after the backup, and runs on
        await nodes.lab.restart()
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.record["latched"]
        assert nodes.deletes == 0


async def test_events_that_have_new_ids_by_then_hide_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as nodes:
        await nodes.lab.stop()
        nodes.lab.engine.world.events.rewind(5)
        for _ in range(40):
            nodes.lab.engine.world.write_event(30, {})
        nodes.lose("w0")
        await nodes.lab.restart()
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.record["latched"]


async def test_what_an_operator_has_allowed_is_not_held_again_after_a_restart(
    tmp_path: Path,
) -> None:
    async with recorded(tmp_path) as nodes:
        await nodes.lab.stop()
        nodes.lab.engine.world.events.rewind(5)
        nodes.lose("w0")
        await nodes.lab.restart()
        async with following(nodes):
            await until(lambda: nodes.record["latched"])
            nodes.lab.write_record({**nodes.record, "latched": None})
            await until(lambda: nodes.left == {"w1"})
            await asyncio.sleep(WRITTEN)
        await nodes.lab.restart()
        await asyncio.sleep(LONG)

        assert nodes.record["latched"] is None


async def test_new_events_of_a_restored_engine_are_recorded_after_the_latch_only(
    tmp_path: Path,
) -> None:
    async with recorded(tmp_path) as nodes:
        await nodes.lab.stop()
        nodes.lab.engine.world.events.rewind(5)
        before = nodes.record["events"]
        await nodes.lab.restart()
        async with following(nodes):
            away = nodes.lab.cluster.faults.inject(
                BadGateway(), times=None, methods=["PATCH"], path="/leases"
            )
            nodes.lose("w0")
            await asyncio.sleep(WRITTEN)
            deleter = nodes.lab.lifecycle._deleter
            assert deleter._histories.newest == {}
            assert nodes.lab.feed.newest

            nodes.lab.cluster.faults.remove(away)
            await until(lambda: nodes.record["events"] != before)
            assert nodes.record["latched"]


async def test_an_engine_that_has_all_its_events_is_trusted_after_a_restart(
    tmp_path: Path,
) -> None:
    async with recorded(tmp_path) as nodes:
        await nodes.lab.restart()
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})

        assert nodes.record["latched"] is None


async def test_nothing_is_deleted_before_the_events_could_be_read(tmp_path: Path) -> None:
    async with recorded(tmp_path) as nodes:
        nodes.lab.engine.faults.status, nodes.lab.engine.faults.paths = 500, "/api/events"
        await nodes.lab.restart()
        nodes.lose("w0")
        await asyncio.sleep(LONG)
        assert nodes.left == {"w0", "w1"}

        nodes.lab.engine.faults.reset()
        await until(lambda: nodes.left == {"w1"})
