"""Whether the engines are still those that the record of deletions has seen.

An engine that is restored from a backup has lost the newest of its events. That is noticed at once
while a replica follows them; what happens while none runs shows in what the record holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provider.ovirt.events import EventFeed
    from provider.ovirt.inventory import Inventory

_log = structlog.get_logger(__name__)


class Histories:
    """The event logs of all engines, each compared once with what was recorded of it."""

    def __init__(self, inventories: Iterable[Inventory], feeds: Iterable[EventFeed]) -> None:
        """`feeds` are of the same engines in the same order."""
        self._pairs = tuple(zip(inventories, feeds, strict=True))
        self._checked: set[str] = set()  # ids of engines
        self._silent: set[str] = set()

    @property
    def newest(self) -> dict[str, str]:
        """What names the newest event of each engine that was compared, by the engine's id.

        Not of one that was restored: the record must say first that nothing is deleted.
        """
        return {
            inventory.snapshot.engine_id: feed.newest
            for inventory, feed in self._pairs
            if inventory.snapshot and feed.newest
            if self.is_checked(inventory) and not inventory.was_restored
        }

    def is_checked(self, inventory: Inventory) -> bool:
        """Whether the engine, as it was listed last, was compared with what is recorded."""
        return inventory.snapshot is not None and inventory.snapshot.engine_id in self._checked

    async def check(self, recorded: Mapping[str, str]) -> None:
        """Compare the engines that were listed since with what `recorded` names of them.

        One that lacks it is distrusted; one that cannot be asked is asked the next time.
        """
        for inventory, feed in self._pairs:
            snapshot = inventory.snapshot
            if snapshot is None or self.is_checked(inventory):
                continue
            try:
                is_lost = await feed.has_lost(recorded.get(snapshot.engine_id, ""))
            except EngineError as error:
                self._cannot_ask(inventory.engine.name, error)
                continue
            self._silent.discard(inventory.engine.name)
            self._checked.add(snapshot.engine_id)
            if is_lost:
                inventory.distrust()

    def _cannot_ask(self, engine: str, error: EngineError) -> None:
        if engine not in self._silent:
            _log.warning(
                "no node is deleted until the engine's events can be read",
                engine=engine,
                why=error.message,
            )
        self._silent.add(engine)
