from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from provider.config import Config
from provider.controllers.fleet import Fleet
from provider.errors import EngineUnavailable
from provider.metrics import Metrics
from provider.ovirt.changes import changed_ids
from provider.ovirt.client import EngineClient
from provider.ovirt.inventory import Inventory
from tests import builders
from tests.builders import instance, snapshot, uuid_of

if TYPE_CHECKING:
    from provider.model import Snapshot

pytestmark = pytest.mark.looptime

ENGINES = Config(engines=[builders.engine("east"), builders.engine("west")])


def inventories() -> tuple[Inventory, ...]:
    """Those of both engines, which nobody runs."""
    metrics = Metrics()
    return tuple(
        Inventory(
            EngineClient(engine, ENGINES.limits, metrics),
            ENGINES.selection,
            ENGINES.intervals,
            metrics,
            lambda _: None,
        )
        for engine in ENGINES.engines
    )


def of_west(name: str) -> Snapshot:
    one = instance(name, engine="west", engine_id="west-id")
    return snapshot(one, engine="west", engine_id="west-id")


def publish(inventory: Inventory, new: Snapshot) -> None:
    inventory._publish(new, changed_ids(inventory.snapshot, new))


async def test_what_no_engine_has_told_is_silent() -> None:
    fleet = Fleet(ENGINES, inventories())

    assert fleet.directory.silent == {"east": "", "west": ""}
    assert fleet.directory.by_id == {}


async def test_it_joins_what_the_engines_tell() -> None:
    east, west = inventories()
    fleet = Fleet(ENGINES, [east, west])

    publish(east, snapshot(instance("a")))
    publish(west, of_west("b"))
    await asyncio.sleep(0.01)

    assert fleet.directory.silent == {}
    assert fleet.directory.by_id.keys() == {uuid_of("a"), uuid_of("b")}


async def test_the_first_word_counts_at_once_and_those_after_it_a_second_later() -> None:
    east, west = inventories()
    fleet = Fleet(ENGINES, [east, west])
    told: list[tuple[float, frozenset[str]]] = []
    loop = asyncio.get_running_loop()
    fleet.subscribe(lambda changed: told.append((loop.time(), changed)))
    began = loop.time()

    publish(east, snapshot(instance("a")))
    await asyncio.sleep(0.01)
    publish(west, of_west("b"))
    publish(east, snapshot(instance("a"), instance("c", ips=["10.0.0.2"])))
    await asyncio.sleep(5)

    assert [changed for _, changed in told] == [
        {uuid_of("a")},
        {uuid_of("b"), uuid_of("c")},
    ]
    assert [when - began for when, _ in told] == pytest.approx([0, 1], abs=0.02)


async def test_a_listing_that_changes_nothing_is_told_as_well() -> None:
    east, west = inventories()
    fleet = Fleet(ENGINES, [east, west])
    told: list[frozenset[str]] = []
    fleet.subscribe(told.append)

    for _ in range(3):
        publish(east, snapshot(instance("a")))
        await asyncio.sleep(2)

    assert told == [{uuid_of("a")}, frozenset(), frozenset()]


async def test_every_engine_that_was_listed_is_asked_for_a_wanted_vm() -> None:
    east, west = inventories()
    fleet = Fleet(ENGINES, [east, west])
    publish(east, snapshot(instance("a")))

    fleet.want(uuid_of("b"))

    now = asyncio.get_running_loop().time()
    due = [one._waiting.next(now) for one in (east, west)]
    assert [first and first[0] for first in due] == [uuid_of("b"), None]


async def test_it_says_why_an_engine_is_silent() -> None:
    east, west = inventories()
    fleet = Fleet(ENGINES, [east, west])
    told: list[frozenset[str]] = []
    fleet.subscribe(told.append)

    west.last_error = EngineUnavailable("west", "is away.")
    fleet.trouble_changed()
    await asyncio.sleep(0.01)

    assert fleet.directory.silent["west"] == "engine west: is away."
    assert told == [frozenset()]
