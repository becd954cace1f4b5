"""The composition root: builds every part once, runs them, and takes them down in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain, product
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import structlog

from provider.controllers.engine import EngineReporter
from provider.controllers.fleet import Fleet
from provider.controllers.lifecycle import LifecycleController
from provider.controllers.node import NodeController
from provider.controllers.registration import RegistrationController
from provider.controllers.reload import ReloadReporter
from provider.controllers.rights import RightsReporter, RightsWatch
from provider.controllers.workbench import Workbench
from provider.decisions.metadata import zone_of
from provider.errors import ProviderError
from provider.kube.api import KubeApi
from provider.kube.fence import Fence
from provider.kube.informer import NodeInformer
from provider.kube.lease import LeaderElector
from provider.kube.lease_client import NAME as LEASE_NAME
from provider.kube.lease_client import LeaseClient
from provider.kube.recorder import EventRecorder
from provider.kube.reviews import Reviews
from provider.kube.tenure import Tenure
from provider.metrics import Metrics
from provider.ovirt.client import EngineClient
from provider.ovirt.events import EventFeed
from provider.ovirt.inventory import Inventory
from provider.ovirt.rotation import PasswordWatch
from provider.web import lookup
from provider.web.access_log import AccessLog
from provider.web.catalogue import Catalogue
from provider.web.certificates import ServingCertificate
from provider.web.changes import Changes
from provider.web.guard import Guard
from provider.web.health import Check
from provider.web.server import Protection, WebServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from provider.config import Config
    from provider.kube.access import Access
    from provider.reload import Reload

_log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that runs until it is cancelled."""

    async def run(self) -> NoReturn:
        """Never return."""
        ...


class App:
    """The whole controller; `run` is all that there is to do with it."""

    def __init__(
        self,
        config: Config,
        access: Access,
        reloads: Iterable[Reload] = (),
        *,
        insecure_http: bool = False,
    ) -> None:
        """`reloads` are of the files that others read again.

        With `insecure_http` the port is plain HTTP for everybody who reaches it.
        """
        self._config = config
        self._access = access
        self.metrics = Metrics()
        self._tenure = Tenure()
        limits = config.limits
        self._clients = [EngineClient(one, limits, self.metrics) for one in config.engines]
        of_engines = chain.from_iterable(client.reloads for client in self._clients)
        self._certificate = (
            None if insecure_http else ServingCertificate(config.server, self.metrics)
        )
        of_port = (self._certificate.reload,) if self._certificate else ()
        self._reloads = (*reloads, *access.reloads, *of_engines, *of_port)

    def remember(self, before: App) -> None:
        """Go on with the Lease that `before`, which has ended, has kept.

        Also hold back the passwords that engines have refused to it.
        """
        self._tenure = before._tenure
        for client, other in product(self._clients, before._clients):
            client.remember(other)

    def keep_lease(self, next_: Config) -> None:
        """Leave the Lease to the app that works by `next_`, if there is one in both."""
        settings = self._config.leader_election, next_.leader_election
        self._tenure.is_kept = all(one.enabled for one in settings)

    async def give_up_lease(self) -> None:
        """Give up what was kept for an app that has not come."""
        if self._tenure.is_kept:
            async with AsyncExitStack() as stack:
                await self._elector(stack)

    async def run(self) -> NoReturn:
        """Work until cancelled; then stop the parts, give up the lease, close port and sessions.

        Every replica reads, answers and is ready; only the leader writes. ProviderError when the
        port cannot be had, LeaseLost when another may lead; nothing else ends it.
        """
        async with AsyncExitStack() as stack:
            engines = await self._engines(stack)
            elector = await self._elector(stack)
            bench = await self._workbench(stack, engines, elector)
            rights = RightsWatch(bench.api, self.metrics)
            leader = _Leader(bench, engines, self._reloads, rights, elector)
            self._measure_reloads()
            served = await self._served(stack, bench, engines, _Replica(leader, bench, elector))
            names = [engine.name for engine in self._config.engines]
            _log.info("started", engines=names, api=self._access.url, port=served.web.port)
            leading = elector.run(leader.run) if elector else leader.run()
            asking: tuple[Part, ...] = bench.informer, rights, *engines.parts, *served
            await _together(leading, *(part.run() for part in asking))
        raise AssertionError  # a part never ends by itself

    async def _engines(self, stack: AsyncExitStack) -> _Engines:
        clients = [await stack.enter_async_context(one) for one in self._clients]
        inventories = tuple(self._inventory(client) for client in clients)
        pairs = tuple(zip(clients, inventories, strict=True))
        feeds = tuple(EventFeed(*pair, self._config.intervals, self.metrics) for pair in pairs)
        return _Engines(inventories, feeds, tuple(PasswordWatch(*pair) for pair in pairs))

    async def _workbench(
        self, stack: AsyncExitStack, engines: _Engines, elector: LeaderElector | None
    ) -> Workbench:
        config, metrics = self._config, self.metrics
        fence = Fence(elector.time_left) if elector else None
        api = await stack.enter_async_context(
            KubeApi(self._access, config.limits.kube_timeout, metrics, fence)
        )
        informer = NodeInformer(api, metrics)
        fleet = Fleet(config, engines.inventories)
        return Workbench(config, api, informer, fleet, EventRecorder(api, metrics), metrics)

    async def _served(
        self, stack: AsyncExitStack, bench: Workbench, engines: _Engines, replica: _Replica
    ) -> _Served:
        """The port, open; its streams end before it does."""
        config = self._config
        # What is known is served, also when a new leader must not yet act on it.
        known = Fleet(config, engines.inventories)
        catalogue = Catalogue(config, known, bench.informer, engines.inventories)
        protection = await self._protection(stack)
        changes = Changes(catalogue, protection.guard.admit if protection else None)
        web = await stack.enter_async_context(
            WebServer(
                config.server,
                self.metrics,
                _readiness(bench.informer, engines.inventories),
                replica.liveness,
                replica.count_nodes,
                lookup.routes(catalogue, replica, (changes.operation,)),
                protection,
                AccessLog(config.logging),
            )
        )
        stack.callback(changes.close)
        return _Served(catalogue, web)

    async def _protection(self, stack: AsyncExitStack) -> Protection | None:
        """What a port needs that other machines can reach; reviews have their own connections."""
        if self._certificate is None:
            return None
        reviews = await stack.enter_async_context(Reviews(self._access, self.metrics))
        return Protection(self._certificate, Guard(reviews, self.metrics))

    def _measure_reloads(self) -> None:
        for one in self._reloads:
            gauge = self.metrics.reload_failing.labels(one.file, one.engine)
            gauge.set_function(partial(_is_failing, one))

    def _inventory(self, client: EngineClient) -> Inventory:
        config = self._config
        inventory = Inventory(
            client,
            config.selection_of(client.engine),
            config.intervals,
            self.metrics,
            lambda instance: zone_of(instance, config),
        )
        if config.leader_election.enabled:
            inventory.stand_by()
        return inventory

    async def _elector(self, stack: AsyncExitStack) -> LeaderElector | None:
        """The elector, with connections of its own; None when there is one replica only."""
        if not self._config.leader_election.enabled:
            self.metrics.leader_status.labels(LEASE_NAME).set(1)  # nobody is missed
            return None
        client = await stack.enter_async_context(LeaseClient(self._access, self.metrics))
        elector = LeaderElector(client, self.metrics, self._tenure)
        stack.push_async_callback(elector.give_up)  # when the parts do not come to work
        return elector


