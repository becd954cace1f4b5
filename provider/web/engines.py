"""What is shown of one engine: how old what is known of it is, and why it is not renewed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from provider.web.documents import EngineState

if TYPE_CHECKING:
    from provider.config import Engine
    from provider.decisions.identity import Directory
    from provider.errors import EngineError
    from provider.model import Snapshot
    from provider.ovirt.departed import Departed, Departure


class Inventory(Protocol):
    """What is known of one engine: its newest listing, and what the last one failed with."""

    engine: Engine
    snapshot: Snapshot | None
    last_error: EngineError | None
    departed: Departed

    def absences(self, instance_id: str, engine_id: str, since: float) -> int:
        """How many complete listings in a row lack this VM, of those since then."""
        ...


class EngineView:
    """One engine as of the newest listing whose rows are shown.

    `state` is what lists say of it. `ending` is what a row becomes an answer of its own by: the
    member `as_of` and the end of the object, in JSON.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._engine_id = ""
        self._listed: float | None = None
        self._error = ""
        self.ending = b"}"
        self.state = EngineState(name=inventory.engine.name, as_of=None, error=None)

    @property
    def was_asked(self) -> bool:
        """Whether it was listed, or could not be."""
        return self._inventory.snapshot is not None or self._inventory.last_error is not None

    @property
    def error(self) -> str:
        """Why the engine cannot be listed now; "" when it can be, or was not tried.

        It is over when what a listing has brought since is shown.
        """
        snapshot = self._inventory.snapshot
        if error := self._inventory.last_error:
            self._error = str(error)
        elif snapshot is None or snapshot.started == self._listed:
            self._error = ""
        return self._error

    @property
    def age(self) -> float:
        """Seconds since the listing began; 0 when there is none."""
        listed = self._listed
        return 0.0 if listed is None else asyncio.get_running_loop().time() - listed

    def departure(self, instance_id: str) -> Departure | None:
        """What the engine said of a VM that is not selected."""
        return self._inventory.departed.get(instance_id)

    def departures(self, name: str) -> tuple[Departure, ...]:
        """What it said of those that had this name when they were listed."""
        return self._inventory.departed.named(name)

    def absences(self, departure: Departure) -> int:
        """How many complete listings in a row lack this VM."""
        return self._inventory.absences(departure.id, departure.engine_id, float("-inf"))

    def look(self, directory: Directory) -> bool:
        """Whether what is known of the engine, but for its age, is another than before.

        The rows that are shown are those of `directory`.
        """
        before = self.state.error, self._engine_id
        as_of = self.state.as_of
        snapshot = directory.snapshots.get(self.state.name)
        if snapshot and (snapshot.started, snapshot.engine_id) != (self._listed, self._engine_id):
            self._listed, self._engine_id = snapshot.started, snapshot.engine_id
            as_of = _moment(self.age)
            self.ending = b',"as_of":' + msgspec.json.encode(as_of) + b"}"
        self.state = EngineState(name=self.state.name, as_of=as_of, error=self.error or None)
        return before != (self.state.error, self._engine_id)


def _moment(age: float) -> datetime:
    """The time on our clock so many seconds ago, to a millisecond."""
    then = datetime.now(UTC) - timedelta(seconds=age)
    return then.replace(microsecond=then.microsecond // 1000 * 1000)
