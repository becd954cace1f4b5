"""The controllers at work between a simulated engine and a simulated cluster."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from provider.config import Config
from provider.controllers.fleet import Fleet
from provider.controllers.lifecycle import LifecycleController
from provider.controllers.node import NodeController
from provider.controllers.registration import RegistrationController
from provider.controllers.workbench import Workbench
from provider.decisions.metadata import zone_of
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.informer import NodeInformer
from provider.kube.recorder import EventRecorder
from provider.metrics import Metrics
from provider.model import TAINT_UNINITIALIZED
from provider.ovirt.client import EngineClient
from provider.ovirt.events import EventFeed
from provider.ovirt.inventory import Inventory
from provider.simulator.cluster import SimulatedCluster, StatusError
from provider.simulator.cluster.patch import merge_patch
from provider.simulator.cluster.resources import LEASES
from tests.ovirt.lab import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.simulator.engine import SimulatedEngine
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec

Object = dict[str, Any]

_LEASE = "kube-system", "ovirt-cloud-controller-manager"
_RECORD = "ccm.ovirt.org/deletions"
_UP_FOR = 600_000  # ms: long enough to be registered


class Lab:
    """All that takes part; the clients open and close with `working`."""

    def __init__(
        self,
        config: Config,
        api: KubeApi,
        client: EngineClient,
        new_recorder: type[EventRecorder],
        metrics: Metrics,
    ) -> None:
        self.config = config
        self._api = api
        self._client = client
        self._new_recorder = new_recorder
        self._build(metrics)
        self.cluster: SimulatedCluster
        self.engine: SimulatedEngine
        self.task: asyncio.Task[None]

    def _build(self, metrics: Metrics) -> None:
        config = self.config
        self.metrics = metrics
        self.recorder = self._new_recorder(self._api, metrics)
        self.inventory = Inventory(
            self._client,
            config.selection,
            config.intervals,
            metrics,
            lambda instance: zone_of(instance, config),
        )
        self.feed = EventFeed(self._client, self.inventory, config.intervals, metrics)
        self.informer = NodeInformer(self._api, metrics)
        self.fleet = Fleet(config, [self.inventory])
        bench = Workbench(config, self._api, self.informer, self.fleet, self.recorder, metrics)
        self.nodes = NodeController(bench)
        self.registration = RegistrationController(bench)
        self.lifecycle = LifecycleController(bench, [self.inventory], [self.feed])

    async def start(self) -> None:
        """Begin to work; return when cluster and engine have been asked."""
        self.task = asyncio.create_task(self._run())
        await until(lambda: self.informer.is_synced and self.inventory.has_answered)

    async def stop(self) -> None:
        """End working; whatever ended it before is raised."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        assert self.task.cancelled()

    async def restart(self) -> None:
        """Work anew, with nothing remembered; the engine need not answer."""
        await self.stop()
        self._build(Metrics())
        self.task = asyncio.create_task(self._run())
        await until(lambda: self.informer.is_synced)

    async def _run(self) -> None:
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

    def write_record(self, record: Object) -> None:
        """Make this the record of deletions."""
        self.write_text(json.dumps(record))

    def delete_record(self) -> None:
        """Delete the Lease that carries it, as whoever mends an election by hand does."""
        self.cluster.nodes._registry.delete(LEASES, _LEASE)

    def write_text(self, text: str) -> None:
        """Make this the text of the record, whether it is one or not."""
        namespace, name = _LEASE
        annotated = {"annotations": {_RECORD: text}}
        registry = self.cluster.nodes._registry
        try:
            registry.patch(
                LEASES, _LEASE, lambda lease: merge_patch(lease, {"metadata": annotated})
            )
        except StatusError:
            registry.create(
                LEASES, namespace, {"metadata": {"name": name, **annotated}, "spec": {}}
            )

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
        lab = Lab(config, api, client, recorder, metrics)
        lab.cluster, lab.engine = cluster, engine.simulator
        await lab.start()
        try:
            yield lab
        finally:
            cluster.faults.clear()
            await lab.stop()
