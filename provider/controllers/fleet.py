"""What all engines have told, as one directory for every controller."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING

from provider.decisions.identity import directory, renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from provider.config import Config
    from provider.model import Snapshot
    from provider.ovirt.inventory import Inventory

# While many VMs come up, single reads publish a snapshot many times a second, and whoever has
# subscribed looks at all nodes then: so the directory is renewed once a second at most.
_REST = 1.0


class Fleet:
    """The inventories of all engines, joined.

    `directory` holds the snapshots published until a second ago. Subscribers are called after it
    was built anew, with the ids of the instances that changed since it was built before.
    """

    def __init__(self, config: Config, inventories: Iterable[Inventory]) -> None:
        self._config = config
        self._inventories = tuple(inventories)
        self._since = float("-inf")
        self._changed: set[str] = set()
        self._subscribers: list[Callable[[frozenset[str]], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._built = float("-inf")
        self.directory = directory(*self._told(), match_fqdn=config.identity.fqdn)
        for inventory in self._inventories:
            inventory.subscribe(self._published)

    def subscribe(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Have `callback` called with the changed ids each time that the directory is new."""
        self._subscribers.append(callback)

    def hold(self, since: float) -> None:
        """Know nothing that was listed before `since`, in the loop's time; have all listed soon.

        For a new leader: the one before has written by what it knew later. Until then engines are
        as those that are being asked for the first time.
        """
        self._since = since
        for inventory in self._inventories:
            inventory.list_soon()
        if self._timer:
            self._timer.cancel()
        self._renew()

    def want(self, instance_id: str) -> None:
        """Have the engines asked for this VM before the next listing.

        One that has not been listed yet is about to tell of all its VMs.
        """
        for inventory in self._inventories:
            if inventory.snapshot:
                inventory.want((instance_id,))

    def trouble_changed(self) -> None:
        """An engine cannot be asked any more, or can again: have the directory say so."""
        self._schedule()

    def _published(self, _snapshot: Snapshot, changed: frozenset[str]) -> None:
        self._changed |= changed
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._built + _REST), self._renew)

    def _renew(self) -> None:
        self._timer = None
        self._built = asyncio.get_running_loop().time()
        snapshots, engines = self._told()
        moved = _come_or_gone(self.directory.snapshots.values(), snapshots)
        changed = frozenset(self._changed | moved)
        self._changed.clear()
        fqdn = self._config.identity.fqdn
        self.directory = renewed(self.directory, snapshots, engines, changed, match_fqdn=fqdn)
        for callback in self._subscribers:
            callback(changed)

    def _told(self) -> tuple[list[Snapshot], dict[str, str]]:
        """The newest snapshots, and why each engine cannot be asked, if so."""
        engines = {i.engine.name: str(i.last_error or "") for i in self._inventories}
        snapshots = (i.snapshot for i in self._inventories)
        return [s for s in snapshots if s and s.started >= self._since], engines


def _come_or_gone(before: Collection[Snapshot], after: Collection[Snapshot]) -> set[str]:
    """The ids of all instances of the engines that are among the one and not the other."""
    engines = {one.engine for one in before} ^ {one.engine for one in after}
    concerned = (one for one in chain(before, after) if one.engine in engines)
    return {one_id for one in concerned for one_id in chain(one.instances, one.unreadable)}
