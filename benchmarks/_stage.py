"""What a join starts from: an engine with many Docker hosts, and Nodes as kubelets make them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import time
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from provider.kube.codec import decode_node
from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import (
    ClusterSpec,
    DataCenterSpec,
    Durations,
    HostSpec,
    NicSpec,
    Scenario,
    TagSpec,
    UserSpec,
    VmSpec,
)
from tests.kube.admin import UNINITIALIZED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from multiprocessing.connection import Connection

    from provider.model import Node
    from tests.kube.admin import Admin, Object

USER = "reader@internal"
OPERATOR = "operator@internal"
PASSWORD = "geheim"  # noqa: S105 - of a simulated engine
PREFIX = "join-"
MIGRATION = 0.5  # seconds


def serve(count: int, pipe: Connection) -> None:
    """An engine with so many Docker hosts; tells its url and the VMs' ids by name, then serves."""

    async def run() -> None:
        engine = SimulatedEngine(scenario(count))
        url = await engine.start()
        names = [f"{PREFIX}{n}" for n in range(count)]
        pipe.send((url, {name: engine.world.vm(name).id for name in names}))
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def scenario(count: int) -> Scenario:
    """VMs whose guests report an IPv4 and an IPv6 address."""
    nic = NicSpec(addresses=(ip_address("10.64.0.1"), ip_address("fd00:64::1")))
    return Scenario(
        users=(
            UserSpec(name=USER, password=PASSWORD),
            UserSpec(name=OPERATOR, password=PASSWORD, role="SuperUser"),
        ),
        durations=Durations(migration=timedelta(seconds=MIGRATION)),
        data_centers=(DataCenterSpec(name="paris"),),
        clusters=(ClusterSpec(name="blue", data_center="paris"),),
        hosts=tuple(HostSpec(name=f"hv-{n}", cluster="blue") for n in (1, 2)),
        tags=(TagSpec(name="docker-host"),),
        vms=(
            VmSpec(
                name=f"{PREFIX}{{n}}",
                count=count,
                cluster="blue",
                host="hv-1",
                tags=("docker-host",),
                nics=(nic,),
            ),
        ),
    )


@contextlib.contextmanager
def simulated_engine(count: int) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The url of a running engine, and the ids of its VMs by name."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(count, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


# ---- the nodes ---------------------------------------------------------------------------------


def kubelet_node(name: str, system_uuid: str) -> Object:
    """What a kubelet of a Docker host registers, 3 KB of it."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    pressure = [
        (kind, "False", f"KubeletHas{kind}", "kubelet has enough of it available")
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    conditions = [*pressure, ("Ready", "True", "KubeletReady", "kubelet is posting ready status")]
    keys = ("type", "status", "reason", "message")
    resources = {"cpu": "4", "memory": "16374816Ki", "pods": "110", "ephemeral-storage": "40Gi"}
    digest = "0123456789abcdef" * 4
    images = [f"registry.example.com/team/service-{n}@sha256:{digest}" for n in range(10)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"taints": [UNINITIALIZED]},
        "status": {
            "addresses": [{"type": "Hostname", "address": name}],
            "capacity": resources,
            "allocatable": resources,
            "conditions": [
                {
                    **dict(zip(keys, condition, strict=True)),
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
                for condition in conditions
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "systemUUID": system_uuid,
                "machineID": system_uuid.replace("-", ""),
                "bootID": system_uuid,
                "kernelVersion": "6.1.0-30-amd64",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.37.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
            "images": [{"names": [name], "sizeBytes": 73_000_000} for name in images],
        },
    }


class Stage:
    """The nodes of one round."""

    def __init__(self, admin: Admin, ids: Mapping[str, str], workers: int, *, kcm: bool) -> None:
        self._admin = admin
        self._ids = ids
        self._workers = workers
        self._kcm = kcm

    async def set_up(self) -> None:
        """Remove the nodes and Events of earlier rounds, and create the nodes anew."""
        await self._admin.call("DELETE", "/api/v1/namespaces/default/events")
        # All at one go is more than the API server does in the minute that a request may take.
        await self._for_each(await self.nodes(), self._delete)
        await self._for_each(self._ids, self._create)
        await asyncio.sleep(1)  # let the API server and etcd come to rest
        while self._kcm and not all(map(is_settled, await self._admin.nodes())):  # noqa: ASYNC110
            await asyncio.sleep(1)

    async def _for_each(
        self, names: Iterable[str], do: Callable[[str], Awaitable[object]]
    ) -> None:
        left = list(names)

        async def work() -> None:
            while left:
                await do(left.pop())

        await asyncio.gather(*(work() for _ in range(self._workers)))

    async def _create(self, name: str) -> None:
        node = kubelet_node(name, self._ids[name])
        await self._admin.call("POST", "/api/v1/nodes", node)

    async def _delete(self, name: str) -> None:
        await self._admin.call("DELETE", f"/api/v1/nodes/{name}")

    async def nodes(self) -> dict[str, Node]:
        """All nodes as they are now."""
        found = await self._admin.nodes(PREFIX)
        nodes = (decode_node(json.dumps(node).encode()) for node in found)
        return {node.name: node for node in nodes}


def is_settled(node: Object) -> bool:
    """Whether kube-controller-manager has done its work on a new node."""
    is_noticed = "node.alpha.kubernetes.io/ttl" in node["metadata"]["annotations"]
    return is_noticed and "podCIDR" in node["spec"] and len(node["spec"]["taints"]) == 1
