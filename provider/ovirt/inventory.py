"""What is known of one engine: polls it, publishes complete snapshots, says what changed."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from typing import TYPE_CHECKING, TypeVar

import structlog

from provider.errors import EngineError, ReplyUnusable
from provider.model import Instance
from provider.ovirt.absence import AbsenceLog
from provider.ovirt.census import Census
from provider.ovirt.changes import changed_ids, with_instance
from provider.ovirt.faults import InternalFault
from provider.ovirt.listing import Lister
from provider.ovirt.waiting import Waiting
from provider.ovirt.wire import is_uuid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import NoReturn

    from provider.config import Intervals, Selection
    from provider.metrics import Metrics
    from provider.model import Snapshot, Unreadable
    from provider.ovirt.census import ZoneOf
    from provider.ovirt.client import EngineClient

    Subscriber = Callable[[Snapshot, frozenset[str]], None]

# An engine is busy with us for at most a tenth of the time: 5,000 VMs cost it 8 to 13 s a listing.
_REST = 10
_FIRST_RETRY = 5.0  # seconds after a first failure; doubled up to a minute or the poll interval
_LAST_RETRY = 60.0
_STANDBY = 3  # a replica that does not lead lists so many times less often
_LISTING_GAP = 2.0  # seconds between the starts of two listings, however often one is wanted
_MANY = 50  # VMs that are read one by one; a listing costs an engine less than more
_TICK = 0.001  # seconds; what is due within it is due, as a timer may fire a little early

T = TypeVar("T")

log = structlog.get_logger()


class Inventory:
    """The snapshots of one engine.

    `snapshot` is the newest complete listing with what single reads have added, None until there
    is one. `last_error` is what the last listing failed with, None when it succeeded.
    `has_answered` is true once a listing was tried, whatever came of it. `zone_of` names the zone
    of an instance for the metrics.
    """

    def __init__(
        self,
        client: EngineClient,
        selection: Selection,
        intervals: Intervals,
        metrics: Metrics,
        zone_of: ZoneOf,
    ) -> None:
        self.engine = client.engine
        self.snapshot: Snapshot | None = None
        self.last_error: EngineError | None = None
        self.has_answered = False
        self.was_restored = False
        self._client = client
        self._poll = intervals.poll.total_seconds()
        self.is_leading = True
        self._lister = Lister(client, selection)
        self.departed = self._lister.departed
        self._waiting = Waiting(intervals.wanted.total_seconds())
        self._absences = AbsenceLog(self._poll / 2)
        self._confirmed: dict[str, float] = {}  # when VMs were read since the newest listing
        self._metrics = metrics
        self._census = Census(client.engine.name, zone_of, metrics)
        self._subscribers: list[Subscriber] = []
        self._news = asyncio.Event()
        self._failures = 0
        self._failing_since = 0.0
        self._listed = -math.inf  # when the last listing began
        self._rested = -math.inf  # when the engine has had its rest from it
        self._next = -math.inf  # when the next is due by itself
        self._asked = math.inf  # when somebody wants it
        self._read_failures = 0

    def stand_by(self) -> None:
        """List a third as often, and leave a refused password to the leader, until `lead`."""
        self.is_leading = False
        self._client.may_retry_refused = False

    def lead(self) -> None:
        """List as often as configured from now on."""
        self.is_leading = True
        self._client.may_retry_refused = True
        self._news.set()

    @property
    def age(self) -> float | None:
        """Seconds since the listing behind `snapshot` started; None when there is none."""
        if self.snapshot is None:
            return None
        return asyncio.get_running_loop().time() - self.snapshot.started

    def subscribe(self, subscriber: Subscriber) -> None:
        """Calls `subscriber` with each snapshot that is published.

        Beside it the ids of what came, went or changed since the one before, and of those that
        now share an address with another or no longer do.
        """
        self._subscribers.append(subscriber)

    def want(self, ids: Iterable[str]) -> None:
        """Reads these VMs one by one between listings, for a minute from now.

        One that is selected and not yet in the snapshot is added to it. What is no UUID is no VM.
        """
        now = asyncio.get_running_loop().time()
        self._waiting.want((i.lower() for i in ids if is_uuid(i)), now)
        self._news.set()

    def wake(self, ids: Iterable[str]) -> None:
        """Reads these VMs before all others, as something has happened to them.

        When there are many a listing is made, as soon as the engine has had its rest.
        """
        self._waiting.wake(ids, asyncio.get_running_loop().time())
        if self._waiting.woken > _MANY:
            self.list_soon()
        self._news.set()

    def list_soon(self, rest: float = 0.0) -> None:
        """Lists as soon as manners allow, and `rest` seconds after the last listing or later.

        On a replica that stands by, when its turn comes.
        """
        now = asyncio.get_running_loop().time()
        self._asked = min(self._asked, max(now, self._listed + rest))
        self._news.set()

    def distrust(self) -> None:
        """The engine has lost a part of its history: it was restored from a backup.

        VMs that were made after the backup run on and are unknown to it. `was_restored` says so
        until somebody has seen to it, and their absence counts from here.
        """
        log.warning("the engine was restored from a backup", engine=self.engine.name)
        self.was_restored = True
        self._absences.forget()
        self._lister.distrust(self.snapshot)

    def absences(self, instance_id: str, engine_id: str, since: float) -> int:
        """How many complete listings in a row lack this VM of the engine `engine_id`.

        Only those count that started after `since` of the loop's time.
        """
        return self._absences.count(instance_id, engine_id, since)

    def confirmed(self, instance_id: str) -> float | None:
        """When the engine was asked for what `snapshot` holds of this VM; None without one.

        In the loop's time.
        """
        started = self.snapshot.started if self.snapshot else None
        return self._confirmed.get(instance_id, started)

    async def prove_absent(self, instance_id: str, engine_id: str) -> bool:
        """Whether the engine `engine_id` says now that it has no such VM, asked for it alone.

        EngineError when it could not be asked, says nothing clear, or is another engine now.
        """
        return is_uuid(instance_id) and await self._lister.is_gone(instance_id, engine_id)

    async def read(self, instance_id: str) -> Instance | Unreadable | None:
        """The VM as the engine has it now; None when it does not exist or is not selected.

        EngineError when it could not be asked.
        """
        member = await self._lister.read(instance_id, is_member=False)
        if member is not None:
            self._absences.seen(instance_id)
        return member

    async def run(self) -> NoReturn:
        """Lists and reads for ever; what the engine does wrong is in `last_error`, not raised."""
        clock = asyncio.get_running_loop().time
        age = self._metrics.snapshot_age.labels(self.engine.name)
        age.set_function(lambda: clock() - self.snapshot.started if self.snapshot else math.nan)
        while True:
            await self._list()
            await self._read_waiting()

    @property
    def _due(self) -> float:
        """When the next listing is due, in the loop's time."""
        if not self.is_leading:
            return self._next + (_STANDBY - 1) * self._poll
        return min(self._next, max(self._asked, self._rested))

    async def _list(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._listed, self._asked = began, math.inf
        try:
            snapshot = await self._apart(self._lister.take(self.snapshot))
        except EngineError as error:
            self._failed(error)
            self._rested = max(self._rest_end(), loop.time() + self._first_retry)
            self._next = max(self._rested, loop.time() + self._retry_delay(self._failures))
            return
        finally:
            self.has_answered = True
        took = loop.time() - began
        # The first of 5,000 VMs takes a while to publish: others get their turn in between.
        await asyncio.sleep(0)
        changed = changed_ids(self.snapshot, snapshot)
        await asyncio.sleep(0)
        self._succeeded(took)
        self._waiting.observe(snapshot, changed, loop.time())
        self._absences.observe(snapshot)
        self._confirmed.clear()
        self._publish(snapshot, changed)
        jitter = random.uniform(0.9, 1.1)  # noqa: S311  spreads load, is no secret
        self._rested = max(self._rest_end(), began + min(_LISTING_GAP, self._poll / 2))
        self._next = max(self._rested, began + self._poll * jitter)

    async def _apart(self, answer: Awaitable[T]) -> T:
        """What the engine answers. What nobody thought of in it is no end of the other engines."""
        try:
            return await answer
        except EngineError:
            raise
        except Exception as error:
            if not isinstance(self.last_error, ReplyUnusable):
                log.exception("an answer of the engine was not foreseen", engine=self.engine.name)
            raise ReplyUnusable(
                self.engine.name, f"an answer was not foreseen: {error!r}."
            ) from error

    def _rest_end(self) -> float:
        """When the engine has had its rest from the costly part of the last listing."""
        now = asyncio.get_running_loop().time()
        since = self._lister.pages_since
        return now if since is None else since + _REST * (now - since)

    @property
    def _first_retry(self) -> float:
        return min(self._poll, _FIRST_RETRY)

    def _retry_delay(self, failures: int) -> float:
        longest = max(self._poll, _LAST_RETRY)
        return float(min(self._first_retry * 2 ** min(failures - 1, 16), longest))

    def _failed(self, error: EngineError) -> None:
        name = self.engine.name
        if type(error) is not type(self.last_error):
            notes = getattr(error, "__notes__", ())
            log.warning(
                "what is known of the engine is not renewed",
                engine=name,
                kind=type(error).__name__,
                why=str(error),
                **({"notes": ", ".join(notes)} if notes else {}),
            )
        if self.last_error is None:
            self._failing_since = asyncio.get_running_loop().time()
        self._failures += 1
        self.last_error = error
        self._metrics.engine_up.labels(name).set(0)
        self._metrics.snapshots_rejected.labels(name, type(error).__name__).inc()

    def _succeeded(self, took: float) -> None:
        name = self.engine.name
        if self.last_error is not None:
            down = round(asyncio.get_running_loop().time() - self._failing_since, 1)
            log.info("what is known of the engine is renewed again", engine=name, after=down)
        self._failures = 0
        self.last_error = None
        self._metrics.engine_up.labels(name).set(1)
        self._metrics.snapshot_duration.labels(name).observe(took)

    async def _read_waiting(self) -> None:
        """Reads what waits, one VM at a time, until the next listing is due."""
        loop = asyncio.get_running_loop()
        not_before = loop.time() if self.last_error is None else math.inf
        while self._due - loop.time() > _TICK:
            self._news.clear()
            found = self._waiting.next(loop.time())
            when = max(found[1], not_before) if found else math.inf
            if found is None or when - loop.time() > _TICK:
                await self._sleep_until(min(self._due, when))
            else:
                not_before = await self._read_one(found[0])

    async def _read_one(self, instance_id: str) -> float:
        """When the next VM may be read: the engine rests in between, longer when it fails."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._read(instance_id)
        except InternalFault:
            self._waiting.was_read(instance_id, None, loop.time())
        except EngineError as error:
            log.debug("reading a VM failed", engine=self.engine.name, error=error.message)
            self._read_failures += 1
            return loop.time() + self._retry_delay(self._read_failures)
        self._read_failures = 0
        return loop.time() + (_REST - 1) * (loop.time() - began)

    async def _sleep_until(self, when: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(when):
                await self._news.wait()

    async def _read(self, instance_id: str) -> None:
        snapshot = self.snapshot
        if snapshot is None:
            return
        asked = asyncio.get_running_loop().time()
        is_member = instance_id in snapshot.instances or instance_id in snapshot.unreadable
        member = await self._apart(self._lister.read(instance_id, is_member=is_member))
        instance = member if isinstance(member, Instance) else None
        self._waiting.was_read(instance_id, instance, asyncio.get_running_loop().time())
        if member is None:
            self._lost(instance_id, is_member=is_member)
        if instance is None:
            return
        self._absences.seen(instance_id)
        self._confirmed[instance_id] = asked
        if snapshot.instances.get(instance_id) != instance:
            newer = with_instance(snapshot, instance)
            self._publish(newer, changed_ids(snapshot, newer))

    def _lost(self, instance_id: str, *, is_member: bool) -> None:
        """What is not there, or not selected: only a listing takes a VM out of the snapshot."""
        if is_member:
            self.list_soon()
        else:
            self._waiting.forget(instance_id)

    def _publish(self, snapshot: Snapshot, changed: frozenset[str]) -> None:
        before, self.snapshot = self.snapshot, snapshot
        self._census.count(before, snapshot, changed)
        for subscriber in self._subscribers:
            subscriber(snapshot, changed)
