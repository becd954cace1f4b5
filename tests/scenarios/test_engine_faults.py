"""Whatever an engine suffers costs no node and no taint, and passes without a restart of ours.

All faults are suffered at the same time, each by an engine of its own; each test then looks at
one. Every Node could be deleted: the budget is no brake.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from provider.model import ANNOTATION_ENGINE
from tests.kube.control_plane import ControlPlane
from tests.kube.product import grant, is_initialised, taint_keys, vm
from tests.scenarios.faults import FAULTS, Fault
from tests.scenarios.sites import Site, Sites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.kube.admin import Object

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHUTDOWN = {"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"}
LASTS = 16.0  # seconds of a fault: a controller that took an absence for proven would have deleted
# After a log-in without an answer none is sent for half a minute, and after a fresh token that
# was refused for a minute; then a listing may be in its back-off.
RECOVERS = 100.0
SETTINGS = {
    "intervals": {"poll": "500ms", "wanted": "500ms", "events": "500ms", "resync": "2s"},
    "limits": {"engine_timeout": "2s", "engine_read_timeout": "2s"},
    "deletion": {"budget": "100%"},
    "registration": {"mode": "adopt"},
    "leader_election": {"enabled": False},
    "server": {"bind": "127.0.0.1:0"},
}


class Trial:
    """One fault at one site, with a Node of each kind that an error could cost."""

    def __init__(self, sites: Sites, site: Site, fault: Fault) -> None:
        self._sites = sites
        self._site = site
        self._fault = fault
        self._newcomer = site.hide("new")

    async def prepare(self) -> None:
        """Nodes as an earlier life of the program left them; a fault that comes first."""
        engine = {ANNOTATION_ENGINE: self._site.engine.world.instance_id}
        for role, taints in (("ready", ()), ("silent", ()), ("down", (SHUTDOWN,))):
            machine = self._site.vm(role)
            await self._sites.admin.create_node(
                machine.name,
                taints=taints,
                annotations=engine,
                provider_id=f"ovirt://{machine.id}",
                system_uuid=machine.id,
            )
            await self._sites.report(machine.name, "False" if role == "down" else "True")
        if self._fault.from_start:
            self._fault.begin(self._site)

    async def run(self) -> None:
        """AssertionError names the law that was broken."""
        if not self._fault.from_start:
            await self._settle()
            self._fault.begin(self._site)
        await self._sites.report(self._site.vm("silent").name, "Unknown")
        new = self._newcomer
        await self._sites.admin.create_node(new.name, system_uuid=new.id)
        before = await self._nodes()
        asked = self._site.requests
        await asyncio.sleep(LASTS)
        self._require_untouched(before, await self._nodes())
        assert self._site.requests - asked <= 40 * LASTS, "it is asked in a busy loop"
        is_renewed = self._age < LASTS - 0.5
        assert is_renewed == self._fault.is_seen_through, f"{self._age} s old"
        self._site.show(new)
        self._fault.end(self._site)
        await self._recover()

    @property
    def _age(self) -> float:
        """Seconds since the last listing that was published began."""
        return self._sites.metric("ovirt_ccm_snapshot_age_seconds", engine=self._site.name)

    async def _settle(self) -> None:
        """The site is known and its Nodes are as they stay."""
        for role in ("ready", "silent", "down"):
            name = self._site.vm(role).name
            await self._sites.node_when(name, _is_described, "is described", within=60)

    async def _nodes(self) -> dict[str, Object]:
        nodes = await self._sites.admin.nodes(f"{self._site.name}-")
        return {node["metadata"]["name"]: node for node in nodes}

    def _require_untouched(self, before: dict[str, Object], after: dict[str, Object]) -> None:
        """The law: nobody has written to a Node, not even to take it back."""
        self._sites.require_running()
        for name, old in before.items():
            assert name in after, f"{name} was deleted"
            new = after[name]
            assert new["metadata"]["uid"] == old["metadata"]["uid"]
            assert new["spec"] == old["spec"], "taints and provider id stay"
            assert new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]

    async def _recover(self) -> None:
        """The newcomer is initialised, and only now a proven absence counts."""
        new, silent = self._newcomer, self._site.vm("silent")
        node = await self._sites.node_when(
            new.name, is_initialised, "is initialised", within=RECOVERS
        )
        assert node["spec"]["providerID"] == f"ovirt://{new.id}"
        left = await self._nodes()
        assert len(left) == 4
        assert SHUTDOWN["key"] in taint_keys(left[self._site.vm("down").name])
        assert SHUTDOWN["key"] not in taint_keys(left[silent.name])
        self._site.engine.world.forget(silent)
        await self._sites.gone(silent.name, within=60)
        assert len(await self._nodes()) == 3


def _is_described(node: Object) -> bool:
    return "topology.kubernetes.io/zone" in node["metadata"].get("labels", {})


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    with ControlPlane(kube_assets) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trials(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Every trial, under way."""
    folder = tmp_path_factory.mktemp("sites")
    access = await asyncio.to_thread(grant, cluster)
    every = [_site(name, n, fault, folder) for n, (name, fault) in enumerate(FAULTS.items())]
    async with Sites(cluster, access, every, **SETTINGS) as sites:
        found = {site.name: Trial(sites, site, FAULTS[site.name]) for site in every}
        await asyncio.gather(*(trial.prepare() for trial in found.values()))
        await sites.start()
        tasks = {name: asyncio.create_task(trial.run()) for name, trial in found.items()}
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


def _site(name: str, number: int, fault: Fault, folder: Path) -> Site:
    roles = {"ready": "up", "silent": "up", "down": "down", "new": "up"}
    machines = [
        vm(f"{name}-{role}", f"10.{number}.0.{n}", status=status)
        for n, (role, status) in enumerate(roles.items(), 1)
    ]
    site = Site(name, folder, machines)
    site.has_tls = fault.has_tls
    return site


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_an_engine_costs_nothing_and_passes(
    fault: str, trials: dict[str, asyncio.Task[None]]
) -> None:
    await trials[fault]
