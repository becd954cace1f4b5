"""`make soak`: a fleet under random faults for a long time; the laws are looked at all the while.

`python -m tests.scenarios.soak --minutes 30 --seed 1`. The same seed brings the same faults in the
same order. Laws: no Node goes whose VM exists; at the end every taint of ours is gone, every Node
is initialised, and no Node that was is left whose VM is gone. The exit status is 1 when one is
broken, or when memory has grown by more than a fifth since a sixth of the run was over.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from tests.kube.assets import find
from tests.kube.control_plane import ControlPlane
from tests.kube.product import eventually, grant, is_initialised, taint_keys, vm
from tests.scenarios.faults import FAULTS
from tests.scenarios.proxy import Proxy
from tests.scenarios.sites import Site, Sites

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.simulator.machine import Vm

FLEET = 50
OURS = {
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/uninitialized",
}
SETTINGS = {
    "intervals": {"poll": "1s", "wanted": "500ms", "events": "500ms", "resync": "10s"},
    "limits": {"engine_timeout": "5s", "engine_read_timeout": "2s", "kube_timeout": "5s"},
    "deletion": {"budget": "100%"},
    "out_of_service": {"enabled": True, "grace": "2s", "max_nodes": 5},
    "registration": {"mode": "adopt"},
    "leader_election": {"enabled": False},
    "server": {"bind": "127.0.0.1:0"},
}
TO_API = ("cut", "swallows", "resets", "rate", "limit")
# After a fresh token that was refused no log-in is sent for a minute.
SETTLES = 150.0  # seconds
WARM = 60.0  # seconds until memory is told for the first time
# In a sixth of a run each kind of fault has come: from then on memory is compared, for a leak
# grows for ever, and what is kept of each kind (pools, buffers, the allocator's own) does not.
COMPARED = 1 / 6
GROWTH = 1.2


class Fleet:
    """What the VMs and their kubelets do."""

    def __init__(self, sites: Sites, site: Site, chance: random.Random) -> None:
        self._sites = sites
        self._site = site
        self._chance = chance
        self.members: dict[str, Vm] = {}
        self.removed: dict[str, Vm] = {}
        self.broken: list[str] = []

    async def join(self) -> None:
        """Every VM's kubelet registers."""
        for machine in self._site.engine.world.vms.values():
            self.members[machine.name] = machine
            await self._sites.admin.create_node(machine.name, system_uuid=machine.id)

    async def act(self) -> None:
        """Something happens to a VM."""
        machine = self._chance.choice(list(self.members.values()))
        match self._chance.choice(("migrate", "migrate", "off", "on", "on", "reboot", "remove")):
            case "migrate" if machine.status == "up":
                machine.migrate()
            case "reboot" if machine.status == "up":
                machine.reboot()
            case "off" if machine.status == "up":
                machine.stop()
            case "on" if machine.status == "down":
                machine.start()
            case "remove" if self._chance.random() < 0.3:
                await self._replace(machine)

    async def _replace(self, machine: Vm) -> None:
        """It is removed for good; one of its name, with another id, comes later."""
        del self.members[machine.name]
        self.removed[machine.name] = machine
        machine.remove()
        await self._speak(machine.name, is_ready=False)

    async def return_removed(self) -> None:
        """A VM comes back as a new one when its old Node is gone.

        One that was never initialised is nobody's to delete but an administrator's.
        """
        for name, old in list(self.removed.items()):
            node = await self._sites.admin.node(name)
            if node and not is_initialised(node):
                await self._sites.admin.delete_node(name)
            elif node is None:
                del self.removed[name]
                machine = self._site.engine.world.create_vm(
                    name, self._site.engine.world.cluster("blue"), None
                )
                with suppress(KeyError):  # the tag may be missing just now
                    machine.attach("docker-host")
                machine.nics, machine.devices = old.nics, old.devices
                machine.start()
                self.members[name] = machine
                await self._sites.admin.create_node(name, system_uuid=machine.id)

    async def speak(self) -> None:
        """Kubelets report: ready where the VM runs, unknown where it does not or is gone."""
        for name, machine in [*self.members.items(), *self.removed.items()]:
            is_there = self.members.get(name) is machine  # still, after the reports before it
            await self._speak(name, is_ready=is_there and machine.is_up)

    async def _speak(self, name: str, *, is_ready: bool) -> None:
        node = await self._sites.admin.node(name)
        status = "True" if is_ready else "Unknown"
        if node and _ready(node) != status:
            await self._sites.report(name, status)

    async def watch_laws(self) -> None:
        """Take down every Node that goes while its VM is there."""
        async for change, node in self._sites.admin.watch_nodes():
            name = node["metadata"]["name"]
            machine = self.members.get(name)
            if change == "DELETED" and machine and _is_of(node, machine):
                self.broken.append(f"{name} was deleted and its VM exists")


def _ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    conditions = node["status"].get("conditions", [])
    return next((c["status"] for c in conditions if c["type"] == "Ready"), "")


def _is_of(node: dict[str, dict[str, str]], machine: Vm) -> bool:
    return node["spec"].get("providerID") == f"ovirt://{machine.id}"


