"""The whole program between one or two simulated engines and a simulated cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from provider.app import App
from provider.config import Config
from provider.kube.access import load_access
from provider.simulator.cluster import SimulatedCluster
from tests.ovirt.lab import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from provider.simulator.cluster import Kubelet
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec
    from tests.ovirt.lab import Lab

Object = dict[str, Any]

EAST_ID = "aaaaaaaa-0000-4000-8000-000000000001"
WEST_ID = "bbbbbbbb-0000-4000-8000-000000000002"
HOST = "ccm.ovirt.org/host"
REGION = "topology.kubernetes.io/region"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
_UP_FOR = 600_000  # ms: long enough to be registered


class Site:
    """Two engines, a cluster with the nodes of their VMs, and the program when it runs."""

    def __init__(self, folder: Path, cluster: SimulatedCluster, east: Lab, west: Lab) -> None:
        self._folder = folder
        self.cluster = cluster
        self.east = east
        self.west = west
        self.app: App
        self.kubelets: dict[str, Kubelet] = {}

    @asynccontextmanager
    async def program(self, *engines: Lab, **sections: Any) -> AsyncIterator[None]:
        """The program at work with these engines; it registers nothing unless told to."""
        kubeconfig = self._folder / "kubeconfig"
        kubeconfig.write_text(self.cluster.kubeconfig(), encoding="utf-8")
        given: dict[str, Any] = {
            "registration": {"mode": "adopt"},
            "server": {"bind": "127.0.0.1:0"},
            "leader_election": {"enabled": False},
        } | sections
        config = Config(engines=tuple(lab.engine for lab in engines), **given)
        self.app = App(config, await load_access(kubeconfig), insecure_http=True)
        task = asyncio.create_task(self.app.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    def kubelet(self, name: str, vm: Vm) -> None:
        """Have the kubelet in this VM register its Node and be ready."""
        self.kubelets[name] = self.cluster.kubelet(name, system_uuid=vm.id)
        self.kubelets[name].ready()

    def node(self, name: str) -> Object:
        """The Node as the API server has it."""
        return self.cluster.nodes.get(name)

    def labels(self, name: str) -> dict[str, str]:
        """The labels of this Node."""
        return dict(self.node(name)["metadata"]["labels"])

    def is_initialised(self, *names: str) -> bool:
        """Whether these Nodes exist and lack the taint of uninitialised ones."""
        return all(
            name in self.cluster.nodes
            and all(
                taint["key"] != UNINITIALIZED
                for taint in self.node(name)["spec"].get("taints") or ()
            )
            for name in names
        )

    @property
    def names(self) -> set[str]:
        """The Nodes that there are."""
        return {node["metadata"]["name"] for node in self.cluster.nodes}

    def writes(self, *names: str) -> list[str]:
        """The writes that were sent to these Nodes, as method and path."""
        return [
            f"{request.method} {request.path}"
            for request in self.cluster.requests
            if request.method in ("PATCH", "PUT", "DELETE")
            and any(f"/nodes/{name}" in request.path for name in names)
        ]

    def reasons(self, name: str) -> set[str]:
        """The reasons of the Events on this Node."""
        return {
            event["reason"]
            for event in self.cluster.events()
            if event["involvedObject"]["name"] == name
        }


@asynccontextmanager
async def site(
    folder: Path, east: Sequence[VmSpec] = (), west: Sequence[VmSpec] = ()
) -> AsyncIterator[Site]:
    """Engines with these VMs, up for a while, and a cluster without nodes."""
    async with AsyncExitStack() as stack:
        labs = []
        for name, vms, instance_id in (("east", east, EAST_ID), ("west", west, WEST_ID)):
            lab = await stack.enter_async_context(running(folder, *vms, instance_id=instance_id))
            lab.engine = lab.engine.model_copy(update={"name": name, "region": name})
            for machine in lab.world.vms.values():
                machine.started -= _UP_FOR
            labs.append(lab)
        cluster = SimulatedCluster()
        await cluster.start()
        stack.push_async_callback(cluster.stop)
        yield Site(folder, cluster, *labs)
