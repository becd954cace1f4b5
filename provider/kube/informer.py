"""All Nodes in memory, kept true by list and watch, and the names that changed."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, suppress
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

import structlog

from provider.errors import ApiUnavailable, Gone, KubeError, TooManyRequests

from .codec import (
    Undecodable,
    WatchEvent,
    decode_event,
    decode_node_event,
    decode_version,
    version_number,
)
from .replies import decode_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.metrics import Metrics
    from provider.model import Node

    from .api import KubeApi
    from .codec import NodePage

_PAGE = 500
# The API server sends a bookmark about every minute (cacher: bookmarkFrequency) unless nothing at
# all has changed. A half-open connection is silent for hours and gives no error.
_IDLE = timedelta(seconds=75)
# client-go: 5 to 10 minutes at random, so that watches do not all end at once.
_LIFETIME = (300.0, 600.0)
# client-go's reflector: 0.8 s, doubled up to 30 s.
_FIRST_DELAY = 0.8
_LAST_DELAY = 30.0
# A healthy but quiet API server was seen to be silent for 121 s before its first bookmark, and
# two idle time-outs bring a new listing: whoever heard nothing for twice that is cut off.
_CURRENT = 300.0
# Two watches never start within this time: a server may close each at once with status 200.
_FLOOR = 1.0
# A watch that lasted this long worked, even when nothing happened: no reason for a long pause.
_LONG = 5.0
# A burst of events must not keep the loop from everything else.
_BREATH = 50

_log = structlog.get_logger(__name__)


class NodeInformer:
    """The Nodes of one API server; `run` keeps them true."""

    def __init__(self, api: KubeApi, metrics: Metrics) -> None:
        self._api = api
        self._metrics = metrics
        self._nodes: dict[str, Node] = {}
        self.nodes: Mapping[str, Node] = MappingProxyType(self._nodes)
        """All Nodes by name, a view that follows every change."""
        self._observed: dict[str, Node] | None = None  # put in by writers during a listing
        self._position = ""  # resourceVersion up to which the store is true; "" is none
        self._synced = asyncio.Event()
        self._subscribers: list[Callable[[str], None]] = []
        self._failures = 0
        self._expirations = 0
        self._silences = 0
        self._trouble: str | None = None
        self.last_contact: float | None = None
        """When the API server was heard last, in the loop's seconds; None before that."""

    @property
    def is_synced(self) -> bool:
        """Whether all Nodes have been listed once."""
        return self._synced.is_set()

    @property
    def is_current(self) -> bool:
        """Whether the API server was heard in the last five minutes, so that `nodes` can be true.

        Only then may Nodes be made or removed; writes to one Node carry its resourceVersion.
        """
        heard = self.last_contact
        return heard is not None and asyncio.get_running_loop().time() - heard < _CURRENT

    async def wait_synced(self) -> None:
        """Return when all Nodes have been listed once."""
        await self._synced.wait()

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the name of each Node that comes, changes or goes."""
        self._subscribers.append(callback)

    def observe(self, node: Node) -> None:
        """Take in the Node that a write returned, so that the next look does not see an old one.

        Nothing happens when the watch has passed that version: what it said counts, also that
        the Node is gone.
        """
        known = self._nodes.get(node.name)
        versions = (self._position, known.resource_version if known else "")
        if version_number(node.resource_version) > max(map(version_number, versions)):
            if self._observed is not None:
                self._observed[node.name] = node
            self._nodes[node.name] = node
            self._tell(node.name)

    async def run(self) -> NoReturn:
        """List and watch until cancelled; survives whatever the API server or the network does."""
        while True:
            started = asyncio.get_running_loop().time()
            retry_after = 0.0
            try:
                if not self._position:
                    await self._list()
                await self._watch()
                self._ended("closed")
            except Gone:
                self._expire()
            except TimeoutError:
                self._idle()
            except TooManyRequests as error:
                retry_after = error.retry_after
                self._lost("error", str(error))
            except (KubeError, Undecodable) as error:
                self._lost("error", str(error))
            lived = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(self._back_off(lived), _FLOOR - lived, retry_after))

    # ---- listing ---------------------------------------------------------------------------

    async def _list(self) -> None:
        observed: dict[str, Node] = {}
        self._observed = observed
        try:
            try:
                listed, version = await self._pages(_PAGE)
            except Gone:
                # The pages expired while they were read: history is short, so read it at one go.
                listed, version = await self._pages(0)
        finally:
            self._observed = None
        self._replace(listed, observed, version)
        self._synced.set()

    async def _pages(self, limit: int) -> tuple[dict[str, Node], str]:
        listed: dict[str, Node] = {}
        continue_ = ""
        while True:
            page = await self._api.nodes_page(limit, continue_)
            self._heard()
            self._report_unreadable(page)
            listed.update({node.name: node for node in page.nodes})
            continue_ = page.continue_
            if not continue_:
                return listed, page.resource_version
            await asyncio.sleep(0)

    def _replace(self, listed: dict[str, Node], observed: dict[str, Node], version: str) -> None:
        """Make the listing the truth and report every difference, deletions included.

        What writers `observed` after the listing's version stays: the watch goes on from there.
        """
        listed |= {
            name: node
            for name, node in observed.items()
            if version_number(node.resource_version) > version_number(version)
        }
        before = dict(self._nodes)
        self._nodes.clear()
        self._nodes.update(listed)
        self._position = version
        for name in before.keys() | listed.keys():
            if not _is_same(before.get(name), listed.get(name)):
                self._tell(name)

    def _report_unreadable(self, page: NodePage) -> None:
        for why in page.unreadable:
            _log.warning("a node cannot be read and is left out", why=why)

    # ---- watching --------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Apply events until the stream ends."""
        lifetime = timedelta(seconds=random.uniform(*_LIFETIME))  # noqa: S311 - no secret
        lines = self._api.watch_nodes(self._position, lifetime, _IDLE)
        count = 0
        async with aclosing(lines):
            async for line in lines:
                self._heard()
                self._position = self._apply(line)
                self._recovered()
                count += 1
                if count % _BREATH == 0:
                    await asyncio.sleep(0)

    def _apply(self, line: bytes) -> str:
        """Take in one event; the resourceVersion up to which the store is true then."""
        try:
            change, node = decode_node_event(line)
        except Undecodable as error:
            return self._apply_odd(line, str(error))
        if change == "ERROR":
            return self._apply_odd(line, "")
        if change != "BOOKMARK":
            self._apply_node(change, node)
        return node.resource_version or self._position

    def _apply_odd(self, line: bytes, why: str) -> str:
        """Raise the error that it is, or leave out the change of a Node that cannot be read."""
        try:
            event = decode_event(line)
        except Undecodable:
            self._position = ""  # what it said is lost
            raise
        if event.type == "ERROR":
            self._raise(event)
        _log.warning("a node cannot be read; its change is left out", why=why)
        with suppress(Undecodable):
            return decode_version(event.raw)
        return self._position

    def _apply_node(self, change: str, node: Node) -> None:
        known = self._nodes.get(node.name)
        if known and version_number(known.resource_version) > version_number(
            node.resource_version
        ):
            return  # a writer has put in what comes later
        if change == "DELETED":
            self._nodes.pop(node.name, None)
        else:
            self._nodes[node.name] = node
        if not _is_same(known, self._nodes.get(node.name)):
            self._tell(node.name)

    def _raise(self, event: WatchEvent) -> NoReturn:
        """An ERROR ends the watch; only a new listing is sure to know the truth after it."""
        self._position = ""
        status = decode_status(event.raw)
        if status and status.code == 410:
            raise Gone(f"watch nodes: {status.message}")
        raise ApiUnavailable(f"watch nodes: {status.message if status else event.raw[:200]!r}")

    # ---- telling ---------------------------------------------------------------------------

    def _tell(self, name: str) -> None:
        for callback in self._subscribers:
            callback(name)

    def _heard(self) -> None:
        self.last_contact = asyncio.get_running_loop().time()

    def _ended(self, reason: str) -> None:
        self._metrics.informer_restarts.labels(reason).inc()
        self._failures += 1

    def _expire(self) -> None:
        """Have all listed anew, soon: an API server that says so is back from its outage.

        Only what expires again and again is put off.
        """
        self._position = ""
        self._ended("expired")
        self._expirations += 1
        self._failures = self._expirations

    def _idle(self) -> None:
        """Take the silence for a dead connection, the second time for a position of no use.

        A quiet API server has nothing to bookmark, so that this says nothing about it. An etcd
        restored from a backup is behind our position and would be silent for ever.
        """
        self._silences += 1
        if self._silences > 1:
            self._silences = 0
            self._position = ""
        self._ended("idle")

    def _lost(self, reason: str, why: str) -> None:
        self._ended(reason)
        if self._trouble is None:
            _log.warning("the watch on nodes is broken; trying again", reason=reason, why=why)
        self._trouble = why

    def _recovered(self) -> None:
        self._failures = 0
        self._expirations = 0
        self._silences = 0
        if self._trouble is not None:
            _log.info("the watch on nodes works again", trouble=self._trouble)
            self._trouble = None

    def _back_off(self, lived: float) -> float:
        """Seconds to wait, with jitter, after a try that lasted `lived` seconds."""
        if lived >= _LONG:
            self._failures = 1
        doubled: float = _FIRST_DELAY * 2 ** min(max(self._failures - 1, 0), 10)
        return min(doubled, _LAST_DELAY) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _is_same(before: Node | None, after: Node | None) -> bool:
    if before is None or after is None:
        return before is after
    return before.uid == after.uid and before.resource_version == after.resource_version
