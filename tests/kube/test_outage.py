"""The API server hangs, dies and comes back while nodes are initialised: nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from tests.kube.admin import Admin
from tests.kube.control_plane import ControlPlane
from tests.kube.product import Product, addresses, eventually, grant, is_initialised, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.kube.admin import Object

_COUNT = 100
_FROZEN = 20.0  # seconds
_DEAD = 2.0
_WORKERS = 32


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    with ControlPlane(kube_assets) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def access(cluster: ControlPlane) -> Path:
    return grant(cluster)


@pytest.fixture
async def admin(cluster: ControlPlane) -> AsyncIterator[Admin]:
    async with Admin(cluster) as admin:
        yield admin
        await admin.call("DELETE", "/api/v1/nodes")


@pytest.fixture
def product(cluster: ControlPlane, access: Path, admin: Admin, tmp_path: Path) -> Product:
    """One with a VM for each node of `_create`, which looks at them as often as by default."""
    intervals = {"poll": "1s", "wanted": "500ms", "resync": "5m"}
    machines = vm("worker-{n}", "10.7.1.1", count=_COUNT)
    product = Product(cluster, access, tmp_path, [machines], intervals=intervals)
    product.may_be_refused = True
    return product


async def test_a_frozen_api_server_is_waited_for(
    cluster: ControlPlane, admin: Admin, product: Product
) -> None:
    await _create(admin)
    async with product:
        await _first_is_initialised(admin)

        cluster.freeze("kube-apiserver")
        before = product.requests()
        await asyncio.sleep(_FROZEN)
        tried = product.requests() - before
        left = _COUNT - product.reconciles("written")
        cluster.thaw("kube-apiserver")
        nodes = await _all_initialised(admin, product)

    assert left > 0
    # Each worker has one request under way, which ends after 10 s; the events and the watch
    # have one each.
    assert tried <= 3 * (_WORKERS + 2)
    assert all(addresses(node) for node in nodes)


async def test_an_api_server_that_dies_and_comes_back_is_waited_for(
    cluster: ControlPlane, admin: Admin, product: Product
) -> None:
    await _create(admin)
    async with product:
        await _first_is_initialised(admin)

        await asyncio.to_thread(cluster.kill, "kube-apiserver")
        before = product.requests()
        left = _COUNT - product.reconciles("written")
        await asyncio.sleep(_DEAD)
        tried = product.requests() - before
        await asyncio.to_thread(cluster.start, "kube-apiserver")
        nodes = await _all_initialised(admin, product)

    assert left > 0
    # Each node is tried again after 5 ms, doubled each time, and at each listing of the engine:
    # some ten times within 2 s. A busy loop would try thousands of times.
    assert tried <= 20 * (left + 1)
    assert all(addresses(node) for node in nodes)


async def test_nodes_that_come_while_the_api_server_starts_again_are_found(
    cluster: ControlPlane, admin: Admin, product: Product
) -> None:
    async with product:
        await eventually(lambda: _is_watching(product), "it watches")
        await asyncio.to_thread(cluster.restart, "kube-apiserver")
        await _create(admin)

        await _all_initialised(admin, product)


async def _create(admin: Admin) -> None:
    await asyncio.gather(*(admin.create_node(f"worker-{n}") for n in range(_COUNT)))


async def _first_is_initialised(admin: Admin) -> None:
    async with aclosing(admin.watch_nodes()) as watch:
        async for _, node in watch:
            if is_initialised(node):
                return


async def _all_initialised(admin: Admin, product: Product) -> list[Object]:
    async def look() -> list[Object] | None:
        product.require_running()
        nodes = await admin.nodes()
        is_done = len(nodes) == _COUNT and all(map(is_initialised, nodes))
        return nodes if is_done else None

    return await eventually(look, "all are initialised")


async def _is_watching(product: Product) -> bool:
    return product.requests(verb="watch", code="200") > 0
