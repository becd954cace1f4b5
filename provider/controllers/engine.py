"""Says as an Event when an engine cannot be asked, and when it can again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from provider.model import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.errors import EngineError
    from provider.kube.recorder import EventRecorder
    from provider.ovirt.inventory import Inventory

_LOOK = 1.0  # seconds

# The reason of the Event for each kind of error.
REASONS = {
    "EngineUnavailable": "EngineUnreachable",
    "EngineUntrusted": "EngineUntrusted",
    "LoginRefused": "LoginRefused",
    "PermissionMissing": "PermissionMissing",
    "SelectionInvalid": "SelectionInvalid",
    "ReplyUnusable": "EngineReplyUnusable",
    "ListingImplausible": "ListingImplausible",
}


class EngineReporter:
    """Watches what the inventories' listings end in, and records each change of it once."""

    def __init__(self, inventories: Iterable[Inventory], recorder: EventRecorder) -> None:
        self._inventories = tuple(inventories)
        self._recorder = recorder
        self._said: dict[str, str] = {}  # by engine, the kind of error that was said last

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            for inventory in self._inventories:
                self._look(inventory.engine.name, inventory.last_error)
            await asyncio.sleep(_LOOK)

    def _look(self, engine: str, error: EngineError | None) -> None:
        kind = _reason(error) if error else ""
        if kind == self._said.get(engine, ""):
            return
        self._said[engine] = kind
        notice = (
            Notice(Level.WARNING, kind, str(error))
            if error
            else Notice(Level.NORMAL, "EngineReachable", "it answers again")
        )
        self._recorder.record_engine(engine, notice)


def _reason(error: EngineError) -> str:
    return next(
        (REASONS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in REASONS),
        "EngineUnreachable",
    )
