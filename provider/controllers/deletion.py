"""Deletes the Nodes whose instance is gone: on proof, within the budget, and never more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from provider.controllers.witness import ask_presence
from provider.decisions.budget import (
    Record,
    RecordUnreadable,
    claim,
    format_record,
    latch,
    lift,
    parse_record,
    saw,
)
from provider.errors import Conflict, EngineError, KubeError, NotFound
from provider.kube.ledger import Ledger
from provider.model import Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.controllers.history import Histories
    from provider.controllers.workbench import Workbench
    from provider.decisions.lifecycle import Delete
    from provider.model import Node
    from provider.ovirt.inventory import Inventory

# The record of deletions is read again after this time while somebody waits for it: an operator
# may have lifted the latch.
_RENEW = 10.0  # seconds
# The newest events of the engines are recorded with all that is recorded, else so often at most.
_SEEN = 300.0  # seconds

_log = structlog.get_logger(__name__)

LATCHED = "the budget of deletions is exceeded: `ovirt-ccm deletions` shows what is held"


class Deleter:
    """One deletion at a time, each in the record before it is done."""

    def __init__(self, bench: Workbench, histories: Histories) -> None:
        self._policy = bench.config.deletion
        self._histories = histories
        self._api = bench.api
        self._informer = bench.informer
        self._recorder = bench.recorder
        self._metrics = bench.metrics
        self._ledger = Ledger(bench.api)
        self._record = Record()
        self._trouble = "the record of deletions was not read yet"
        self._read_at = float("-inf")
        self._seen_at = asyncio.get_running_loop().time()
        self._latched_since = float("inf")
        self._rehearsed: set[str] = set()  # uids that a dry run has told

    # ---- the record ------------------------------------------------------------------------

    @property
    def is_latched(self) -> bool:
        """Whether the budget is latched, as far as the record was read."""
        return self._record.latched is not None

    def obstacle(self, node: Node) -> str:
        """Why the budget lets `node` not be deleted now; "" when it may be tried."""
        if self._policy.mode == "dry-run":
            return ""
        if self._trouble:
            return self._trouble
        return LATCHED if self.is_latched and node.uid not in self._record.allowed else ""

    async def renew(self) -> None:
        """Read the record, unless that was done just now."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at < _RENEW:
            return
        self._read_at = now
        try:
            text = await self._ledger.read()
            if text or self._record == Record():
                self._know(parse_record(text))
                return
        except (KubeError, RecordUnreadable) as error:
            self._know_nothing(error)
            return
        await self._change(lambda record: record)

    @property
    def latched_since(self) -> float:
        """Since when, in the loop's time, this process knows of the latch; for ever without."""
        return self._latched_since

    async def latch(self, engine: str) -> bool:
        """Whether the latch is in the record now: the engine was restored from a backup."""
        now = datetime.now(UTC)
        if not await self._change(lambda record: latch(record, now)):
            return False
        self._seen_at = float("-inf")  # what it has now is recorded at the next look
        message = (
            f"engine {engine} was restored from a backup: VMs that were made after it may run and"
            " be unknown to it; no Node is deleted until all VMs are there again or"
            " `ovirt-ccm deletions allow` lets them go"
        )
        self._recorder.record_cluster(Notice(Level.WARNING, Reason.DELETION_HELD, message))
        return True

    async def lift(self) -> None:
        """The instances have returned: let deletions go on."""
        if not await self._change(lift):
            return
        _log.info("all VMs are there again: nodes may be deleted again")
        message = "every node has its VM again: Nodes whose VM is gone may be deleted again"
        self._recorder.record_cluster(Notice(Level.NORMAL, Reason.DELETIONS_RESUMED, message))

    async def follow_engines(self) -> None:
        """Compare engines that are new with what the record says of them, and have it go on.

        Until an engine was compared nothing is deleted for it.
        """
        if self._policy.mode != "enforce":
            return
        if self._trouble:
            await self.renew()
        if self._trouble:
            return
        await self._histories.check(self._record.events)
        now = asyncio.get_running_loop().time()
        newest = self._histories.newest
        if now - self._seen_at >= _SEEN and saw(self._record, newest) != self._record:
            self._seen_at = now
            await self._change(lambda record: record)

    async def _change(self, change: Callable[[Record], Record]) -> bool:
        """Whether the record was changed so; the engines' newest events go with it.

        One that was deleted together with the Lease comes back as it was known: its latch counts.
        """
        newest = self._histories.newest

        def rewrite(text: str) -> str:
            record = parse_record(text) if text else self._record
            return format_record(saw(change(record), newest))

        try:
            text = await self._ledger.update(rewrite)
        except (KubeError, RecordUnreadable) as error:
            self._know_nothing(error)
            return False
        self._know(parse_record(text))
        return True

    def _know(self, record: Record) -> None:
        if record.latched is None:
            self._latched_since = float("inf")
        elif not self.is_latched:
            self._latched_since = asyncio.get_running_loop().time()
        self._record = record
        self._trouble = ""
        self._metrics.deletions_latched.set(self.is_latched)

    def _know_nothing(self, error: Exception) -> None:
        trouble = f"the record of deletions cannot be read or written: {error}"
        if trouble != self._trouble:
            _log.warning("no node is deleted", why=trouble)
        self._trouble = trouble

    # ---- deleting --------------------------------------------------------------------------

    async def delete(
        self, node: Node, verdict: Delete, inventory: Inventory, managed: int
    ) -> None:
        """Delete `node`, if it may be and is as it was judged; `managed` nodes are ours."""
        if self._policy.mode == "dry-run":
            self._rehearse(node, verdict)
            return
        if not self._histories.is_checked(inventory) or not await self._claim(node, managed):
            return
        self._say(node, Level.NORMAL, Reason.DELETING_NODE, f"deleting the node: {verdict.reason}")
        if not await self._is_proven(node, verdict, inventory):
            return
        if self._informer.nodes.get(node.name) != node:
            return  # it is judged again as it is now
        await self._send(node, verdict)

    def _rehearse(self, node: Node, verdict: Delete) -> None:
        if node.uid in self._rehearsed:
            return
        self._rehearsed.add(node.uid)
        self._count("dry_run")
        message = f"would delete the node: {verdict.reason}"
        self._say(node, Level.NORMAL, Reason.DELETION_DRY_RUN, message)

    async def _claim(self, node: Node, managed: int) -> bool:
        """Whether the deletion is in the record now; what exceeds the budget latches it."""
        granted: list[bool] = []
        was_latched = self.is_latched
        if not await self._change(self._claiming(node, managed, granted)):
            self._count("failed")
            return False
        if granted[-1]:
            return True
        if not was_latched:
            self._count("held")
            _log.error("too many nodes want to be deleted: none is until told so", node=node.name)
            message = f"{LATCHED}; `ovirt-ccm deletions allow` lets them go"
            self._recorder.record_cluster(Notice(Level.WARNING, Reason.DELETION_HELD, message))
        return False

    def _claiming(
        self, node: Node, managed: int, granted: list[bool]
    ) -> Callable[[Record], Record]:
        def change(record: Record) -> Record:
            after, may = claim(record, node, managed, self._policy.budget, datetime.now(UTC))
            granted.append(may)
            return after

        return change

    async def _is_proven(self, node: Node, verdict: Delete, inventory: Inventory) -> bool:
        """Whether the engine says once more, right before the deletion, what it said before."""
        try:
            presence = await ask_presence(inventory, node, verdict.instance_id)
        except EngineError as error:
            self._count("unproven")
            _log.warning("the node is kept: no proof", node=node.name, why=error.message)
            return False
        if presence is not verdict.presence:
            self._count("unproven")
            _log.warning("the node is kept: its VM is there after all", node=node.name)
        return presence is verdict.presence

    async def _send(self, node: Node, verdict: Delete) -> None:
        try:
            await self._api.delete_node(node)
        except (Conflict, NotFound):
            return  # it is another now, or gone: the informer tells
        except KubeError as error:
            self._count("failed")
            _log.warning("deleting a node failed", node=node.name, why=str(error))
            message = f"deleting the node failed: {error.message}"
            self._say(node, Level.WARNING, Reason.DELETING_NODE_FAILED, message)
            return
        self._count("deleted")
        _log.info("node deleted", node=node.name, why=verdict.reason)

    def _say(self, node: Node, level: Level, reason: Reason, message: str) -> None:
        self._recorder.record(node, Notice(level, reason, message))

    def _count(self, result: str) -> None:
        self._metrics.deletions.labels(result).inc()
