"""The composition root: builds every part once, runs them, and takes them down in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

from provider.controllers.engine import EngineReporter
from provider.controllers.fleet import Fleet
from provider.controllers.node import NodeController
from provider.controllers.registration import RegistrationController
from provider.decisions.metadata import zone_of
from provider.kube.api import KubeApi
from provider.kube.informer import NodeInformer
from provider.kube.recorder import EventRecorder
from provider.metrics import Metrics
from provider.ovirt.client import EngineClient
from provider.ovirt.inventory import Inventory
from provider.web.health import Check
from provider.web.server import WebServer

if TYPE_CHECKING:
    from provider.config import Config
    from provider.kube.access import Access

_log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that runs until it is cancelled."""

    async def run(self) -> NoReturn:
        """Never return."""
        ...


class App:
    """The whole controller; `run` is all that there is to do with it."""

    def __init__(self, config: Config, access: Access) -> None:
        self._config = config
        self._access = access
        self.metrics = Metrics()

    async def run(self) -> NoReturn:
        """Work until cancelled; then stop the parts, close the port and log out of the engines.

        ProviderError when the port cannot be had; nothing else ends it.
        """
        config, metrics = self._config, self.metrics
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(EngineClient(engine, config.limits, metrics))
                for engine in config.engines
            ]
            api = await stack.enter_async_context(
                KubeApi(self._access, config.limits.kube_timeout, metrics)
            )
            inventories = [self._inventory(client) for client in clients]
            informer = NodeInformer(api, metrics)
            recorder = EventRecorder(api, metrics)
            fleet = Fleet(config, inventories)
            parts = config, api, informer, fleet, recorder, metrics
            nodes = NodeController(*parts)
            registration = RegistrationController(*parts)
            reporter = EngineReporter(inventories, fleet, recorder)
            checks = _readiness(informer, inventories)
            web = await stack.enter_async_context(
                WebServer(config.server, metrics, checks, nodes.count_nodes)
            )
            engines = [engine.name for engine in config.engines]
            _log.info("started", engines=engines, api=self._access.url, port=web.port)
            running: list[Part] = [informer, recorder, nodes, registration, reporter]
            async with asyncio.TaskGroup() as tasks:
                for part in (*running, *inventories):
                    tasks.create_task(part.run())
        raise AssertionError  # a part never ends by itself

    def _inventory(self, client: EngineClient) -> Inventory:
        config = self._config
        return Inventory(
            client,
            config.selection_of(client.engine),
            config.intervals,
            self.metrics,
            lambda instance: zone_of(instance, config),
        )


def _readiness(informer: NodeInformer, inventories: list[Inventory]) -> tuple[Check, ...]:
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