class Soak:
    """The program, its fleet, and the one who throws the switches."""

    def __init__(self, sites: Sites, site: Site, api: Proxy, chance: random.Random) -> None:
        self.fleet = Fleet(sites, site, chance)
        self._sites = sites
        self._site = site
        self._api = api
        self._chance = chance
        self._faults = 0
        self._memory: list[int] = []

    async def run(self, seconds: float) -> list[str]:
        """What was broken."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._sites.start()
        await self.fleet.join()
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self.fleet.watch_laws()),
                tasks.create_task(_every(1.0, self.fleet.speak)),
                tasks.create_task(_every(0.5, self.fleet.act)),
                tasks.create_task(_every(2.0, self.fleet.return_removed)),
                tasks.create_task(self._measure(began)),
                tasks.create_task(self._spoil_api()),
            ]
            while loop.time() < began + seconds:
                await self._spoil_engine()
            for task in others[3:4] + others[5:] + others[2:3]:
                task.cancel()
            self._api.heal()
            self._api.cut()
            await self._settle()
            for task in others:
                task.cancel()
        return self.fleet.broken + self._judge_memory()

    async def _spoil_engine(self) -> None:
        """One fault of the list for a while, then none for a while."""
        name = self._chance.choice([n for n, one in FAULTS.items() if not one.has_tls])
        self._faults += 1
        FAULTS[name].begin(self._site)
        await asyncio.sleep(self._chance.uniform(2, 8))
        FAULTS[name].end(self._site)
        self._site.engine.faults.reset()
        for machine in self.fleet.members.values():
            machine.attach("docker-host")  # whoever came without it
        await asyncio.sleep(self._chance.uniform(1, 6))
        self._sites.require_running()

    async def _spoil_api(self) -> None:
        values = {"swallows": True, "resets": True, "rate": 3000, "limit": 20_000}
        while True:
            await asyncio.sleep(self._chance.uniform(5, 20))
            name = self._chance.choice(TO_API)
            if name in values:
                setattr(self._api, name, values[name])
            self._faults += 1
            if name != "swallows":
                self._api.cut()
            await asyncio.sleep(self._chance.uniform(1, 5))
            self._api.heal()
            self._api.cut()

    async def _settle(self) -> None:
        """Every VM runs again and nothing is wrong: all marks go, and the Nodes without a VM."""
        for machine in self.fleet.members.values():
            if machine.status == "down":
                machine.start()
        try:
            await eventually(self._is_settled, "all have settled", within=SETTLES)
        except AssertionError as error:
            is_latched = self._sites.metric("ovirt_ccm_deletions_latched")
            self.fleet.broken.append(f"{error}; {await self._unsettled()}, {is_latched=}")

    async def _is_settled(self) -> bool:
        self._sites.require_running()
        return not await self._unsettled()

    async def _unsettled(self) -> list[str]:
        nodes = {node["metadata"]["name"]: node for node in await self._sites.admin.nodes()}
        strangers = nodes.keys() - self.fleet.members.keys()
        gone = (nodes[name] for name in strangers if is_initialised(nodes[name]))
        left = [f"{node['metadata']['name']} is left, Ready={_ready(node)}" for node in gone]
        for name, machine in self.fleet.members.items():
            node = nodes.get(name)
            if node is None:
                left.append(f"{name} is missing")
            elif not is_initialised(node) or not _is_of(node, machine):
                left.append(f"{name} is not initialised")
            elif ours := OURS & taint_keys(node):
                left.append(f"{name} has {ours}")
        return left

    async def _measure(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(WARM)
        while True:
            self._memory.append(_resident())
            deleted = self._sites.metric("ovirt_ccm_deletions_total", result="deleted")
            marks = self._sites.metric("ovirt_ccm_lifecycle_marks_total")
            _say(
                f"{loop.time() - began:6.0f} s  {self._faults:4} faults  {deleted:4.0f} deleted"
                f"  {marks:5.0f} marks  {self._memory[-1] >> 20:4} MiB"
                f"  {len(self.fleet.broken)} broken"
            )
            await asyncio.sleep(10.0)

    def _judge_memory(self) -> list[str]:
        """What the whole process holds, simulated engine included."""
        if len(self._memory) < 2:
            return []
        first, last = self._memory[int(len(self._memory) * COMPARED)], self._memory[-1]
        _say(f"memory: {first >> 20} MiB after a sixth of the run, {last >> 20} MiB at the end")
        return ["memory has grown"] if last > first * GROWTH else []


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


async def _every(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    while True:
        await action()
        await asyncio.sleep(seconds)


async def soak(seconds: float, seed: int, folder: Path) -> list[str]:
    """What was broken in so many seconds."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    with ControlPlane(find()) as cluster:
        original = grant(cluster)
        async with Proxy(urlsplit(cluster.url).port or 0) as api:
            access = folder / "kubeconfig"
            there = f"https://127.0.0.1:{api.port}"
            access.write_text(original.read_text("utf-8").replace(cluster.url, there), "utf-8")
            site = Site("soak", folder, [vm("w{n}", "10.1.0.1", count=FLEET)])
            async with Sites(cluster, access, [site], **SETTINGS) as sites:
                return await Soak(sites, site, api, chance).run(seconds)


def main() -> int:
    """0 when all laws have held."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.set_event_loop(None)
    with TemporaryDirectory() as folder:
        broken = asyncio.run(soak(chosen.minutes * 60, chosen.seed, Path(folder)))
    for what in broken:
        _say(what)
    _say("all laws have held" if not broken else f"{len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
