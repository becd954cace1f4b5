"""The informer against the real API server, as it is and while it restarts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.codec import decode_event
from provider.kube.encode import MERGE_PATCH, Write
from provider.kube.informer import NodeInformer
from provider.metrics import Metrics
from provider.model import NewNode
from tests.kube.test_api import delete

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kube.conftest import NewControlPlane
    from tests.kube.control_plane import ControlPlane


@asynccontextmanager
async def informed(cluster: ControlPlane) -> AsyncIterator[tuple[KubeApi, NodeInformer]]:
    """A client and an informer that has listed everything."""
    metrics = Metrics()
    access = await load_access(cluster.kubeconfig)
    async with KubeApi(access, timedelta(seconds=10), metrics) as api:
        informer = NodeInformer(api, metrics)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(informer.wait_synced(), 30)
            yield api, informer
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def new(name: str) -> NewNode:
    return NewNode(name, "", {"a": "b"}, {}, (), ())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - any condition, seen from outside
            await asyncio.sleep(0.05)


async def test_every_change_arrives(control_plane: ControlPlane, node_prefix: str) -> None:
    name = f"{node_prefix}a"
    async with informed(control_plane) as (api, informer):
        changed: list[str] = []
        informer.subscribe(changed.append)

        node = await api.create_node(new(name))
        await until(lambda: name in informer.nodes)
        assert informer.nodes[name].uid == node.uid
        node = await api.patch_node(name, Write(MERGE_PATCH, {"metadata": {"labels": {"x": "y"}}}))
        await until(lambda: informer.nodes[name].labels.get("x") == "y")
        await delete(api, name)
        await until(lambda: name not in informer.nodes)

        assert changed.count(name) >= 3  # kube-controller-manager changes it too


async def test_what_a_write_returned_is_seen_at_once_and_stays(
    control_plane: ControlPlane, node_prefix: str
) -> None:
    name = f"{node_prefix}a"
    async with informed(control_plane) as (api, informer):
        await api.create_node(new(name))
        await until(lambda: name in informer.nodes)

        label = Write(MERGE_PATCH, {"metadata": {"labels": {"x": "y"}}})
        informer.observe(await api.patch_node(name, label))
        assert informer.nodes[name].labels["x"] == "y"
        await api.create_node(new(f"{node_prefix}b"))  # its event comes after that of the write
        await until(lambda: f"{node_prefix}b" in informer.nodes)

        assert informer.nodes[name].labels["x"] == "y"


async def test_a_listing_in_pages_is_whole(control_plane: ControlPlane, node_prefix: str) -> None:
    async with informed(control_plane) as (api, _):
        names = {f"{node_prefix}{number}" for number in range(7)}
        await asyncio.gather(*(api.create_node(new(name)) for name in names))
        first = await api.nodes_page(3, "")
        seen, continue_ = {node.name for node in first.nodes}, first.continue_
        while continue_:
            page = await api.nodes_page(3, continue_)
            assert page.resource_version == first.resource_version
            seen |= {node.name for node in page.nodes}
            continue_ = page.continue_

        assert seen >= names


async def test_a_watch_ends_by_itself_after_its_lifetime(control_plane: ControlPlane) -> None:
    async with informed(control_plane) as (api, _):
        version = (await api.nodes_page(1, "")).resource_version
        lines = api.watch_nodes(version, timedelta(seconds=2), timedelta(seconds=30))
        types = {decode_event(line).type async for line in lines}

    assert "ERROR" not in types


async def test_it_goes_on_after_the_api_server_was_killed(
    new_control_plane: NewControlPlane,
) -> None:
    cluster = new_control_plane()
    async with informed(cluster) as (api, informer):
        await api.create_node(new("before"))
        await until(lambda: "before" in informer.nodes)

        await asyncio.to_thread(cluster.kill, "kube-apiserver")
        await asyncio.to_thread(cluster.restart, "kube-apiserver")
        await api.create_node(new("after"))

        await until(lambda: sorted(informer.nodes) == ["after", "before"])
