"""The API server hangs, dies and comes back while nodes are initialised: nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.kube.admin import Admin
from tests.kube.control_plane import ControlPlane
from tests.kube.product import Product, addresses, eventually, grant, is_initialised, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_COUNT = 100
_FROZEN = 20.0  # seconds


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


async def test_a_frozen_api_server_is_waited_for(
    cluster: ControlPlane, access: Path, admin: Admin, tmp_path: Path
) -> None:
    async with _product(cluster, access, tmp_path, "frozen-{n}", "10.7.1.1") as product:
        await _create(admin, "frozen-")
        await eventually(lambda: _have_begun(product), "the first are initialised")

        cluster.freeze("kube-apiserver")
        before = product.requests()
        await asyncio.sleep(_FROZEN)
        tried = product.requests() - before
        cluster.thaw("kube-apiserver")
        await eventually(lambda: _are_initialised(admin, "frozen-"), "all are initialised")
        await _require_alive(product)

    # At most 32 workers and a few others, each with a time-out of 10 s.
    assert tried < 4 * 32
    assert all(write.is_success for write in product.writes() if write.code)


async def test_an_api_server_that_dies_and_comes_back_is_waited_for(
    cluster: ControlPlane, access: Path, admin: Admin, tmp_path: Path
) -> None:
    async with _product(cluster, access, tmp_path, "killed-{n}", "10.7.2.1") as product:
        await _create(admin, "killed-")
        await eventually(lambda: _have_begun(product), "the first are initialised")

        before = product.requests()
        await asyncio.to_thread(cluster.kill, "kube-apiserver")
        await asyncio.sleep(2)
        tried = product.requests() - before
        await asyncio.to_thread(cluster.start, "kube-apiserver")
        await eventually(lambda: _are_initialised(admin, "killed-"), "all are initialised")
        await _require_alive(product)

    # Each node is tried again after 5 ms, doubled each time: nine times within 2 s.
    assert tried < 12 * _COUNT
    assert all(addresses(node) for node in await admin.nodes("killed-"))


async def test_a_node_that_comes_while_the_api_server_is_away_from_us_is_found(
    cluster: ControlPlane, access: Path, admin: Admin, tmp_path: Path
) -> None:
    async with _product(cluster, access, tmp_path, "late-{n}", "10.7.3.1") as product:
        await product.periods(1)
        await asyncio.to_thread(cluster.restart, "kube-apiserver")
        await _create(admin, "late-")

        await eventually(lambda: _are_initialised(admin, "late-"), "all are initialised")
        await _require_alive(product)


def _product(cluster: ControlPlane, access: Path, folder: Path, name: str, ip: str) -> Product:
    return Product(cluster, access, folder, [vm(name, ip, count=_COUNT)])


async def _create(admin: Admin, prefix: str) -> None:
    await asyncio.gather(*(admin.create_node(f"{prefix}{n}") for n in range(_COUNT)))


async def _have_begun(product: Product) -> bool:
    """Whether some are done and most are not."""
    return product.reconciles("written") > 0


async def _are_initialised(admin: Admin, prefix: str) -> bool:
    nodes = await admin.nodes(prefix)
    return len(nodes) == _COUNT and all(map(is_initialised, nodes))


async def _require_alive(product: Product) -> None:
    """What it looks at after the outage, it looks at as before: it was not started again."""
    product.require_running()
    await product.periods(1)
