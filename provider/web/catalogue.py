"""What a replica knows, ready to be served: a row for each instance, Node and engine.

Rows are made when something changed, a few at a time, and come to be seen all at once: an answer
never mixes what is before with what is after a listing.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

import structlog

from provider.decisions.lookup import Known
from provider.decisions.members import Index, member_key
from provider.model import Unreadable
from provider.web.engines import EngineView
from provider.web.matches import Matches
from provider.web.ring import Ring
from provider.web.rows import encode, instance_row, with_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provider.config import Config
    from provider.decisions.identity import Directory
    from provider.web.documents import EngineState, NodeRow
    from provider.web.engines import Inventory
    from provider.web.rows import Row
    from provider.web.sources import Fleet, Informer

T = TypeVar("T")

INSTANCE = "instance"
NODE = "node"
ENGINE = "engine"

_CHUNK = 40  # rows that are made before others get their turn: 3 ms
_MANY = 400  # rows for which a new index is made, a few at a time: 2 ms at once for fewer
_CHAPTER = 250  # rows that `everything` gives at once
# While thousands of Nodes join, rows must not take the time that their writes need: a renewal is
# followed by a rest of nineteen times as long, in which what changes gathers for the next.
_REST = 0.1  # seconds at least: a burst of changes is one
_LONGEST_REST = 2.0  # seconds
_SHARE = 19
_LOOK = 1.0  # seconds between two looks at what the engines' listings end in
_REMEMBERED = 16_384  # changed keys: 5,000 instances and their Nodes, and as many that are gone

_log = structlog.get_logger(__name__)


class Catalogue:
    """Rows by kind and key, and which of them changed.

    Kinds and keys: `instance` with `<engine>/<VM id>`, `node` with the Node's name, `engine` with
    the engine's configured name. Exists on every replica; `run` keeps it true.

    `epoch` is random for each process: a sequence number means something only beside it.
    `known` is what a key is looked up in, `rows` are those of instances, ordered by name and id,
    `nodes` those of Nodes by name.
    """

    def __init__(
        self,
        config: Config,
        fleet: Fleet,
        informer: Informer,
        inventories: Iterable[Inventory],
    ) -> None:
        self.epoch = secrets.token_hex(4)
        self.config = config
        self.directory = fleet.directory
        self.engines: Mapping[str, EngineView] = {
            i.engine.name: EngineView(i) for i in inventories
        }
        self._fleet = fleet
        self._informer = informer
        self._rows: dict[str, Row] = {}  # by place
        self._index = Index()
        self._matches = Matches(informer.nodes)
        self._ring = Ring(_REMEMBERED)
        self._views = tuple(self.engines.items())
        self._known = self._new_known({})
        self._changed = set(fleet.directory.by_id)  # ids of instances
        self._touched: set[str] = set()  # names of Nodes
        self._due = asyncio.Event()
        fleet.subscribe(self._instances_changed)
        informer.subscribe(self._node_changed)

    # ---- what is there -----------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """How many changes of rows there were; the sequence number of the newest.

        That an engine was listed anew and nothing was found to have changed counts as none: the
        age of what is known is not part of what is known.
        """
        return self._ring.sequence

    @property
    def rows(self) -> Mapping[str, Row]:
        """The rows of instances by key."""
        return self._rows

    @property
    def order(self) -> Sequence[Row]:
        """The rows of instances as they are now, by name and id."""
        return tuple(self._rows.values())

    def row_of(self, instance_id: str) -> Row | None:
        """The row of the VM with this id, written as engines write it; None unless it is one."""
        fitting = self._index.by_id.get(instance_id, ())
        if len(fitting) != 1:
            return None
        (key,) = fitting
        return self._rows[key]

    @property
    def nodes(self) -> Mapping[str, NodeRow]:
        """The rows of Nodes by name."""
        return self._matches.rows

    @property
    def states(self) -> tuple[EngineState, ...]:
        """What is known of each engine."""
        return tuple(view.state for view in self.engines.values())

    @property
    def age(self) -> float:
        """Seconds since the oldest of the engines' newest listings began."""
        return max((view.age for view in self.engines.values()), default=0.0)

    @property
    def are_nodes_listed(self) -> bool:
        """Whether all Nodes have been listed once and their rows are made."""
        return self._informer.is_synced and self._matches.is_complete

    @property
    def known(self) -> Known:
        """All that a key is looked up in, as of now."""
        failing = {name: error for name, view in self._views if (error := view.error)}
        known = self._known
        if failing != known.failing or self.are_nodes_listed != known.are_nodes_listed:
            self._known = known = self._new_known(failing)
        return known

    def _new_known(self, failing: Mapping[str, str]) -> Known:
        return Known(
            self.directory, failing, self._index, self._informer.nodes, self.are_nodes_listed
        )

    def render(self, kind: str, key: str) -> bytes | None:
        """The row as JSON, as it is now; None when there is none (any more)."""
        match kind:
            case "instance":
                row = self._rows.get(key)
                return row.body if row else None
            case "node":
                node = self._matches.rows.get(key)
                return encode(node) if node else None
        engine = self.engines.get(key)
        return encode(engine.state) if engine else None

    def everything(self) -> Iterator[list[tuple[str, str, bytes]]]:
        """All rows that there are when it begins, as (kind, key, JSON), engines first.

        A few at a time, so that others get their turn in between. Each is as of when it is given:
        whoever has taken `generation` before learns by `since` of what changed meanwhile.
        """
        keys = [
            *((ENGINE, name) for name in self.engines),
            *((INSTANCE, key) for key in self.rows),
            *((NODE, name) for name in self.nodes),
        ]
        for first in range(0, len(keys), _CHAPTER):
            chapter = keys[first : first + _CHAPTER]
            yield [(*key, body) for key in chapter if (body := self.render(*key)) is not None]

    def sequence_of(self, kind: str, key: str) -> int:
        """The number of the row's last change; larger when that is long ago, never smaller."""
        return self._ring.of((kind, key))

    # ---- what changed ------------------------------------------------------------------------

    def since(self, sequence: int) -> tuple[int, tuple[tuple[str, str], ...]] | None:
        """Where we are now, and the (kind, key) of what changed after `sequence`.

        Each once, in the order of its last change; `render` says what it is now. None when
        `sequence` is too old, or none of this `epoch`.
        """
        keys = self._ring.since(sequence)
        return None if keys is None else (self.generation, keys)

    async def changed(self, sequence: int) -> None:
        """Return once something has changed after `sequence`."""
        await self._ring.changed(sequence)

    # ---- how it is kept true -----------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Make the rows of what changed, until cancelled.

        The first ones once some engine was asked: all of them would change then.
        """
        clock = asyncio.get_running_loop().time
        while True:
            self._due.clear()
            began = clock()
            if any(view.was_asked for view in self.engines.values()):
                await self._try()
            await asyncio.sleep(min(max(_REST, _SHARE * (clock() - began)), _LONGEST_REST))
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._due.wait()

    def _instances_changed(self, changed: frozenset[str]) -> None:
        self._changed |= changed
        self._due.set()

    def _node_changed(self, name: str) -> None:
        self._touched.add(name)
        self._due.set()

    async def _try(self) -> None:
        changed, self._changed = self._changed, set()
        touched, self._touched = self._touched, set()
        try:
            await self._renew(self._fleet.directory, changed, touched)
        except Exception:
            # What nobody thought of must not end the controller; what was known is still shown.
            _log.exception("what changed could not be made ready to be served")
            self._changed |= changed
            self._touched |= touched

    async def _renew(self, directory: Directory, changed: set[str], touched: set[str]) -> None:
        is_synced = self._informer.is_synced
        nodes = self._matches.begin(directory, changed, touched, is_synced=is_synced)
        for names in _chunks(nodes):
            self._matches.look_at(names, directory)
            await asyncio.sleep(0)
        rows: dict[str, Row | None] = {}
        for places in _chunks(self._places(changed | self._matches.moved(), directory)):
            rows.update(self._remake(places, directory, changed))
            await asyncio.sleep(0)
        others = [key for key, row in rows.items() if not self._keeps_member(key, row)]
        index = await self._new_index(rows) if len(others) > _MANY else None
        self._show(directory, rows, others, index)

    async def _new_index(self, rows: Mapping[str, Row | None]) -> Index:
        """The index with these rows in place of what they were before."""
        index = Index()
        for chunk in _chunks([row for row in {**self._rows, **rows}.values() if row]):
            for row in chunk:
                index.put(row.member)
            await asyncio.sleep(0)
        return index

    def _places(self, ids: set[str], directory: Directory) -> list[tuple[str, str]]:
        """Engine and id of these instances wherever they are now, or were."""
        return [
            (engine, one)
            for one in sorted(ids)
            for engine in self.engines
            if one in directory.by_id or member_key(engine, one) in self._rows
        ]

    def _remake(
        self, places: Iterable[tuple[str, str]], directory: Directory, changed: set[str]
    ) -> Iterator[tuple[str, Row | None]]:
        """The rows of these instances by key; of those that are not in `changed` only the Node."""
        for engine, one in places:
            key = member_key(engine, one)
            row = self._rows.get(key)
            if row is None or one in changed:
                yield key, self._make(engine, one, directory)
            else:
                yield key, with_node(row, self._matches.node_of(engine, one))

    def _make(self, engine: str, instance_id: str, directory: Directory) -> Row | None:
        """The row of an instance; None when it is not selected."""
        snapshot = directory.snapshots.get(engine)
        if snapshot is None:
            return None
        vm = snapshot.instances.get(instance_id) or snapshot.unreadable.get(instance_id)
        if vm is None:
            return None
        node = self._matches.node_of(engine, instance_id)
        try:
            return instance_row(vm, snapshot, node, self.config)
        except Exception:
            # One VM that nobody thought of must not keep the others from being shown.
            _log.exception("an instance could not be made ready to be served", id=vm.id)
            odd = Unreadable(vm.id, vm.name, "the program's log says why")
            return instance_row(odd, snapshot, node, self.config)

    def _show(
        self,
        directory: Directory,
        rows: Mapping[str, Row | None],
        others: Sequence[str],
        index: Index | None,
    ) -> None:
        """Have all of it seen: not a moment with one half of it.

        `others` are the keys of members that are not as they were. `index` is that of all rows as
        they will be; None when it is as quickly kept true.
        """
        self.directory = directory
        if index is None:
            self._keep_index(rows, others)
        else:
            self._index = index
        changed = [(INSTANCE, key) for key, row in rows.items() if self._put(key, row)]
        if others:  # only they may stand elsewhere, and to sort thousands takes some ms
            self._rows = dict(sorted(self._rows.items(), key=lambda one: one[1].place))
        changed += [(NODE, name) for name in self._matches.show()]
        changed += [(ENGINE, name) for name, view in self.engines.items() if view.look(directory)]
        self._known = self._new_known(self._known.failing)
        self._ring.note(changed)

    def _keep_index(self, rows: Mapping[str, Row | None], others: Iterable[str]) -> None:
        for key in others:
            if row := rows[key]:
                self._index.put(row.member)
            else:
                self._index.remove(key)

    def _keeps_member(self, key: str, row: Row | None) -> bool:
        """Whether the row, seen before or not, is of the very member that is in the index."""
        before = self._rows.get(key)
        return before is not None and row is not None and before.member is row.member

    def _put(self, key: str, row: Row | None) -> bool:
        """Whether the row differs from what was seen."""
        before = self._rows.get(key)
        if row is None:
            return self._rows.pop(key, None) is not None
        self._rows[key] = row
        return before is None or (before.body, before.metadata) != (row.body, row.metadata)


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(things), _CHUNK):
        yield things[first : first + _CHUNK]
