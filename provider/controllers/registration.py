"""Registers Nodes for instances that have none, and removes those that a kubelet made spare."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import structlog

from provider.decisions.registration import (
    Patience,
    Refusal,
    never_joined,
    prospects,
    superseded,
)
from provider.errors import Conflict, KubeError, NotFound

if TYPE_CHECKING:
    from provider.controllers.workbench import Workbench
    from provider.decisions.registration import Superseded
    from provider.model import NewNode, Node, Notice

# Between two passes: a burst of changes is one pass.
_REST = 1.0
_CHUNK = 40  # instances that are looked at before others get their turn: 2 ms

_log = structlog.get_logger(__name__)


_Claim = tuple[str, ...]


class RegistrationController:
    """Looks at all instances together whenever the directory or a Node has changed."""

    def __init__(self, bench: Workbench) -> None:
        self._config = bench.config
        self._api = bench.api
        self._informer = bench.informer
        self._fleet = bench.fleet
        self._recorder = bench.recorder
        self._metrics = bench.metrics
        self._due = asyncio.Event()
        self._claims: dict[str, _Claim] = {}  # by name, of all Nodes
        self._warned: set[str] = set()  # uids of Nodes that never joined
        self._is_failing = False  # the last pass that had Nodes to register

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        await self._informer.wait_synced()
        self._claims = {name: _claim(node) for name, node in self._informer.nodes.items()}
        self._informer.subscribe(self._node_changed)
        self._fleet.subscribe(self._directory_changed)
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            if self._informer.is_current:  # else a kubelet may have registered it long ago
                await self._try()
            await asyncio.sleep(_REST)

    def _node_changed(self, name: str) -> None:
        """A Node that came may make one of ours spare, and one that went may be missed.

        Most changes are neither: heartbeats, and while many nodes join what is written to them.
        """
        before = self._claims.pop(name, None)
        node = self._informer.nodes.get(name)
        if node:
            self._claims[name] = _claim(node)
        if before == self._claims.get(name):
            return
        if node is None or node.is_uninitialized or not node.is_ours:
            self._due.set()

    def _directory_changed(self, _changed: frozenset[str]) -> None:
        self._due.set()

    async def _try(self) -> None:
        try:
            await self._pass()
        except Exception:
            # Nodes that are there must be looked after whatever a new one is like.
            _log.exception("looking at all instances failed")

    async def _pass(self) -> None:
        for spare in superseded(self._informer.nodes, self._fleet.directory):
            await self._remove(spare)
        self._warn_of_those_that_never_joined()
        new: list[NewNode] = []
        said: set[tuple[str, Notice]] = set()
        directory, nodes = self._fleet.directory, self._informer.nodes
        for index, outcome in enumerate(prospects(directory, nodes, self._config)):
            if isinstance(outcome, Refusal):
                self._refuse(outcome, said)
            elif not isinstance(outcome, Patience):
                new.append(outcome)
            if index % _CHUNK == 0:
                await asyncio.sleep(0)
        if new:
            await self._register_all(new)

    async def _register_all(self, new: list[NewNode]) -> None:
        limit = asyncio.Semaphore(self._config.limits.workers)
        outcomes = await asyncio.gather(*(self._register(one, limit) for one in new))
        self._log_failures([error for error in outcomes if error])

    async def _register(self, new: NewNode, limit: asyncio.Semaphore) -> KubeError | None:
        """What went wrong; None when the Node is there."""
        async with limit:
            try:
                node = await self._api.create_node(new)
            except Conflict:
                self._metrics.registrations.labels("exists").inc()
                return None
            except KubeError as error:
                self._metrics.registrations.labels("failed").inc()
                return error
        self._informer.observe(node)
        self._metrics.registrations.labels("created").inc()
        _log.info("node registered", node=node.name, provider_id=node.provider_id)
        for notice in new.notices:
            self._recorder.record(node, notice)
        return None

    def _log_failures(self, errors: list[KubeError]) -> None:
        """One line when it begins and one when it ends, however many Nodes there are."""
        if errors and not self._is_failing:
            _log.warning("registering nodes fails", nodes=len(errors), why=str(errors[0]))
        if self._is_failing and not errors:
            _log.info("registering nodes works again")
        self._is_failing = bool(errors)

    def _refuse(self, refusal: Refusal, said: set[tuple[str, Notice]]) -> None:
        """Say why, once for all VMs that it names; `said` is what this pass has said."""
        self._metrics.registrations.labels("refused").inc()
        what = refusal.instance.engine, refusal.notice
        if what not in said:
            said.add(what)
            self._recorder.record_engine(*what)

    async def _remove(self, spare: Superseded) -> None:
        self._recorder.record(spare.node, spare.notice)
        try:
            await self._api.delete_node(spare.node)
        except (Conflict, NotFound):
            return  # it changed after all: the next pass sees what it is now
        except KubeError as error:
            _log.warning("removing a spare node failed", node=spare.node.name, why=str(error))
            return
        _log.info("spare node removed", node=spare.node.name, why=spare.notice.message)

    def _warn_of_those_that_never_joined(self) -> None:
        now = datetime.now(UTC)
        for node in self._informer.nodes.values():
            if node.uid not in self._warned and (notice := never_joined(node, now)):
                self._warned.add(node.uid)
                self._recorder.record(node, notice)


def _claim(node: Node) -> _Claim:
    """All that a Node says of which instance it is, and whether a kubelet uses it."""
    return node.uid, node.provider_id, node.system_uuid, node.kubelet_version
