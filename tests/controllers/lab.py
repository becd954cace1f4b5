"""The controllers at work between a simulated engine and a simulated cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from provider.config import Config
from provider.controllers.fleet import Fleet
from provider.controllers.lifecycle import LifecycleController
from provider.controllers.node import NodeController
from provider.controllers.registration import RegistrationController
from provider.decisions.metadata import zone_of
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.informer import NodeInformer
from provider.kube.recorder import EventRecorder
from provider.metrics import Metrics
from provider.model import TAINT_UNINITIALIZED
from provider.ovirt.client import EngineClient
from provider.ovirt.inventory import Inventory
from provider.simulator.cluster import SimulatedCluster
from tests.ovirt.lab import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.simulator.engine import SimulatedEngine
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec

Object = dict[str, Any]

_UP_FOR = 600_000  # ms: long enough to be registered


class Lab:
    """All that takes part; the clients open and close with `working`."""

    def __init__(
        self,
        config: Config,
        api: KubeApi,
        client: EngineClient,
        recorder: EventRecorder,
        metrics: Metrics,
    ) -> None:
        self.config = config
        self.metrics = metrics
        self.recorder = recorder
        self.inventory = Inventory(
            client,
            config.selection,
            config.intervals,
            metrics,
            lambda instance: zone_of(instance, config),
        )
        self.informer = NodeInformer(api, metrics)
        self.fleet = Fleet(config, [self.inventory])
        parts = config, api, self.informer, self.fleet, recorder, metrics
        self.nodes = NodeController(*parts)
        self.registration = RegistrationController(*parts)
        self.lifecycle = LifecycleController(*parts, [self.inventory])
        self.cluster: SimulatedCluster
        self.engine: SimulatedEngine

    async def run(self) -> None:
        """Work until cancelled."""
        controllers = self.nodes, self.registration, self.lifecycle
        parts = self.inventory, self.informer, self.recorder, *controllers
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(part.run())

    # ---- what is there -----------------------------------------------------------------------

    def vm(self, name: str) -> Vm:
        """The VM of this name."""
        return self.engine.world.vm(name)

    def kubelet(self, name: str, *, vm: str = "", **facts: Any) -> None:
        """Have a kubelet register this Node, in the VM of this name or of another."""
        self.cluster.kubelet(name, system_uuid=self.vm(vm or name).id, **facts)

    def node(self, name: str) -> Object:
        """The Node as the API server has it."""
        return self.cluster.nodes.get(name)

    def is_initialised(self, name: str) -> bool:
        """Whether it exists and lacks the taint of uninitialised nodes."""
        if name not in self.cluster.nodes:
            return False
        taints = self.node(name)["spec"].get("taints") or ()
        return all(taint["key"] != TAINT_UNINITIALIZED for taint in taints)

    def events(self, reason: str) -> list[Object]:
        """The Events of this reason."""
        return [event for event in self.cluster.events() if event["reason"] == reason]

    def writes(self, method: str, path: str = "/nodes") -> list[tuple[float, int]]:
        """When each write by this method to paths with this in them came, and its status."""
        return [
            (request.at, request.status)
            for request in self.cluster.requests
            if request.method == method and path in request.path
        ]

    def metric(self, name: str, **labels: str) -> float:
        """The value of this series."""
        return self.metrics.registry.get_sample_value(f"ovirt_ccm_{name}", labels) or 0.0

    def reconciles(self, result: str) -> float:
        """How many looks at nodes had this result."""
        return self.metric("reconciles_total", result=result)


async def until(condition: Callable[[], object], within: float = 300) -> None:
    """Return when it is true; TimeoutError after so many seconds of the loop."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, seen from outside
            await asyncio.sleep(0.05)


@asynccontextmanager
async def working(
    folder: Path,
    *vms: VmSpec,
    recorder: type[EventRecorder] = EventRecorder,
    **sections: Any,
) -> AsyncIterator[Lab]:
    """The controllers at work with these VMs; they register nothing unless told to."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running(folder, *vms))
        for machine in engine.world.vms.values():
            machine.started -= _UP_FOR
        cluster = SimulatedCluster()
        await cluster.start()
        stack.push_async_callback(cluster.stop)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(cluster.kubeconfig(), encoding="utf-8")
        config = Config(
            engines=(engine.engine,), **({"registration": {"mode": "adopt"}} | sections)
        )
        metrics = Metrics()
        access = await load_access(kubeconfig)
        api = await stack.enter_async_context(KubeApi(access, config.limits.kube_timeout, metrics))
        client = await stack.enter_async_context(
            EngineClient(engine.engine, config.limits, metrics)
        )
        lab = Lab(config, api, client, recorder(api, metrics), metrics)
        lab.cluster, lab.engine = cluster, engine.simulator
        task = asyncio.create_task(lab.run())
        try:
            await until(lambda: lab.informer.is_synced and lab.inventory.has_answered)
            yield lab
        finally:
            cluster.faults.clear()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
