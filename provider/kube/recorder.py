"""Events about nodes and engines, repeats counted, never in the way of a reconcile."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from msgspec import Struct

from provider.errors import (
    ApiUnavailable,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    OutcomeUnknown,
    TooManyRequests,
)
from provider.model import Level

if TYPE_CHECKING:
    from provider.metrics import Metrics
    from provider.model import Node, Notice

    from .api import KubeApi

COMPONENT = "ovirt-cloud-controller-manager"
"""Who says it: the `From` of `kubectl describe`."""

# The API server takes Events about objects without a namespace only in this one.
_NAMESPACE = "default"
# A repeat within this time is counted and not sent.
_REPEAT_SECONDS = 300.0
# Enough for one Event on each of 5,000 nodes at once; each remembered series is about 0.5 KB.
_REMEMBERED = 8192
_QUEUED = 5000
# One at a time, each followed by a rest of nine times as long as it took: an API server that is
# busy with thousands of nodes hears of few, a free one of 20 a second.
_SHARE = 9
_REST = 0.05  # seconds at least
_LONGEST_REST = 1.0
_FIRST_DELAY = 1.0
_LAST_DELAY = 30.0
_TRIES = 6
# The bound of `note` in events.k8s.io/v1, which is the same object.
_MESSAGE = 1024
_NAME = 200  # of the object's name within the Event's, which has 253 characters

_log = structlog.get_logger(__name__)


class _Subject(Struct, frozen=True):
    """What an Event is about."""

    kind: str
    name: str
    uid: str | None


@dataclass(slots=True)
class _Series:
    """All that is alike: one Event object, whose count grows."""

    subject: _Subject
    notice: Notice
    first: datetime
    last: datetime
    count: int = 0
    name: str = ""
    is_created: bool = False
    is_queued: bool = False
    sent: float | None = None


class EventRecorder:
    """Sends what is recorded; `run` does the sending, and nothing else ever waits for it.

    Warnings have a queue of their own; what does not fit its bounded queue is dropped and counted.
    """

    def __init__(self, api: KubeApi, metrics: Metrics) -> None:
        self._api = api
        self._metrics = metrics
        self._series: OrderedDict[tuple[_Subject, Notice], _Series] = OrderedDict()
        self._urgent: deque[_Series] = deque()  # warnings: not behind thousands of good news
        self._queue: deque[_Series] = deque()
        self._turn = 0
        self._arrived = asyncio.Event()
        self._instance = platform.node()

    def record(self, node: Node, notice: Notice) -> None:
        """Say `notice` about `node`; one that only waits is not said.

        The Event names the Node's uid: `kubectl describe node` looks for that and for the name in
        its place (which kubelets write), and only the uid keeps it off a later Node of the same
        name.
        """
        self._add(_Subject("Node", node.name, node.uid), notice)

    def record_engine(self, engine: str, notice: Notice) -> None:
        """Say `notice` about the engine called `engine`, which is no object of the cluster.

        It goes to the Namespace kube-system, where the controller lives; `kubectl get events`
        shows it beside those of the nodes.
        """
        prefix = f"engine {engine}: "
        message = prefix + notice.message.removeprefix(prefix)
        self.record_cluster(type(notice)(notice.level, notice.reason, message))

    def record_cluster(self, notice: Notice) -> None:
        """Say `notice` about the cluster as a whole, on the Namespace kube-system."""
        self._add(_Subject("Namespace", "kube-system", None), notice)

    async def run(self) -> NoReturn:
        """Send what is recorded until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            while not (self._urgent or self._queue):
                self._arrived.clear()
                await self._arrived.wait()
            began = clock()
            await self._deliver(self._next())
            await asyncio.sleep(min(max(_REST, _SHARE * (clock() - began)), _LONGEST_REST))

    def _next(self) -> _Series:
        """A warning, if there is one; when both wait every fourth is something else."""
        if self._urgent and self._queue:
            self._turn = (self._turn + 1) % 4
            return (self._urgent if self._turn else self._queue).popleft()
        return (self._urgent or self._queue).popleft()

    def _add(self, subject: _Subject, notice: Notice) -> None:
        if notice.level is Level.WAITING:
            return
        now = datetime.now(UTC)
        key = subject, notice
        series = self._series.setdefault(key, _Series(subject, notice, first=now, last=now))
        self._series.move_to_end(key)
        series.count += 1
        series.last = now
        if not series.is_queued and self._is_due(series):
            self._enqueue(key, series)
        if len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)

    def _is_due(self, series: _Series) -> bool:
        now = asyncio.get_running_loop().time()
        return series.sent is None or now - series.sent >= _REPEAT_SECONDS

    def _enqueue(self, key: tuple[_Subject, Notice], series: _Series) -> None:
        queue = self._urgent if series.notice.level is Level.WARNING else self._queue
        if len(queue) >= _QUEUED:
            self._metrics.events_dropped.labels("queue_full").inc()
            if not series.is_created:
                del self._series[key]
            return
        series.is_queued = True
        queue.append(series)
        self._arrived.set()

    async def _deliver(self, series: _Series) -> None:
        """Send with some patience, then drop."""
        series.is_queued = False
        series.sent = asyncio.get_running_loop().time()
        delay = _FIRST_DELAY
        cause = "unavailable"
        for _ in range(_TRIES):
            try:
                await self._send(series)
            except TooManyRequests as error:
                await asyncio.sleep(error.retry_after)
            except (ApiUnavailable, OutcomeUnknown, Forbidden) as error:
                # An API server that has just started refuses until it has read its roles.
                cause = "refused" if isinstance(error, Forbidden) else "unavailable"
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LAST_DELAY)
            except KubeError as error:
                _log.warning("an event was refused", reason=series.notice.reason, why=str(error))
                self._metrics.events_dropped.labels("refused").inc()
                return
            else:
                self._metrics.events.labels(series.notice.level, series.notice.reason).inc()
                return
        if cause == "refused":
            _log.warning("events are refused", reason=series.notice.reason)
        self._metrics.events_dropped.labels(cause).inc()

    async def _send(self, series: _Series) -> None:
        if series.is_created:
            change = {"count": series.count, "lastTimestamp": _stamp(series.last)}
            try:
                await self._api.patch_event(_NAMESPACE, series.name, change)
            except NotFound:  # Events live for an hour
                series.is_created = False
                series.name = ""
            else:
                return
        series.name = series.name or _event_name(series.subject)
        with contextlib.suppress(Conflict):  # an earlier try has arrived after all
            await self._api.create_event(_NAMESPACE, self._event(series))
        series.is_created = True

    def _event(self, series: _Series) -> dict[str, Any]:
        subject, notice = series.subject, series.notice
        involved = {"apiVersion": "v1", "kind": subject.kind, "name": subject.name}
        if subject.uid:
            involved["uid"] = subject.uid
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": _NAMESPACE},
            "involvedObject": involved,
            "type": str(notice.level),
            "reason": notice.reason,
            "message": _clipped(notice.message),
            "count": series.count,
            "firstTimestamp": _stamp(series.first),
            "lastTimestamp": _stamp(series.last),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }


def _event_name(subject: _Subject) -> str:
    return f"{subject.name[:_NAME].rstrip('.-')}.{secrets.token_hex(8)}"


def _clipped(message: str) -> str:
    return message if len(message) <= _MESSAGE else f"{message[: _MESSAGE - 1]}…"


def _stamp(moment: datetime) -> str:
    """RFC 3339 with whole seconds, the form of metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
