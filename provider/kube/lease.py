"""Leader election: of several replicas only the holder of a Lease works.

As client-go's: 15 s, 10 s and 2 s, and nobody compares his clock with another's: a Lease has
expired when its record has not changed for its duration of the observer's own time. Beyond it,
the holder's time counts from when the renewal was *sent*, its deadline includes requests that
hang, and standbys watch, so that a Lease that is given up is taken at once.

All times are the loop's (CLOCK_MONOTONIC), which goes on while the process is stopped, but stands
still while the machine is suspended or its VM paused. A holder that wakes from that believes in
its lease until the next renewal; then only the resourceVersions of what it writes protect.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from msgspec import Struct

from provider.errors import Conflict, Gone, KubeError, LeaseLost, NotFound

from .lease_client import NAME, RELEASED, Lease, LeaseClient, stamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.metrics import Metrics

    from .tenure import Tenure

# The defaults of every controller of Kubernetes (component-base/config).
_DURATION = 15.0  # seconds that a record must be unchanged before others take the Lease
_DEADLINE = 10.0  # seconds after a renewal until the holder gives up
_RETRY = 2.0  # seconds between two tries
_JITTER = 0.1
# The holder writes every 2 s: a watch that is silent for longer hangs, or the holder is gone.
_SILENCE = timedelta(seconds=3 * _RETRY)
_LAST_BACK_OFF = 60.0  # seconds until a watch that cannot be had is tried again
_RELEASE = 2.0  # seconds that giving the Lease up may take; others need it within 3
_TICK = 0.001  # seconds; a timer may fire a little early
_SAY = 1.0  # seconds that an Event may take
# The framework's health check (client-go leaderelection/healthzadaptor.go) is this late.
_TOLERANCE = 20.0

_log = structlog.get_logger(__name__)


class _Record(Struct, frozen=True):
    """The Lease when it was seen to change last, at `since` of the loop's time."""

    lease: Lease
    since: float

    @property
    def end(self) -> float:
        """When it has expired unless it changes; one without duration has ours."""
        return self.since + (self.lease.spec.get("leaseDurationSeconds") or _DURATION)