class _Engines(NamedTuple):
    """What asks the engines, one of each for each of them."""

    inventories: tuple[Inventory, ...]
    feeds: tuple[EventFeed, ...]
    watches: tuple[PasswordWatch, ...]

    @property
    def parts(self) -> Iterator[Part]:
        return chain.from_iterable(self)


class _Served(NamedTuple):
    """What is behind the port."""

    catalogue: Catalogue
    web: WebServer


class _Leader:
    """The parts that write: at work on the leader only."""

    def __init__(
        self,
        bench: Workbench,
        engines: _Engines,
        reloads: Iterable[Reload],
        rights: RightsWatch,
        elector: LeaderElector | None,
    ) -> None:
        self._inventories = engines.inventories
        self._fleet = bench.fleet
        self._elector = elector
        nodes = NodeController(bench)
        lifecycle = LifecycleController(bench, engines.inventories, engines.feeds)
        self.is_leading = False
        self.count_nodes = nodes.count_nodes
        self.evidence = lifecycle.evidence
        self._parts: tuple[Part, ...] = (
            bench.recorder,
            nodes,
            RegistrationController(bench),
            lifecycle,
            EngineReporter(engines.inventories, bench.fleet, bench.recorder),
            ReloadReporter(reloads, bench.recorder),
            RightsReporter(rights, bench.recorder),
        )

    async def run(self) -> NoReturn:
        """Work until cancelled, by nothing that is older than what another leader has known."""
        self.is_leading = True
        for inventory in self._inventories:
            inventory.lead()
        if self._elector and self._elector.has_waited:
            self._fleet.hold(asyncio.get_running_loop().time())
        await _together(*(part.run() for part in self._parts))


class _Replica:
    """What is served of this replica beside the catalogue."""

    def __init__(self, leader: _Leader, bench: Workbench, elector: LeaderElector | None) -> None:
        self._leader = leader
        self._informer = bench.informer
        self.evidence = leader.evidence
        self.count_nodes = leader.count_nodes
        # Living is: the event loop answers, and whoever leads has a lease; as in the framework.
        self.liveness = (Check("leaderElection", elector.overdue),) if elector else ()

    @property
    def is_leading(self) -> bool:
        return self._leader.is_leading

    @property
    def is_current(self) -> bool:
        return self._informer.is_current

    @property
    def last_contact(self) -> float | None:
        return self._informer.last_contact


async def _together(*parts: Coroutine[Any, Any, NoReturn]) -> NoReturn:
    """Run all until one raises, and raise that once the others have ended."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(_lasting(part))
    except BaseExceptionGroup as group:
        match group.exceptions:
            case [ProviderError() as error]:
                raise error from None
        raise
    raise AssertionError  # a part never ends by itself


async def _lasting(part: Coroutine[Any, Any, NoReturn]) -> None:
    """Run the part. RuntimeError when it ends as if cancelled: a group would not even notice."""
    task = asyncio.current_task()
    try:
        await part
    except asyncio.CancelledError as error:
        if task and not task.cancelling():
            raise RuntimeError(f"{part!r} has ended by itself") from error
        raise


def _is_failing(reload: Reload) -> float:
    return float(bool(reload.problem))


def _readiness(informer: NodeInformer, inventories: Iterable[Inventory]) -> tuple[Check, ...]:
    """Ready is: all nodes listed, and every engine asked once, whatever it answered.

    An outage of an engine takes no replica out of service.
    """
    nodes = Check("informer", lambda: None if informer.is_synced else "nodes not listed yet")
    return (nodes, *(_asked(inventory) for inventory in inventories))


def _asked(inventory: Inventory) -> Check:
    return Check(
        f"engine {inventory.engine.name}",
        lambda: None if inventory.has_answered else "not asked yet",
    )
