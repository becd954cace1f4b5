"""Which Node is which instance, kept true with as few looks at Nodes as that takes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from provider.decisions.identity import (
    find_instance,
    node_name,
    parse_provider_id,
    parse_uuid,
    plausible_fqdn,
    swapped_uuid,
)
from provider.model import Instance
from provider.web.rows import node_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from provider.decisions.identity import Candidate, Directory
    from provider.model import Node
    from provider.web.documents import NodeRow

Claim = tuple[str, str]  # engine and id of an instance


class Matches:
    """The rows of Nodes. `begin`, `look_at` and `moved` make new ones, which `show` has seen.

    `rows` are those that are seen, by name; `is_complete` is true once each Node has had one.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._directory: Directory | None = None  # of what is seen
        self._next: Directory | None = None  # of the new rows
        self._rows: dict[str, NodeRow] = {}
        self._new: dict[str, NodeRow | None] = {}
        self._told: dict[str, frozenset[str]] = {}  # by Node, the ids that it could be
        self._tellers: dict[str, set[str]] = {}  # and the other way round
        self._claims: dict[Claim, set[str]] = {}
        self._is_synced = False
        self.rows: Mapping[str, NodeRow] = self._rows
        self.is_complete = False

    def begin(
        self,
        directory: Directory,
        changed: Collection[str],
        touched: Collection[str],
        *,
        is_synced: bool,
    ) -> list[str]:
        """The names of the Nodes that have to be looked at.

        `changed` are the instances that are others in `directory` than at the last look, `touched`
        the Nodes that came, went or changed; all that there are once `is_synced`.
        """
        before, self._next = self._directory, directory
        self._is_synced = is_synced
        self._new = {}
        if before is None or _surroundings(before) != _surroundings(directory):
            return sorted({*self._nodes, *self._rows, *touched})
        names = set(touched)
        for instance_id in changed:
            names |= self._tellers.get(instance_id, set())
            there = before.by_id.get(instance_id, ()), directory.by_id.get(instance_id, ())
            for candidate in chain.from_iterable(there):
                names.update(_names(candidate))
                names |= self._claims.get(_claim(candidate), set())
        return sorted(name for name in names if name in self._nodes or name in self._rows)

    def look_at(self, names: Iterable[str], directory: Directory) -> None:
        """Find out which instances these Nodes are now."""
        for name in names:
            node = self._nodes.get(name)
            self._tell(name, _ids_of(node) if node else frozenset())
            self._new[name] = node_row(node, find_instance(node, directory)) if node else None

    def moved(self) -> set[str]:
        """The ids of the instances whose Node is another than is seen; called after all looks."""
        ids: set[str] = set()
        for name, row in self._new.items():
            before = self._rows.get(name)
            if _standing(before) == _standing(row):
                continue
            for one in (before, row):
                if one and one.instance:
                    ids.add(one.instance.id)
            self._claim(name, before, row)
        return ids

    def node_of(self, engine: str, instance_id: str) -> NodeRow | None:
        """The Node that is this instance, by the new rows; of several the first by name."""
        names = self._claims.get((engine, instance_id))
        if not names:
            return None
        name = min(names)
        return self._new[name] if name in self._new else self._rows[name]

    def show(self) -> list[str]:
        """Have the new rows seen; the names of those that differ."""
        changed = [name for name, row in self._new.items() if self._rows.get(name) != row]
        for name in changed:
            if row := self._new[name]:
                self._rows[name] = row
            else:
                del self._rows[name]
        self._directory = self._next
        self.is_complete = self.is_complete or self._is_synced
        self._new = {}
        return changed

    def _tell(self, name: str, ids: frozenset[str]) -> None:
        for gone in self._told.pop(name, frozenset()) - ids:
            self._tellers[gone].discard(name)
            if not self._tellers[gone]:
                del self._tellers[gone]
        if ids:
            self._told[name] = ids
        for instance_id in ids:
            self._tellers.setdefault(instance_id, set()).add(name)

    def _claim(self, name: str, before: NodeRow | None, row: NodeRow | None) -> None:
        if before and before.instance:
            claim = before.instance.engine, before.instance.id
            names = self._claims.pop(claim, set()) - {name}
            if names:
                self._claims[claim] = names
        if row and row.instance:
            claim = row.instance.engine, row.instance.id
            self._claims.setdefault(claim, set()).add(name)


def _surroundings(directory: Directory) -> object:
    """What the match of every Node depends on."""
    return directory.silent, directory.engine_ids


def _ids_of(node: Node) -> frozenset[str]:
    uuid = parse_uuid(node.system_uuid)
    ids = parse_provider_id(node.provider_id), uuid, swapped_uuid(uuid) if uuid else None
    return frozenset(one for one in ids if one)


def _names(candidate: Candidate) -> Iterator[str]:
    """The names by which a Node could be this instance."""
    if name := node_name(candidate).name:
        yield name
    if isinstance(candidate, Instance) and (fqdn := plausible_fqdn(candidate.fqdn)):
        yield fqdn


def _claim(candidate: Candidate) -> Claim:
    return (candidate.engine, candidate.id) if isinstance(candidate, Instance) else ("", "")


def _standing(row: NodeRow | None) -> object:
    """What an instance shows of its Node."""
    return (row.instance and (row.instance.engine, row.instance.id), row.managed) if row else None
