"""Follows the event log of one engine and wakes its inventory: what happened is read at once.

Events are a hint and nothing more. Ids come from a sequence, so that an earlier one may appear
after a later one; a guest's new address is no event; and a text names what has no reference. The
periodic listing stays the truth.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from provider.errors import EngineError
from provider.ovirt import wire
from provider.ovirt.eventcodes import Concern, concern_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from provider.config import Intervals
    from provider.metrics import Metrics
    from provider.model import Snapshot
    from provider.ovirt.client import EngineClient
    from provider.ovirt.inventory import Inventory

# Events that are asked for at once. When there are more the engine leaves out the oldest.
_PAGE = 1000
# Between the first look that finds something new and the second: what happens together is told
# together, and an event may be told before the change is made.
_DEBOUNCE = 0.2
_STANDBY = 3  # a replica that does not lead looks so many times less often
_LONGEST_PAUSE = 60.0  # seconds; between looks that fail
# An outage is the inventory's to report. Events that stay away longer while it works are odd.
_PATIENCE = 300.0
# What an event of an unknown code is about can wait so long, in seconds.
_UNKNOWN_REST = 60.0

log = structlog.get_logger()


class Wake(Struct, frozen=True):
    """What events make worth reading.

    `ids` are VMs that are selected or may be now; `must_list` means everything, `may_list`
    everything in good time.
    """

    ids: frozenset[str] = frozenset()
    must_list: bool = False
    may_list: bool = False


def news(page: Iterable[wire.Event], known: wire.Event) -> list[wire.Event] | None:
    """The events of `page` that are newer than `known`, which it must hold too.

    None when it does not: events were lost between the two, or the engine's database is another
    one now, restored from a backup.
    """
    page = list(page)
    if not any(_mark(event) == _mark(known) for event in page):
        return None
    return [event for event in page if event.id > known.id]


def _mark(event: wire.Event) -> tuple[object, ...]:
    return event.id, event.code, str(event.time)


def read(events: Iterable[wire.Event], snapshot: Snapshot | None) -> Wake:
    """What `events` make worth reading, when `snapshot` is known; VMs of no interest are left out.

    An engine may have thousands of VMs that are no Docker hosts: their comings and goings cost
    nothing.
    """
    ids: set[str] = set()
    hosts: set[str] = set()
    must_list = may_list = False
    for event in events:
        vm_id = _vm_id(event)
        is_known = bool(vm_id) and _is_member(vm_id, snapshot)
        match concern_of(event.code):
            case Concern.VM if is_known:
                ids.add(vm_id)
            case Concern.NEW_VM if vm_id:
                ids.add(vm_id)
            case Concern.REMOVED_VM:
                must_list |= is_known
            case Concern.HOST if event.host and event.host.name:
                hosts.add(event.host.name)
            case Concern.LISTING:
                must_list = True
            case Concern.UNKNOWN:
                may_list = True
                ids.update({vm_id} if is_known else ())
    return Wake(frozenset(ids | _ids_on(hosts, snapshot)), must_list, may_list)


def _vm_id(event: wire.Event) -> str:
    return event.vm.id.lower() if event.vm and wire.is_uuid(event.vm.id) else ""


def _is_member(vm_id: str, snapshot: Snapshot | None) -> bool:
    """Whether it is selected; before the first listing any may be."""
    return snapshot is None or vm_id in snapshot.instances or vm_id in snapshot.unreadable


def _ids_on(hosts: set[str], snapshot: Snapshot | None) -> set[str]:
    """The VMs on these hosts, as far as is known; a listing that runs tells of all."""
    instances = snapshot.instances.values() if snapshot and hosts else ()
    return {instance.id for instance in instances if instance.host in hosts}


class EventFeed:
    """Looks into the event log of one engine every `intervals.events`, and tells its inventory."""

    def __init__(
        self, client: EngineClient, inventory: Inventory, intervals: Intervals, metrics: Metrics
    ) -> None:
        self._client = client
        self._engine = client.engine.name
        self._inventory = inventory
        self._interval = intervals.events.total_seconds()
        self._patience = max(_PATIENCE, 2 * intervals.poll.total_seconds())
        self._metrics = metrics
        self._known: wire.Event | None = None  # the newest that was read
        self._failures = 0
        self._failing_since = 0.0
        self._is_odd = False

    @property
    def newest(self) -> str:
        """What names the newest event that was read, for `has_lost`; "" while there is none."""
        known = self._known
        return f"{known.id} {known.code} {known.time}" if known else ""

    async def has_lost(self, mark: str) -> bool:
        """Whether the engine lacks the event that `newest` has named so, at whatever time.

        Not so when there are too many newer ones to know. EngineError when it cannot be asked.
        """
        match mark.split(" ", 2):
            case [number, code, time] if number.isdecimal() and code.isdecimal():
                known = wire.Event(int(number), int(code), time)
            case _:
                return False  # nothing that this version could compare
        page = await self._since(known)
        return news(page, known) is None and len(page) < _PAGE

    async def run(self) -> NoReturn:
        """Looks for ever; an engine that cannot be asked is asked less and less often."""
        while True:
            try:
                await self._look()
            except EngineError as error:
                self._failed(error)
            else:
                self._succeeded()
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        if self._failures:
            longest = max(self._interval, _LONGEST_PAUSE)
            return float(min(self._interval * 2 ** min(self._failures, 16), longest))
        return self._interval if self._inventory.is_leading else _STANDBY * self._interval

    async def _look(self) -> None:
        known = self._known
        if known is None:
            await self._find_place()
            return
        page = await self._since(known)
        if news(page, known):
            await asyncio.sleep(_DEBOUNCE)
            page = await self._since(known)
        found = news(page, known)
        if found is None:
            self._known = None
            if len(page) < _PAGE:
                self._inventory.distrust()
            await self._find_place()
        elif found:
            self._known = max(found, key=lambda event: event.id)
            self._tell(found)

    async def _find_place(self) -> None:
        """Begins with what is newest. What happened before it only a listing can tell."""
        page = await self._ask({"max": "1"})
        self._known = page[0] if page else None
        if page and self._inventory.snapshot is not None:
            self._inventory.list_soon()

    async def _since(self, known: wire.Event) -> list[wire.Event]:
        """The newest events, down to `known` itself: its absence tells of events that are lost."""
        return await self._ask({"from": str(known.id - 1), "max": str(_PAGE)})

    async def _ask(self, params: dict[str, str]) -> list[wire.Event]:
        reply = await self._client.get("events", "/events", params)
        return wire.read(self._engine, wire.Events, reply.body).event

    def _tell(self, events: list[wire.Event]) -> None:
        for event in events:
            self._metrics.engine_events.labels(self._engine, concern_of(event.code)).inc()
        wake = read(events, self._inventory.snapshot)
        self._inventory.wake(wake.ids)
        if wake.must_list:
            self._inventory.list_soon()
        elif wake.may_list:
            self._inventory.list_soon(_UNKNOWN_REST)

    def _failed(self, error: EngineError) -> None:
        now = asyncio.get_running_loop().time()
        self._failures += 1
        if self._failures == 1:
            self._failing_since = now
        is_alone = self._inventory.last_error is None
        if is_alone and not self._is_odd and now - self._failing_since > self._patience:
            self._is_odd = True
            log.warning(
                "the engine's events cannot be read: changes are seen at the next listing",
                engine=self._engine,
                error=error.message,
            )

    def _succeeded(self) -> None:
        if self._failures and self._inventory.last_error is not None:
            self._inventory.list_soon()
        if self._is_odd:
            log.info("the engine's events can be read again", engine=self._engine)
        self._failures = 0
        self._is_odd = False
