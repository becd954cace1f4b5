"""No write is sent that could arrive when another leads."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from provider.errors import NotLeading, OutcomeUnknown
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.encode import MERGE_PATCH, Write
from provider.kube.fence import Fence, open_socket
from provider.kube.rights import Right

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from provider.metrics import Metrics
    from provider.simulator.cluster import SimulatedCluster

pytestmark = pytest.mark.looptime

EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e1", "namespace": "default"},
    "involvedObject": {"kind": "Node", "name": "n1"},
}
LABEL = Write(MERGE_PATCH, {"metadata": {"labels": {"a": "b"}}})
WRITES: dict[str, Callable[[KubeApi], Awaitable[Any]]] = {
    "patch a node": lambda api: api.patch_node("n1", LABEL),
    "patch its status": lambda api: api.patch_node_status("n1", LABEL),
    "create an event": lambda api: api.create_event("default", EVENT),
    "patch an event": lambda api: api.patch_event("default", "e1", {"count": 2}),
}


class Held:
    """A lease for which there are so many seconds left."""

    def __init__(self) -> None:
        self._seconds: Iterable[float] = itertools.repeat(15.0)

    def set(self, *seconds: float) -> None:
        """What is left at each look; the last of them stays."""
        self._seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def __call__(self) -> float:
        return next(iter(self._seconds))


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def fenced(
    cluster: SimulatedCluster, tmp_path: Path, metrics: Metrics, held: Held
) -> AsyncIterator[KubeApi]:
    path = tmp_path / "fenced"
    path.write_text(cluster.kubeconfig(), encoding="utf-8")
    cluster.kubelet("n1", system_uuid="")
    access = await load_access(path)
    async with KubeApi(access, timedelta(seconds=10), metrics, Fence(held)) as api:
        yield api


def sent(cluster: SimulatedCluster) -> int:
    return sum(request.method != "GET" for request in cluster.requests)


async def test_who_holds_the_lease_writes(fenced: KubeApi, cluster: SimulatedCluster) -> None:
    node = await fenced.patch_node("n1", LABEL)
    await fenced.create_event("default", EVENT)
    await fenced.patch_event("default", "e1", {"count": 2})
    await fenced.delete_node(node)

    statuses = [request.status for request in cluster.requests]
    assert statuses == [200, 201, 200, 200]
    kinds = [request.content_type for request in cluster.requests]
    assert kinds == [MERGE_PATCH, "application/json", MERGE_PATCH, "application/json"]


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("left", [0.0, 1.9])
async def test_nothing_is_sent_without_time(
    fenced: KubeApi, cluster: SimulatedCluster, held: Held, what: str, left: float
) -> None:
    held.set(left)

    with pytest.raises(NotLeading, match="not sent: the lease"):
        await WRITES[what](fenced)

    assert sent(cluster) == 0


@pytest.mark.parametrize("what", WRITES)
async def test_who_wakes_up_at_the_last_moment_sends_nothing(
    fenced: KubeApi, cluster: SimulatedCluster, held: Held, what: str
) -> None:
    """The first look is when the request begins, the second when its bytes would go."""
    held.set(15.0, 0.0)

    with pytest.raises(NotLeading):
        await WRITES[what](fenced)

    assert sent(cluster) == 0
    held.set(15.0)
    await fenced.patch_node("n1", LABEL)


async def test_a_request_ends_before_the_lease(
    fenced: KubeApi, cluster: SimulatedCluster, held: Held
) -> None:
    held.set(6.0)
    cluster.faults.freeze()
    began = asyncio.get_running_loop().time()

    with pytest.raises(OutcomeUnknown):
        await fenced.patch_node("n1", LABEL)

    assert asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.1)


async def test_reading_needs_no_lease(fenced: KubeApi, held: Held) -> None:
    held.set(0.0)

    assert (await fenced.get_node("n1")).name == "n1"
    assert await fenced.may(Right("patch", "nodes"))


async def test_a_write_under_way_is_waited_for_at_the_end(
    fenced: KubeApi, cluster: SimulatedCluster
) -> None:
    cluster.faults.latency = 0.8
    writing = asyncio.ensure_future(fenced.patch_node("n1", LABEL))
    await asyncio.sleep(0.4)
    writing.cancel()
    await asyncio.wait((writing,))

    assert writing.cancelled()
    assert cluster.nodes.get("n1")["metadata"]["labels"]["a"] == "b"


async def test_a_write_that_hangs_is_given_up_after_a_second(
    fenced: KubeApi, cluster: SimulatedCluster
) -> None:
    cluster.faults.freeze()
    writing = asyncio.ensure_future(fenced.patch_node("n1", LABEL))
    await asyncio.sleep(0.4)
    began = asyncio.get_running_loop().time()
    writing.cancel()
    await asyncio.wait((writing,))

    assert writing.cancelled()
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0, abs=0.1)
    cluster.faults.thaw()
    await asyncio.sleep(1)
    assert "a" not in cluster.nodes.get("n1")["metadata"]["labels"]


async def test_an_error_in_the_moment_of_the_end_is_not_told_as_one_that_nobody_saw() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    broken = loop.create_future()

    async def exchange() -> None:
        await broken
        raise OutcomeUnknown("broken")

    writing = asyncio.ensure_future(Fence(Held()).finish(exchange()))
    await asyncio.sleep(0.1)
    broken.set_result(None)
    await asyncio.sleep(0)  # the exchange has ended, and who waits for it does not know yet
    writing.cancel()
    await asyncio.wait((writing,))
    assert writing.cancelled()
    del writing
    gc.collect()

    assert not told


async def test_who_waits_for_a_write_that_is_cancelled_ends_with_it() -> None:
    async def exchange() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Fence(Held()).finish(exchange())


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such option")
async def test_the_kernel_drops_a_write_that_does_not_get_through_before_the_lease_ends() -> None:
    address = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0)
    with open_socket(address) as opened:
        milliseconds = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    # No write is sent with less time left than this.
    assert milliseconds == 2000