class LeaderElector:
    """Takes the Lease, keeps it while there is work, and gives it up."""

    def __init__(self, client: LeaseClient, metrics: Metrics, tenure: Tenure) -> None:
        """`tenure` may come from an elector that has ended: this one keeps what it held."""
        tenure.is_kept = False
        self.identity = tenure.identity
        self._tenure = tenure
        self._client = client
        self._status = metrics.leader_status.labels(NAME)
        self._status.set(0)
        self._slow_path = metrics.leader_slow_path.labels(NAME)
        self._lease: Lease | None = None  # as it was read last; None when there is none
        self._record: _Record | None = None  # stays when the Lease is deleted: its holder works on
        self._renewed: float | None = None  # when the last renewal was sent; None when not leading
        self.has_waited = False
        """Whether another was seen to lead, or to take the Lease first, since the beginning."""
        self._watch_from = 0.0
        self._watch_failures = 0
        self._trouble: str | None = None

    @property
    def is_leading(self) -> bool:
        """Whether the Lease was taken and neither lost nor given up since."""
        return self._renewed is not None

    def time_left(self) -> float:
        """Seconds for which nobody else can take the Lease, whatever happens; 0 at least.

        A lower bound: others wait for its duration from when they *saw* the last renewal, which
        is after it was sent.
        """
        if self._renewed is None:
            return 0.0
        return max(0.0, self._renewed + _DURATION - _now())

    def overdue(self) -> str | None:
        """What is wrong when this process leads and has not renewed for 20 s longer than it may.

        The framework's check `leaderElection`: then even its own end has failed.
        """
        late = _now() - self._renewed - _DURATION if self._renewed is not None else 0.0
        return f"the lease ended {late:.0f} s ago" if late > _TOLERANCE else None

    async def run(self, work: Callable[[], Awaitable[NoReturn]]) -> NoReturn:
        """Wait for the Lease, then `work` as long as it is held; then give it up, unless kept.

        LeaseLost when it could not be kept; whatever `work` raises. Others can take the Lease
        only after `work` has ended, at a cancellation too.
        """
        try:
            while not await self._take():
                await self._stand_by()
            await self._lead(work)
        finally:
            await self.give_up()
        raise AssertionError  # leading never ends by itself

    # ---- standing by -----------------------------------------------------------------------

    async def _take(self) -> bool:
        """Whether the Lease is ours now; not so when it is another's, or could not be asked."""
        try:
            await self._read()
            if self._is_held():
                self.has_waited = True
                return False
            await self._write()
        except Conflict:
            self.has_waited = True
            return False  # another was quicker
        except KubeError as error:
            self._failed(error)
            return False
        self._status.set(1)
        return True

    def _is_held(self) -> bool:
        """Whether another holds it for all that we have seen.

        Whoever held a Lease that was deleted or wiped goes on: it counts until it expires.
        """
        record = self._record
        if record is None or record.lease.holder in ("", self.identity):
            return False
        return _now() < record.end

    async def _stand_by(self) -> None:
        """Return when the Lease may be free, or should be read again.

        A watch that cannot be had is tried less and less often; meanwhile the Lease is read every
        two seconds.
        """
        if self._lease and self._is_held() and _now() >= self._watch_from:
            try:
                await self._watch(self._lease)
            except TimeoutError:
                return
            except Gone:
                pass  # reading it anew is all it takes
            except KubeError as error:
                self._put_off_watch(error)
            if not self._is_held():
                return
        await asyncio.sleep(_jittered(_RETRY))

    async def _watch(self, lease: Lease) -> None:
        """Follow the Lease until it is free or the watch ends; TimeoutError when it is silent."""
        async with (
            asyncio.timeout_at(self._next_look()) as end,
            aclosing(self._client.watch(lease, 2 * _SILENCE)) as changes,
        ):
            async for change in changes:
                self._watch_failures = 0
                self._observe(change)
                if not self._is_held():
                    return
                end.reschedule(self._next_look())

    def _next_look(self) -> float:
        record = self._record
        silence = _now() + _SILENCE.total_seconds()
        return min(silence, record.end + _TICK) if record else silence

    def _put_off_watch(self, error: KubeError) -> None:
        pause = min(_RETRY * 2**self._watch_failures, _LAST_BACK_OFF)
        self._watch_failures = min(self._watch_failures + 1, 10)
        self._watch_from = _now() + _jittered(pause)
        _log.debug("the lease cannot be watched", why=str(error), again_in=pause)

    # ---- leading ---------------------------------------------------------------------------

    async def _lead(self, work: Callable[[], Awaitable[NoReturn]]) -> None:
        """Raise what ends `work` or the renewals; both have ended then."""
        _log.info("leading", lease=NAME, identity=self.identity)
        working = asyncio.ensure_future(work())
        keeping = asyncio.create_task(self._keep())
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            for task in (keeping, working):
                if task.done():
                    task.result()
        finally:
            await _end(working)
            await _end(keeping)

    async def _keep(self) -> NoReturn:
        """Renew until cancelled; LeaseLost when that was impossible for 10 s."""
        if not self._tenure.has_led:
            self._tenure.has_led = True
            await self._say("became leader")
        due = _now() + _jittered(_RETRY)
        while self._renewed is not None and _now() < self._renewed + _DEADLINE - _TICK:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._renewed + _DEADLINE):
                    await asyncio.sleep(due - _now())
                    due = _now() + _jittered(_RETRY)
                    await self._renew()
        why = self._trouble or "no answer"
        raise self._lost(f"not renewed for {_DEADLINE:.0f} s: {why}")

    async def _renew(self) -> None:
        """Try to renew; what stands in the way now is logged, and tried again."""
        try:
            try:
                await self._write()
            except (Conflict, NotFound):
                self._slow_path.inc()
                await self._read()
                if self._lease and self._lease.holder not in ("", self.identity):
                    raise self._lost(f"{self._lease.holder} has taken it") from None
                await self._write()
        except KubeError as error:
            self._failed(error)

    def _lost(self, why: str) -> LeaseLost:
        self._renewed = None
        _log.error("lease lost", lease=NAME, identity=self.identity, why=why)
        return LeaseLost(f"this process leads no longer, as the lease {NAME} is lost: {why}.")

    async def give_up(self) -> None:
        """Let another have the Lease at once, if it is still ours and is not to be kept."""
        tenure = self._tenure
        self._renewed = None
        self._status.set(0)
        if tenure.is_kept or not tenure.is_claimed:
            return
        with suppress(TimeoutError, KubeError):
            async with asyncio.timeout(_RELEASE):
                await self._release()
        tenure.is_claimed = False
        if tenure.has_led:
            tenure.has_led = False
            await self._say("stopped leading")
            _log.info("stopped leading", lease=NAME, identity=self.identity)

    async def _release(self) -> None:
        """Empty the Lease."""
        for _ in range(5):  # others may change it in between
            if self._lease and self._lease.holder == self.identity:
                spec = dict(RELEASED)
                spec |= dict.fromkeys(("renewTime", "acquireTime"), stamp(datetime.now(UTC)))
                with suppress(Conflict, NotFound):
                    await self._client.replace(self._lease, spec)
                    return
            await self._read()
            if self._lease is None or self._lease.holder != self.identity:
                return

    async def _say(self, what: str) -> None:
        """An Event on the Lease, when it can be had quickly."""
        if self._lease:
            with suppress(TimeoutError, KubeError):
                async with asyncio.timeout(_SAY):
                    await self._client.say(self._lease, f"{self.identity} {what}")

    # ---- reading and writing -----------------------------------------------------------------

    async def _read(self) -> None:
        """Read the Lease anew."""
        try:
            lease = await self._client.read()
        except NotFound:
            self._lease = None
            self._recovered()
        else:
            self._observe(lease)

    async def _write(self) -> None:
        """Write ourselves into the Lease, which is made when there is none.

        Conflict when another wrote since it was read.
        """
        sent = _now()
        lease = self._lease
        self._tenure.is_claimed = True  # also when no answer comes
        if lease is None:
            lease = await self._client.create(self._claim({}))
        else:
            lease = await self._client.replace(lease, self._claim(lease.spec))
        self._renewed = sent
        self._observe(lease)

    def _claim(self, before: dict[str, Any]) -> dict[str, Any]:
        now = stamp(datetime.now(UTC))
        spec = {"holderIdentity": self.identity, "leaseDurationSeconds": round(_DURATION)}
        spec["renewTime"] = now
        if before.get("holderIdentity") == self.identity:
            return spec
        transitions = (before.get("leaseTransitions") or 0) + 1 if before else 0
        return spec | {"acquireTime": now, "leaseTransitions": transitions}

    def _observe(self, lease: Lease) -> None:
        """Take in the Lease as it is now."""
        before = self._record.lease if self._record else None
        is_wiped = not lease.holder and not lease.is_released
        if (before is None or before.spec != lease.spec) and not (is_wiped and self._is_held()):
            self._record = _Record(lease, _now())
        self._lease = lease
        self._recovered()
        is_news = before is None or before.holder != lease.holder
        if is_news and lease.holder not in ("", self.identity) and not self.is_leading:
            _log.info("standing by", lease=NAME, holder=lease.holder)

    def _failed(self, error: KubeError) -> None:
        if self._trouble is None:
            _log.warning("the lease cannot be had; trying again", why=str(error))
        self._trouble = str(error)

    def _recovered(self) -> None:
        if self._trouble is not None:
            _log.info("the lease can be read again", trouble=self._trouble)
            self._trouble = None


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel the task and return when it has ended, whatever came of it."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _jittered(seconds: float) -> float:
    """`seconds` give or take a tenth, so that replicas do not ask all at once."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
