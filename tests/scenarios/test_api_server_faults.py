"""Whatever happens on the way to the API server loses no change and starts no busy loop.

All faults are suffered at the same time, each by a program of its own with an engine of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.kube.control_plane import ControlPlane
from tests.scenarios.refusals import Refusals
from tests.scenarios.trials import COUNT, Trial, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Suffer = Callable[[Trial], Awaitable[None]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

LASTS = 5.0  # seconds
TIMEOUT = "3s"  # after which the API server gives up on a store that does not answer


def _switch(**switches: object) -> Suffer:
    """What the proxy does, from now on and to what is open already, and how it is healed."""

    async def suffer(trial: Trial) -> None:
        for name, value in switches.items():
            setattr(trial.proxy, name, value)
        if not trial.proxy.swallows:
            trial.proxy.cut()
        await _last(trial)
        trial.proxy.heal()
        trial.proxy.cut()

    return suffer


def _refuse(code: int, reason: str, least: int, most: float) -> Suffer:
    """Every write is answered so for as long as it lasts; so many tries a node are made."""
    status = {"code": code, "reason": reason, "details": {"retryAfterSeconds": 1}}

    async def suffer(trial: Trial) -> None:
        async with Refusals(trial.admin, trial.name, status) as refusals:
            await asyncio.sleep(1)  # the API server hears of it
            refusals.is_on = True
            await _last(trial)
            tried = len(trial.requests("patch", code))
            assert 2 * COUNT * least <= tried <= 2 * COUNT * most
            assert not trial.requests("patch", 200)

    return suffer


async def _last(trial: Trial) -> None:
    """What is to be written comes while nothing can be."""
    await trial.create("new")
    trial.migrate()
    await asyncio.sleep(LASTS)
    trial.require_calm(len(FAULTS))


FAULTS: dict[str, Suffer] = {
    "watch-cut": _switch(),
    "half-open": _switch(swallows=True),
    "throttled": _switch(rate=2000),
    "slow": _switch(delay=3.0),
    "reset": _switch(resets=True),
    "truncated": _switch(limit=6000),
    "tls-alert": _switch(refuses_tls=True),
    # Five tries in a row, which begin again after 5 ms, 10 ms and so on.
    "conflicts": _refuse(409, "Conflict", 5, 80),
    # A try each second, as the answer tells to wait.
    "too-many-requests": _refuse(429, "TooManyRequests", 1, LASTS + 2),
}


async def _suffer(trial: Trial, fault: Suffer) -> None:
    """AssertionError says what was lost, or how busy it was."""
    await trial.settle()
    await fault(trial)
    await trial.recover()


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    flags = {"kube-apiserver": {"request-timeout": TIMEOUT}}
    with ControlPlane(kube_assets, flags=flags) as cluster:
        prepare(cluster)
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trials(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Every trial, under way."""
    folder = tmp_path_factory.mktemp("sites")
    async with AsyncExitStack() as stack:
        tasks = {}
        for name, fault in FAULTS.items():
            trial = await Trial.start(name, cluster, folder, stack)
            tasks[name] = asyncio.create_task(_suffer(trial, fault))
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_on_the_way_to_the_api_server_loses_nothing(
    fault: str, trials: dict[str, asyncio.Task[None]]
) -> None:
    await trials[fault]


@pytest_asyncio.fixture(loop_scope="module")
async def start_alone(
    cluster: ControlPlane, trials: dict[str, asyncio.Task[None]], tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Trial]]]:
    """A function that starts a trial once the others are over, as it may break the cluster."""
    await asyncio.gather(*trials.values(), return_exceptions=True)
    async with AsyncExitStack() as stack:

        async def start(name: str, **sections: object) -> Trial:
            trial = await Trial.start(name, cluster, tmp_path, stack, **sections)
            await trial.settle()
            return trial

        yield start


async def test_a_store_that_hangs_loses_nothing(
    cluster: ControlPlane, start_alone: Callable[..., Awaitable[Trial]]
) -> None:
    trial = await start_alone("store-hangs")

    cluster.freeze("etcd")
    trial.migrate()
    await trial.counted("ovirt_ccm_api_requests_total", verb="patch", code="error")
    cluster.thaw("etcd")
    trial.require_calm(len(FAULTS))
    await trial.create("new")

    await trial.recover()


async def test_a_history_that_is_gone_loses_nothing(
    cluster: ControlPlane, start_alone: Callable[..., Awaitable[Trial]]
) -> None:
    trial = await start_alone("expired")

    trial.proxy.resets = True
    trial.proxy.cut()
    await trial.create("new")
    trial.migrate()
    await asyncio.to_thread(cluster.restart, "kube-apiserver")  # it forgets what came before
    trial.require_calm(len(FAULTS))
    trial.proxy.heal()

    await trial.recover()
    await trial.counted("ovirt_ccm_informer_restarts_total", reason="expired")


async def test_a_store_that_dies_and_comes_back_loses_nothing(
    cluster: ControlPlane, start_alone: Callable[..., Awaitable[Trial]]
) -> None:
    trial = await start_alone("store-dies", limits={"kube_timeout": "10s"})

    await asyncio.to_thread(cluster.kill, "etcd")
    trial.migrate()
    await trial.answered("patch", 500, 504)  # written or not: who knows
    await asyncio.to_thread(cluster.start, "etcd")
    await asyncio.to_thread(cluster.ensure_healthy)
    await trial.create("new")

    await trial.recover()
    trial.require_calm(len(FAULTS))
