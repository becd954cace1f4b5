"""Marks nodes whose instance has stopped, and lets those go whose instance is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import structlog
from msgspec import Struct

from provider.controllers.deletion import Deleter
from provider.controllers.history import Histories
from provider.controllers.witness import Witness
from provider.decisions.identity import Absent, Found, find_instance
from provider.decisions.lifecycle import (
    KINDS,
    OUT_OF_SERVICE,
    Ask,
    Delete,
    Hold,
    Keep,
    Mark,
    Policy,
    Question,
    Unmark,
    has_taint,
    judge,
    kind,
    patch_of,
)
from provider.errors import EngineError, KubeError, NotFound
from provider.kube.write import apply_planned
from provider.model import TAINT_OUT_OF_SERVICE, TAINT_SHUTDOWN, Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provider.controllers.workbench import Workbench
    from provider.decisions.identity import Match
    from provider.decisions.lifecycle import Evidence, Verdict
    from provider.model import Node, NodePatch
    from provider.ovirt.events import EventFeed
    from provider.ovirt.inventory import Inventory

# Between two looks at all nodes: a burst of changes is one look.
_REST = 1.0
# Until the next look while something is pending.
_PENDING = 2.0
_CHUNK = 250  # nodes that are judged before others get their turn: a few ms
_ASKS = 64  # instances that are asked for in one look: about a second of an engine's time

_log = structlog.get_logger(__name__)


class _Judged(Struct, frozen=True):
    """A node, what it was matched with and what is to become of it."""

    node: Node
    match: Match
    verdict: Verdict


class LifecycleController:
    """Looks at all nodes that are not ready or marked, together, whenever something changed.

    It observes on every replica; only the leader runs it.
    """

    def __init__(
        self, bench: Workbench, inventories: Sequence[Inventory], feeds: Sequence[EventFeed]
    ) -> None:
        config = bench.config
        self._policy = Policy(config.deletion, config.out_of_service)
        self._resync = config.intervals.resync.total_seconds()
        self._limit = asyncio.Semaphore(config.limits.workers)
        self._api = bench.api
        self._informer = bench.informer
        self._fleet = bench.fleet
        self._recorder = bench.recorder
        self._metrics = bench.metrics
        self._witness = Witness(bench.informer, inventories)
        self._deleter = Deleter(bench, Histories(inventories, feeds))
        self._due = asyncio.Event()
        bench.informer.subscribe(self._changed)
        bench.fleet.subscribe(self._changed)

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        await self._informer.wait_synced()
        await self._deleter.renew()
        while True:
            self._due.clear()
            is_pending = not self._informer.is_current or await self._try()
            await asyncio.sleep(_REST)
            try:
                async with asyncio.timeout(_PENDING if is_pending else self._resync):
                    await self._due.wait()
            except TimeoutError:
                pass

    def evidence(self) -> Callable[[Node, Match], Evidence]:
        """Tells all that is known now about the life of a node with this match.

        Nothing is asked or written for it: only the leader asks engines for proof.
        """
        marked = self._out_of_service()
        return lambda node, match: self._witness.evidence(
            node, match, self._deleter.obstacle(node), marked
        )

    def _changed(self, _what: object) -> None:
        self._due.set()

    async def _try(self) -> bool:
        """Whether something is pending after a look at all nodes."""
        try:
            return await self._look()
        except Exception:
            # One node that nobody thought of must not keep the others from being looked at.
            _log.exception("looking at the life of nodes failed")
            return True

    async def _look(self) -> bool:
        await self._deleter.follow_engines()
        for inventory in self._witness.restored():
            inventory.was_restored = not await self._deleter.latch(inventory.engine.name)
        judged = await self._judge_all()
        self._count(judged)
        await self._write_marks(judged)
        await self._ask(judged)
        await self._delete(judged)
        self._say_held(judged)
        if self._deleter.is_latched and self._have_returned():
            await self._deleter.lift()
        elif any(_is_gone(one) for one in judged) or self._deleter.is_latched:
            await self._deleter.renew()
        return any(not isinstance(one.verdict, Keep) for one in judged)

    # ---- judging ---------------------------------------------------------------------------

    async def _judge_all(self) -> list[_Judged]:
        """The verdicts on all nodes of ours that are not ready or carry a taint of ours."""
        concerned = [node for node in self._informer.nodes.values() if _is_concerned(node)]
        marked = self._out_of_service() if concerned else 0
        judged = []
        for index, node in enumerate(concerned):
            if index % _CHUNK == 0:
                await asyncio.sleep(0)
            match = find_instance(node, self._fleet.directory)
            if isinstance(match, Found) and not node.is_ready:
                self._witness.follow(node, match.instance)
            judged.append(_Judged(node, match, self._judge(node, match, marked)))
        return judged

    def _judge(self, node: Node, match: Match, marked: int) -> Verdict:
        evidence = self._witness.evidence(node, match, self._deleter.obstacle(node), marked)
        return judge(node, match, evidence, self._policy, asyncio.get_running_loop().time())

    def _out_of_service(self) -> int:
        nodes = self._informer.nodes.values()
        return sum(has_taint(node, TAINT_OUT_OF_SERVICE) for node in nodes if node.taints)

    def _count(self, judged: Sequence[_Judged]) -> None:
        counts = Counter(kind(one.verdict) for one in judged)
        for name in KINDS:
            self._metrics.verdicts.labels(name).set(counts[name])

    # ---- taints ----------------------------------------------------------------------------

    async def _write_marks(self, judged: Sequence[_Judged]) -> None:
        """All that can be done at once; then one after another what has few places."""
        later = []
        async with asyncio.TaskGroup() as tasks:
            for one in judged:
                match one.verdict:
                    case Mark(taint=taint) if taint == OUT_OF_SERVICE:
                        later.append((one.node, one.verdict))
                    case Mark() | Unmark() as verdict:
                        tasks.create_task(self._write(one.node, verdict))
        for node, verdict in later:
            await self._write(node, verdict)

    async def _write(self, node: Node, verdict: Mark | Unmark) -> None:
        seen = self._witness.observation(node)
        now = asyncio.get_running_loop().time()
        if now < seen.not_before:
            return
        async with self._limit:
            try:
                written = await apply_planned(
                    self._api, node, lambda current: self._plan(current, verdict)
                )
            except NotFound:
                return  # the informer tells
            except KubeError as error:
                seen.was_refused(now)
                self._refused(node, error)
                return
        seen.was_written()
        if written is not None:
            self._informer.observe(written)
            self._written(node, verdict)

    def _plan(self, node: Node, wanted: Mark | Unmark) -> NodePatch | None:
        """The patch, if the node as it is now still has the same verdict."""
        match = find_instance(node, self._fleet.directory)
        verdict = self._judge(node, match, self._out_of_service())
        match verdict:
            case Mark(taint=taint) if isinstance(wanted, Mark) and taint == wanted.taint:
                return patch_of(node, verdict, _stamp())
            case Unmark() if isinstance(wanted, Unmark):
                return patch_of(node, verdict, _stamp())
        return None

    def _written(self, node: Node, verdict: Mark | Unmark) -> None:
        notice, taints, action = _told(verdict)
        self._recorder.record(node, notice)
        for taint in taints:
            self._metrics.marks.labels(_NAMES[taint], action).inc()
        _log.info(
            "node marked" if action == "add" else "mark removed",
            node=node.name,
            why=verdict.reason,
        )

    def _refused(self, node: Node, error: KubeError) -> None:
        _log.warning("a taint could not be written", node=node.name, why=str(error))
        notice = Notice(Level.WARNING, Reason.WRITE_REFUSED, error.message)
        self._recorder.record(node, notice)

    # ---- what the engine is asked --------------------------------------------------------------

    async def _ask(self, judged: Sequence[_Judged]) -> None:
        """Ask about single instances; an engine that does not answer is asked no more now."""
        silent: set[Inventory] = set()
        for node, ask in self._questions(judged):
            inventory = self._witness.inventory(node)
            if inventory is None or inventory.last_error or inventory in silent:
                continue
            try:
                await self._witness.ask(node, ask)
            except EngineError as error:
                silent.add(inventory)
                _log.debug("an instance could not be asked for", node=node.name, why=str(error))
            else:
                self._due.set()

    def _questions(self, judged: Sequence[_Judged]) -> list[tuple[Node, Ask]]:
        """Whether instances exist, and for as many as there are places whether they are down.

        Those whose nodes have been not ready for longest come first.
        """
        asked = [(one.node, one.verdict) for one in judged if isinstance(one.verdict, Ask)]
        if not asked:
            return []
        asked.sort(key=lambda one: self._witness.observation(one[0]).not_ready_since or 0.0)
        places = max(0, self._policy.out_of_service.max_nodes - self._out_of_service())
        present = [one for one in asked if one[1].question is Question.PRESENCE]
        down = [one for one in asked if one[1].question is Question.STATUS]
        return [*present[:_ASKS], *down[:places]]

    # ---- deletion --------------------------------------------------------------------------

    async def _delete(self, judged: Sequence[_Judged]) -> None:
        """One after another, until the budget lets none go any more."""
        for one in judged:
            inventory = self._witness.inventory(one.node)
            if not isinstance(one.verdict, Delete) or inventory is None:
                continue
            if self._deleter.obstacle(one.node):
                continue
            managed = sum(node.is_ours for node in self._informer.nodes.values())
            await self._deleter.delete(one.node, one.verdict, inventory, managed)

    def _say_held(self, judged: Sequence[_Judged]) -> None:
        for one in judged:
            if not isinstance(one.verdict, Hold):
                continue
            notice = Notice(one.verdict.level, Reason.DELETION_HELD, one.verdict.reason)
            seen = self._witness.observation(one.node)
            if seen.said != notice:
                seen.said = notice
                self._recorder.record(one.node, notice)

    def _have_returned(self) -> bool:
        """Whether every node of ours has its instance, in listings since nothing is deleted."""
        directory = self._fleet.directory
        ours = (node for node in self._informer.nodes.values() if node.is_ours)
        return self._witness.has_listed_since(self._deleter.latched_since) and all(
            isinstance(find_instance(node, directory), Found) for node in ours
        )


_NAMES = {TAINT_SHUTDOWN: "shutdown", TAINT_OUT_OF_SERVICE: "out-of-service"}


def _is_concerned(node: Node) -> bool:
    return node.is_ours and (
        not node.is_ready or not _NAMES.keys().isdisjoint([taint.key for taint in node.taints])
    )


def _is_gone(one: _Judged) -> bool:
    return isinstance(one.match, Absent) and not isinstance(one.verdict, Keep)


def _told(verdict: Mark | Unmark) -> tuple[Notice, tuple[str, ...], str]:
    """What is said of it, and the keys of the taints and what was done to them, for the metric."""
    match verdict:
        case Mark(taint=taint) if taint == OUT_OF_SERVICE:
            notice = Notice(Level.WARNING, Reason.NODE_OUT_OF_SERVICE, verdict.reason)
            return notice, (taint.key,), "add"
        case Mark(taint=taint):
            notice = Notice(Level.NORMAL, Reason.INSTANCE_SHUTDOWN, verdict.reason)
            return notice, (taint.key,), "add"
    notice = Notice(Level.NORMAL, Reason.NODE_UNMARKED, verdict.reason)
    return notice, tuple(taint.key for taint in verdict.taints), "remove"


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
