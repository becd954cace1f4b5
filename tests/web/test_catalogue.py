"""The catalogue: rows, their changes in order, and that nothing is ever half shown."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from provider.config import Engine
from provider.decisions.identity import directory
from provider.errors import EngineUnavailable
from provider.model import ANNOTATION_ENGINE, Instance, InstanceStatus, Unreadable
from provider.ovirt.departed import Departed
from provider.web.catalogue import Catalogue
from provider.web.documents import EngineState, InstanceRow, NodeRow
from provider.web.ring import Ring
from tests.builders import ENGINE_ID, config, engine, instance, node, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from provider.decisions.identity import Directory
    from provider.errors import EngineError
    from provider.model import Node, Snapshot

pytestmark = pytest.mark.looptime

OURS = {ANNOTATION_ENGINE: ENGINE_ID}


@dataclass
class Listed:
    """An engine as far as it was listed."""

    engine: Engine
    snapshot: Snapshot | None = None
    last_error: EngineError | None = None
    departed: Departed = field(default_factory=Departed)

    def absences(self, _instance_id: str, _engine_id: str, _since: float) -> int:
        return 0


class World:
    """What engines and API server tell, and the catalogue that listens."""

    is_synced = True

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._tell_ids: Callable[[frozenset[str]], None]
        self._tell_node: Callable[[str], None]
        self.engine = Listed(Engine.model_validate(engine()))
        self.directory: Directory = directory([], {"east": ""}, match_fqdn=False)
        self.catalogue = Catalogue(config(), _Fleet(self), _Nodes(self), [self.engine])

    def list(self, *vms: Instance, unreadable: tuple[Unreadable, ...] = ()) -> None:
        """A listing has these; they are new or others than before."""
        now = asyncio.get_running_loop().time()
        before = self.engine.snapshot.instances if self.engine.snapshot else {}
        self.engine.snapshot = snapshot(*vms, unreadable=unreadable, started=now)
        there = self.engine.snapshot.instances
        self.directory = directory([self.engine.snapshot], {"east": ""}, match_fqdn=False)
        changed = {i for i in before.keys() | there.keys() if before.get(i) != there.get(i)}
        self._tell_ids(frozenset(changed | {odd.id for odd in unreadable}))

    def put(self, *nodes: Node) -> None:
        """These Nodes came or changed."""
        for one in nodes:
            self.nodes[one.name] = one
            self._tell_node(one.name)

    def remove(self, name: str) -> None:
        """The Node has gone."""
        del self.nodes[name]
        self._tell_node(name)

    async def shown(self) -> None:
        """Return when all of it is shown."""
        await asyncio.sleep(3)

    def row(self, name: str) -> InstanceRow:
        """The row of the instance of this name, as it is rendered."""
        [row] = [one for one in self.catalogue.order if one.document.name == name]
        body = self.catalogue.render("instance", row.member.key)
        assert body
        return msgspec.json.decode(body, type=InstanceRow)


class _Fleet:
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def directory(self) -> Directory:
        return self._world.directory

    def subscribe(self, callback: Callable[[frozenset[str]], None]) -> None:
        self._world._tell_ids = callback


class _Nodes:
    def __init__(self, world: World) -> None:
        self._world = world
        self.nodes = world.nodes

    @property
    def is_synced(self) -> bool:
        return self._world.is_synced

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._world._tell_node = callback


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    there = World()
    task = asyncio.create_task(there.catalogue.run())
    try:
        yield there
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


def vms(*names: str, **facts: Any) -> list[Instance]:
    return [instance(name, ips=(), **facts) for name in names]


# ---- rows --------------------------------------------------------------------------------------


async def test_rows_are_in_order_of_their_names() -> None:
    async with world() as there:
        there.list(*vms("b", "c", "a"))
        await there.shown()

        assert [row.document.name for row in there.catalogue.order] == ["a", "b", "c"]


async def test_rows_stay_in_order_whatever_changes() -> None:
    async with world() as there:
        a, b, c = vms("a", "b", "c")
        there.list(c, a, b)
        await there.shown()
        there.put(node("a", system_uuid=a.id))
        await there.shown()
        there.list(replace(a, name="d"), b, c)
        await there.shown()
        moved = [row.document.name for row in there.catalogue.order]
        there.list(replace(a, name="d"), c, *vms("bb"))
        await there.shown()
        given = [key for part in there.catalogue.everything() for kind, key, _ in part]

    assert moved == ["b", "c", "d"]
    assert given[1:-1] == [f"east/{vm.id}" for vm in (*vms("bb"), c, a)]


async def test_an_instance_tells_its_node_and_the_node_its_instance() -> None:
    async with world() as there:
        there.list(instance("worker-1"))
        there.put(node("worker-1", annotations=OURS))
        await there.shown()
        row = there.row("worker-1")
        body = there.catalogue.render("node", "worker-1")
        assert body
        told = msgspec.json.decode(body, type=NodeRow)

    assert (row.node, row.managed) == ("worker-1", True)
    assert told.instance
    assert (told.instance.id, told.match, told.rule) == (row.id, "found", "systemUUID")


async def test_an_id_that_two_engines_have_is_the_row_of_none() -> None:
    there = World()
    west = Listed(Engine.model_validate(engine("west")))
    both = [there.engine, west]
    catalogue = Catalogue(config(), _Fleet(there), _Nodes(there), both)
    one, other = vms("w1", "w2")
    listings = [snapshot(one, other), snapshot(one, engine="west", engine_id="w")]
    there.engine.snapshot, west.snapshot = listings
    there.directory = directory(listings, {"east": "", "west": ""}, match_fqdn=False)
    there._tell_ids(frozenset({one.id, other.id}))
    task = asyncio.create_task(catalogue.run())
    await there.shown()

    assert catalogue.row_of(one.id) is None
    assert catalogue.row_of(other.id) is catalogue.rows[f"east/{other.id}"]

    there.directory = directory(listings[:1], {"east": "", "west": ""}, match_fqdn=False)
    there._tell_ids(frozenset({one.id}))
    await there.shown()

    assert catalogue.row_of(one.id) is catalogue.rows[f"east/{one.id}"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_instance_follows_its_node() -> None:
    async with world() as there:
        there.list(*vms("worker-1", "worker-2"))
        there.put(node("x", system_uuid=instance("worker-1").id))
        await there.shown()
        assert there.row("worker-1").node == "x"

        there.put(node("x", system_uuid=instance("worker-2").id, annotations=OURS))
        await there.shown()
        assert (there.row("worker-1").node, there.row("worker-2").node) == (None, "x")
        assert there.row("worker-2").managed

        there.remove("x")
        await there.shown()
        assert there.row("worker-2").node is None
        assert there.catalogue.render("node", "x") is None


async def test_a_node_follows_its_instance() -> None:
    async with world() as there:
        there.put(node("worker-1", system_uuid=""))
        there.list(*vms("worker-2"))
        await there.shown()
        assert there.catalogue.nodes["worker-1"].match == "absent"

        there.list(*vms("worker-1", "worker-2"))
        await there.shown()
        assert there.catalogue.nodes["worker-1"].match == "found"

        there.list(*vms("worker-2"))
        await there.shown()
        assert there.catalogue.nodes["worker-1"].match == "absent"


async def test_an_instance_that_takes_a_name_makes_the_node_of_that_name_ambiguous() -> None:
    first, second = vms("worker-1", "worker-2")
    async with world() as there:
        there.put(node("worker-1"))
        there.list(first, second)
        await there.shown()
        there.list(replace(first, name="worker-9"), replace(second, name="worker-1"))
        await there.shown()

        assert there.catalogue.nodes["worker-1"].match == "ambiguous"
        assert there.row("worker-9").node is None


async def test_a_vm_that_cannot_be_understood_has_a_row_that_says_so() -> None:
    odd = Unreadable(instance("worker-1").id, "worker-1", "no status")
    async with world() as there:
        there.list(unreadable=(odd,))
        await there.shown()

        assert there.row("worker-1").unreadable == "no status"


async def test_a_vm_that_nobody_thought_of_keeps_no_other_from_being_shown() -> None:
    odd = instance("odd", memory="much")
    async with world() as there:
        with capture_logs() as logs:
            there.list(odd, *vms("worker-1"))
            await there.shown()

        assert there.row("worker-1").unreadable is None
        assert there.row("odd").unreadable
    assert [log["event"] for log in logs] == [
        "an instance could not be made ready to be served",
    ]


async def test_of_two_nodes_that_are_one_instance_the_first_by_name_is_told() -> None:
    twins = [node(name, system_uuid=instance("worker-1").id) for name in ("b", "a")]
    async with world() as there:
        there.list(*vms("worker-1"))
        there.put(*twins)
        await there.shown()
        assert there.row("worker-1").node == "a"

        there.put(replace(twins[0], is_ready=False))
        there.remove("a")
        await there.shown()
        assert there.row("worker-1").node == "b"


async def test_what_could_not_be_made_ready_is_tried_again() -> None:
    async with world() as there:
        there.list(*vms("worker-1"))
        sound, there.directory = there.directory, None  # type: ignore[assignment]
        with capture_logs() as logs:
            await there.shown()
        there.directory = sound
        await there.shown()

        assert there.row("worker-1")
    assert {log["event"] for log in logs} == {"what changed could not be made ready to be served"}


# ---- engines -----------------------------------------------------------------------------------


async def test_an_engine_is_as_old_as_its_listing() -> None:
    async with world() as there:
        await there.shown()
        assert there.catalogue.states == (EngineState(name="east", as_of=None, error=None),)
        there.list(*vms("worker-1"))
        await there.shown()
        first = there.catalogue.states[0].as_of
        generation = there.catalogue.generation
        there.list(*vms("worker-1"))
        await there.shown()

        assert first
        assert there.catalogue.age == 3
        assert there.catalogue.generation == generation


async def test_an_engine_that_fails_is_a_change_and_so_is_its_return() -> None:
    async with world() as there:
        there.list(*vms("worker-1"))
        await there.shown()
        start = there.catalogue.generation
        there.engine.last_error = EngineUnavailable("east", "is away.")
        await there.shown()
        failed = there.catalogue.since(start)
        error = there.catalogue.states[0].error
        there.engine.last_error = None
        await there.shown()

    assert failed == (start + 1, (("engine", "east"),))
    assert error == "engine east: is away."
    assert there.catalogue.states[0].error is None


# ---- changes -----------------------------------------------------------------------------------


async def test_each_change_is_told_once_in_the_order_of_the_last() -> None:
    up, other = vms("worker-1", "worker-2")
    async with world() as there:
        there.list(up, other)
        await there.shown()
        start = there.catalogue.generation
        down = replace(up, status=InstanceStatus.DOWN)
        there.list(down, other)
        await there.shown()
        there.list(down, replace(other, host="hv-9"))
        await there.shown()
        there.list(up, replace(other, host="hv-9"))
        await there.shown()
        found = there.catalogue.since(start)

    assert found == (
        start + 3,
        (("instance", f"east/{other.id}"), ("instance", f"east/{up.id}")),
    )


async def test_what_is_gone_is_a_change_without_a_row() -> None:
    async with world() as there:
        there.list(*vms("worker-1", "worker-2"))
        await there.shown()
        start = there.catalogue.generation
        there.list(*vms("worker-2"))
        await there.shown()
        found = there.catalogue.since(start)
        assert found
        ((kind, key),) = found[1]

        assert there.catalogue.render(kind, key) is None


async def test_whoever_waits_learns_of_the_next_change() -> None:
    async with world() as there:
        there.list(*vms("worker-1"))
        await there.shown()
        waiting = asyncio.create_task(there.catalogue.changed(there.catalogue.generation))
        await there.shown()
        assert not waiting.done()

        there.list(*vms("worker-1", "worker-2"))
        await there.shown()
        assert waiting.done()


async def test_everything_comes_in_chapters() -> None:
    async with world() as there:
        there.list(*vms(*(f"w{n}" for n in range(600))))
        there.put(*(node(f"w{n}") for n in range(5)))
        await there.shown()
        chapters = list(there.catalogue.everything())

    assert [len(chapter) for chapter in chapters] == [250, 250, 106]
    assert chapters[0][0][:2] == ("engine", "east")
    assert len({key[:2] for chapter in chapters for key in chapter}) == 606


async def test_a_listing_is_shown_whole_or_not_at_all() -> None:
    async with world() as there:
        there.list(*vms(*(f"w{n}" for n in range(500))))
        seen = set()
        for _ in range(200):
            await asyncio.sleep(0)
            seen.add((len(there.catalogue.order), bool(there.catalogue.directory.snapshots)))

    assert seen == {(0, False), (500, True)}


# ---- the ring ----------------------------------------------------------------------------------


def test_what_is_too_old_or_was_never_reached_is_not_told() -> None:
    ring = Ring(2)
    ring.note([("x", "a"), ("x", "b"), ("x", "c")])

    assert ring.since(0) is None
    assert ring.since(1) == (("x", "b"), ("x", "c"))
    assert ring.since(3) == ()
    assert ring.since(4) is None
    assert (ring.of(("x", "a")), ring.of(("x", "c"))) == (1, 3)


async def test_rows_are_not_made_twice_before_an_engine_has_answered() -> None:
    async with world() as there:
        there.put(node("worker-1", annotations=OURS))
        await there.shown()
        assert not there.catalogue.are_nodes_listed

        there.list(instance("worker-1"))
        await there.shown()
        assert list(there.catalogue.nodes) == ["worker-1"]
