"""Kubelets of the simulated VMs: they come up, go down and fall silent with their machines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from provider.simulator.cluster import Kubelet, SimulatedCluster
    from provider.simulator.engine import SimulatedEngine
    from provider.simulator.machine import Vm

_LOOK = 0.25  # seconds
# A kubelet starts later than its machine, and is ready later than it registers.
_START = 1.5
_READY = 2.0

# The machine executes: its kubelet is heard. In all other states it is not.
_RUNNING = frozenset({"up", "migrating", "powering_down", "unknown", "not_responding"})


class Kubelets:
    """One kubelet for each VM that carries `tag` or a tag below it, except those in `without`."""

    def __init__(
        self,
        engine: SimulatedEngine,
        cluster: SimulatedCluster,
        tag: str,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._tag = tag
        self._without = without
        self._up_since: dict[str, float] = {}
        self._kubelets: dict[str, Kubelet] = {}
        self._ready: set[str] = set()

    async def run(self) -> NoReturn:
        """Follow the machines until cancelled."""
        while True:
            for vm in list(self._engine.world.vms.values()):
                if vm.name not in self._without and self._is_docker_host(vm):
                    self._follow(vm)
            await asyncio.sleep(_LOOK)

    def _is_docker_host(self, vm: Vm) -> bool:
        for tag in vm.tags:
            above = tag
            while above.parent is not None:
                if above.name == self._tag:
                    return True
                above = above.parent
        return False

    def _follow(self, vm: Vm) -> None:
        now = asyncio.get_running_loop().time()
        if vm.status not in _RUNNING:
            self._up_since.pop(vm.id, None)
            if vm.id in self._ready:
                self._ready.discard(vm.id)
                self._kubelets[vm.id].stop()
            return
        age = now - self._up_since.setdefault(vm.id, now)
        if vm.id not in self._kubelets and age >= _START:
            self._kubelets[vm.id] = self._cluster.kubelet(vm.name, system_uuid=vm.id)
        if vm.id in self._kubelets and vm.id not in self._ready and age >= _START + _READY:
            self._ready.add(vm.id)
            self._kubelets[vm.id].ready()
