"""Whatever happens on the way to the API server loses no change and starts no busy loop.

All faults are suffered at the same time, each by a program of its own with an engine of its own.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.kube.control_plane import ControlPlane
from tests.kube.product import grant, is_initialised, vm
from tests.scenarios.proxy import Proxy
from tests.scenarios.sites import Site, Sites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 5
LASTS = 5.0  # seconds
RECOVERS = 60.0
GROUP = "scenarios"
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": GROUP},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "ovirt-cloud-controller-manager",
    },
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP}],
}
# Nodes are looked at again at their changes only: what the watch loses is lost.
SETTINGS = {
    "intervals": {"poll": "500ms", "wanted": "500ms", "events": "500ms", "resync": "5m"},
    "limits": {"kube_timeout": "2s"},
    "registration": {"mode": "adopt"},
    "leader_election": {"enabled": False},
    "server": {"bind": "127.0.0.1:0"},
}


def _switch(**switches: object) -> Callable[[Proxy], None]:
    def turn(proxy: Proxy) -> None:
        for name, value in switches.items():
            setattr(proxy, name, value)
        if not proxy.swallows:
            proxy.cut()

    return turn


FAULTS: dict[str, Callable[[Proxy], None]] = {
    "watch-cut": _switch(),
    "half-open": _switch(swallows=True),
    "throttled": _switch(rate=2000),
    "slow": _switch(delay=3.0),
    "reset": _switch(resets=True),
    "truncated": _switch(limit=6000),
    "tls-alert": _switch(refuses_tls=True),
}


class Trial:
    """One program behind one proxy, whose user in the audit log is `name`."""

    def __init__(self, name: str, cluster: ControlPlane, sites: Sites, proxy: Proxy) -> None:
        self._name = name
        self._cluster = cluster
        self._sites = sites
        self._site = sites.all[name]
        self._proxy = proxy

    async def run(self, begin: Callable[[Proxy], None]) -> None:
        """AssertionError says what was lost, or how busy it was."""
        await self._create("known")
        await self._initialised("known")
        since, connections = self._cluster.audit_position(), self._proxy.connections
        begin(self._proxy)
        await self._create("new")
        for n in range(COUNT):
            self._site.vm(f"known{n}").migrate("hv-2")
        await asyncio.sleep(LASTS)
        self._require_calm(since, connections)
        self._proxy.heal()
        self._proxy.cut()
        await self._initialised("new")
        await asyncio.gather(*(self._moved(f"known{n}") for n in range(COUNT)))

    async def _create(self, role: str) -> None:
        for n in range(COUNT):
            machine = self._site.vm(f"{role}{n}")
            await self._sites.admin.create_node(machine.name, system_uuid=machine.id)

    async def _initialised(self, role: str) -> None:
        names = [self._site.vm(f"{role}{n}").name for n in range(COUNT)]
        waits = (
            self._sites.node_when(name, is_initialised, "is initialised", within=RECOVERS)
            for name in names
        )
        await asyncio.gather(*waits)

    async def _moved(self, role: str) -> None:
        """The change of the engine that came while nothing could be written is on the Node."""

        def is_on_the_new_host(node: dict[str, dict[str, dict[str, str]]]) -> bool:
            return node["metadata"]["labels"].get("ccm.ovirt.org/host") == "hv-2"

        name = self._site.vm(role).name
        await self._sites.node_when(name, is_on_the_new_host, "is on hv-2", within=RECOVERS)

    def _require_calm(self, since: int, connections: int) -> None:
        """A node at a time is tried again ever more rarely: a busy loop would try thousands."""
        requests = self._cluster.audit(user=self._name, since=since)
        nodes = 2 * COUNT * len(FAULTS)  # those of the others are looked at too
        assert len(requests) <= 8 * nodes
        assert self._proxy.connections - connections <= 8 * nodes


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    with ControlPlane(kube_assets) as cluster:
        grant(cluster)
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(BINDING))
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trials(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Every trial, under way."""
    folder = tmp_path_factory.mktemp("sites")
    async with AsyncExitStack() as stack:
        tasks = {}
        for name, begin in FAULTS.items():
            trial = await _start(name, cluster, folder, stack)
            tasks[name] = asyncio.create_task(trial.run(begin))
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _start(name: str, cluster: ControlPlane, folder: Path, stack: AsyncExitStack) -> Trial:
    proxy = await stack.enter_async_context(Proxy(urlsplit(cluster.url).port or 0))
    access = folder / f"{name}.yaml"
    original = cluster.kubeconfig_for(name, [GROUP])
    there = f"https://127.0.0.1:{proxy.port}"
    access.write_text(original.read_text("utf-8").replace(cluster.url, there), "utf-8")
    roles = [f"{role}{n}" for role in ("known", "new") for n in range(COUNT)]
    site = Site(
        name, folder, [vm(f"{name}-{role}", f"10.1.1.{n + 1}") for n, role in enumerate(roles)]
    )
    sites = await stack.enter_async_context(Sites(cluster, access, [site], **SETTINGS))
    await sites.start()
    return Trial(name, cluster, sites, proxy)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_on_the_way_to_the_api_server_loses_nothing(
    fault: str, trials: dict[str, asyncio.Task[None]]
) -> None:
    await trials[fault]


async def test_a_store_that_hangs_loses_nothing(
    cluster: ControlPlane, trials: dict[str, asyncio.Task[None]], tmp_path: Path
) -> None:
    await asyncio.gather(*trials.values(), return_exceptions=True)
    loop = asyncio.get_running_loop()

    def freeze(_proxy: Proxy) -> None:
        cluster.freeze("etcd")
        loop.call_later(LASTS - 1, cluster.thaw, "etcd")

    async with AsyncExitStack() as stack:
        trial = await _start("etcd", cluster, tmp_path, stack)
        await trial.run(freeze)
