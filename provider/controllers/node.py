"""Initialises Nodes and keeps them true."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

import structlog

from provider.decisions.decision import Decision, decide
from provider.decisions.identity import Ambiguous, Found, instance_id_of, parse_provider_id
from provider.decisions.plan import apply
from provider.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    TooManyRequests,
)
from provider.kube.codec import version_number
from provider.kube.workqueue import WorkQueue
from provider.kube.write import apply_patch
from provider.model import Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from provider.controllers.workbench import Workbench
    from provider.model import Node

_log = structlog.get_logger(__name__)


class State(StrEnum):
    """The states of nodes in the metrics.

    AMBIGUOUS is any that two instances fit, UNMATCHED any other that is not initialised and does
    not wait to be.
    """

    INITIALISED = "initialised"
    UNINITIALISED = "uninitialised"
    AMBIGUOUS = "ambiguous"
    UNMATCHED = "unmatched"


class NodeController:
    """Looks at every Node that changed, whose instance changed, or that was not looked at lately.

    It remembers nothing that matters: each look starts from the informer's Node and the fleet's
    directory, and a write that fails is planned anew. After a write it waits until the informer
    has what was written: a look before would be one at the past.
    """

    def __init__(self, bench: Workbench) -> None:
        self._config = bench.config
        self._api = bench.api
        self._informer = bench.informer
        self._fleet = fleet = bench.fleet
        self._recorder = bench.recorder
        self._metrics = bench.metrics
        self._queue = WorkQueue(bench.metrics)
        self._states: dict[str, State] = {}
        self._engines = fleet.directory.engine_ids
        self._is_allowed = True  # to write, as far as the last write says
        self._writing: dict[str, bool] = {}  # by name, whether it has changed meanwhile
        # By name, the version that was written, and the Node if nobody else has changed it; None
        # when it must be looked at in any case.
        self._written: dict[str, tuple[int, Node | None]] = {}

    async def run(self) -> NoReturn:
        """Work until cancelled; every Node is looked at once at the beginning."""
        await self._informer.wait_synced()
        self._informer.subscribe(self._node_changed)
        self._fleet.subscribe(self._instances_changed)
        for name in self._informer.nodes:
            self._queue.add(name)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._config.limits.workers):
                    tasks.create_task(self._work())
                tasks.create_task(self._resync())
        finally:
            self._queue.close()
        raise AssertionError  # its tasks never end by themselves

    def count_nodes(self) -> None:
        """Set the gauges of nodes by state."""
        counts = Counter(self._states.values())
        for state in State:
            self._metrics.nodes.labels(state).set(counts[state])
        waiting = (node for node in self._informer.nodes.values() if node.is_uninitialized)
        oldest = min((node.created for node in waiting if node.created), default=None)
        age = datetime.now(UTC) - oldest if oldest else timedelta()
        self._metrics.oldest_uninitialised.set(max(0.0, age.total_seconds()))

    # ---- what is due -----------------------------------------------------------------------

    def _node_changed(self, name: str) -> None:
        """Queue it, unless all that is new is what was written here."""
        if name in self._writing:
            self._writing[name] = True
            return
        node = self._informer.nodes.get(name)
        if self._is_past(node):
            return
        _, expected = self._written.pop(name, (0, None))
        if node is None or node != expected:
            self._queue.add(name)

    def _is_past(self, node: Node | None) -> bool:
        """Whether it is as it was before the last write, which the informer has not seen yet."""
        if node is None or node.name not in self._written:
            return False
        return version_number(node.resource_version) < self._written[node.name][0]

    def _instances_changed(self, changed: frozenset[str]) -> None:
        """Queue the nodes of these instances, and all that wait for something of an engine.

        When another engine answers than before, what is known of any node may be another thing.
        """
        engines = self._fleet.directory.engine_ids
        is_another = engines != self._engines
        self._engines = engines
        for name, node in self._informer.nodes.items():
            is_concerned = is_another or node.is_uninitialized
            if is_concerned or (changed and parse_provider_id(node.provider_id) in changed):
                self._queue.add(name)

    async def _resync(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._config.intervals.resync.total_seconds())
            self._written.clear()  # an etcd restored from a backup counts from less
            for name in self._informer.nodes:
                self._queue.add(name)

    async def _work(self) -> NoReturn:
        while True:
            name = await self._queue.get()
            started = asyncio.get_running_loop().time()
            try:
                result = await self._reconcile(name)
            except Exception:
                # One node that nobody thought of must not stop the others.
                _log.exception("looking at a node failed", node=name)
                self._queue.retry(name)
                result = "error"
            finally:
                self._queue.done(name)
            took = asyncio.get_running_loop().time() - started
            self._metrics.reconciles.labels(result).inc()
            self._metrics.reconcile_duration.observe(took)
            # A look that writes nothing waits for nothing: thousands of them would keep the loop
            # from all else, the renewal of the lease too.
            if result != "written":
                await asyncio.sleep(0)

    # ---- one look at one node ----------------------------------------------------------------

    async def _reconcile(self, name: str) -> str:
        """What came of it, as in the metric."""
        node = self._informer.nodes.get(name)
        if node is None:
            self._queue.forget(name)
            self._states.pop(name, None)
            return "unchanged"
        if self._is_past(node):
            self._written[name] = self._written[name][0], None
            return "waiting"
        decision = decide(node, self._fleet.directory, self._config)
        self._states[name] = _state(node, decision)
        patch = decision.plan.patch
        if patch is None:
            return self._rest(node, decision)
        self._writing[name] = False
        try:
            version = await apply_patch(self._api, node, patch)
            written = apply(node, patch, version)
            self._written[name] = version_number(version), written
        except KubeError as error:
            return self._failed(node, error)
        finally:
            if self._writing.pop(name):
                self._node_changed(name)
        self._succeeded(node, written, decision)
        return "written"

    def _rest(self, node: Node, decision: Decision) -> str:
        """Say why nothing is written; have the instance of a node that waits read soon."""
        self._queue.forget(node.name)
        self._say(node, decision.plan.notices)
        if not node.is_uninitialized:
            return "unchanged"
        if instance_id := instance_id_of(node):
            self._fleet.want(instance_id)
        is_refused = any(n.level is Level.WARNING for n in decision.plan.notices)
        return "refused" if is_refused else "waiting"

    def _succeeded(self, before: Node, written: Node, decision: Decision) -> None:
        if not self._is_allowed:
            _log.info("writes to nodes are allowed again")
        self._is_allowed = True
        self._queue.forget(before.name)
        self._states[before.name] = _state(written, decision)
        self._say(before, decision.plan.notices)
        patch = decision.plan.patch
        changes = patch.changes if patch else ()
        if before.is_uninitialized and not written.is_uninitialized:
            _log.info("node initialised", node=before.name, changes=list(changes))
            if before.created:
                age = datetime.now(UTC) - before.created
                self._metrics.initialisation_delay.observe(max(0.0, age.total_seconds()))
        else:
            _log.info("node refreshed", node=before.name, changes=list(changes))

    def _failed(self, node: Node, error: KubeError) -> str:
        """Have it looked at again; the informer logs an outage once for all nodes."""
        if isinstance(error, TooManyRequests):
            self._queue.add_after(node.name, timedelta(seconds=error.retry_after))
            return "error"
        delay = self._queue.retry(node.name)
        if isinstance(error, Conflict | NotFound):
            return "conflict"
        if isinstance(error, Forbidden | Invalid):
            notice = Notice(Level.WARNING, Reason.WRITE_REFUSED, error.message)
            self._recorder.record(node, notice)
            self._log_refusal(node, error, delay)
        return "error"

    def _log_refusal(self, node: Node, error: KubeError, delay: timedelta) -> None:
        """One line for each refused content; a missing right concerns all nodes alike: once.

        An API server that has just started refuses everything until it has read the roles.
        """
        if isinstance(error, Forbidden):
            if not self._is_allowed:
                return
            self._is_allowed = False
        _log.warning("a write was refused", node=node.name, why=str(error), again_in=str(delay))

    def _say(self, node: Node, notices: tuple[Notice, ...]) -> None:
        for notice in notices:
            self._recorder.record(node, notice)


def _state(node: Node, decision: Decision) -> State:
    if isinstance(decision.match, Ambiguous):
        return State.AMBIGUOUS
    if node.is_uninitialized:
        return State.UNINITIALISED
    is_matched = node.is_ours and isinstance(decision.match, Found)
    return State.INITIALISED if is_matched else State.UNMATCHED
