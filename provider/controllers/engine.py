"""Says as an Event when an engine cannot be asked, and when it can again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from provider.errors import (
    EngineError,
    EngineUnavailable,
    EngineUntrusted,
    ListingImplausible,
    LoginRefused,
    PermissionMissing,
    ReplyUnusable,
    SelectionInvalid,
)
from provider.model import Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provider.controllers.fleet import Fleet
    from provider.kube.recorder import EventRecorder
    from provider.ovirt.inventory import Inventory

_LOOK = 1.0  # seconds

_REASONS: Mapping[type[EngineError], Reason] = {
    EngineUnavailable: Reason.ENGINE_UNREACHABLE,
    EngineUntrusted: Reason.ENGINE_UNTRUSTED,
    LoginRefused: Reason.LOGIN_REFUSED,
    PermissionMissing: Reason.PERMISSION_MISSING,
    SelectionInvalid: Reason.SELECTION_INVALID,
    ReplyUnusable: Reason.ENGINE_REPLY_UNUSABLE,
    ListingImplausible: Reason.LISTING_IMPLAUSIBLE,
}


class EngineReporter:
    """Watches what the inventories' listings end in, and says each change of it once.

    As an Event, and to the fleet, so that the nodes that wait for the engine say it too.
    """

    def __init__(
        self, inventories: Iterable[Inventory], fleet: Fleet, recorder: EventRecorder
    ) -> None:
        self._inventories = tuple(inventories)
        self._fleet = fleet
        self._recorder = recorder
        self._said: dict[str, Reason | None] = {}  # by engine, what was said last

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            for inventory in self._inventories:
                self._look(inventory.engine.name, inventory.last_error)
            await asyncio.sleep(_LOOK)

    def _look(self, engine: str, error: EngineError | None) -> None:
        reason = _reason(error) if error else None
        if reason is self._said.get(engine):
            return
        self._said[engine] = reason
        self._fleet.trouble_changed()
        notice = (
            Notice(Level.WARNING, reason, str(error))
            if reason
            else Notice(Level.NORMAL, Reason.ENGINE_REACHABLE, "it answers again")
        )
        self._recorder.record_engine(engine, notice)


def _reason(error: EngineError) -> Reason:
    return next(_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS)
