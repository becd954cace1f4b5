"""What happens in an engine reaches the Nodes within seconds, however rarely it is listed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.controllers.engines import HOST, Site, site
from tests.controllers.lab import until
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.simulator.machine import Vm

pytestmark = pytest.mark.looptime

SOON = 2.0  # seconds between what happens in the engine and the write of the Node
ZONE = "topology.kubernetes.io/zone"
TYPE = "node.kubernetes.io/instance-type"
RARELY = {"poll": "10m", "resync": "1h"}


@asynccontextmanager
async def quiet(folder: Path, *names: str, **sections: Any) -> AsyncIterator[Site]:
    """Initialised nodes of these VMs, of an engine that is listed every ten minutes."""
    vms = [vm(name, ip=f"10.0.0.{n + 1}") for n, name in enumerate(names)]
    async with site(folder, [*vms, vm("other", ip="10.0.2.1", tags=())]) as here:
        for name in names:
            here.kubelet(name, here.east.world.vm(name))
        async with here.program(here.east, intervals=RARELY, **sections):
            await until(lambda: here.is_initialised(*names))
            await asyncio.sleep(20.5)
            here.east.forget_requests()
            yield here


def machine(here: Site, name: str) -> Vm:
    return here.east.world.vm(name)


async def takes(condition: Callable[[], object]) -> float:
    """How many seconds of the loop it takes until this is true."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(condition)
    return loop.time() - began


async def test_a_node_has_its_new_host_when_the_migration_ends(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", "w2") as here:
        machine(here, "w1").migrate("hv-3")
        await until(lambda: machine(here, "w1").status == "up")

        assert await takes(lambda: here.labels("w1")[HOST] == "hv-3") <= SOON
        assert here.east.counts["GET /vms"] == 0


async def test_a_new_docker_host_is_initialised(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1") as here:
        here.kubelet("other", machine(here, "other"))
        await asyncio.sleep(30)
        assert not here.is_initialised("other")

        machine(here, "other").attach("docker-host")

        assert await takes(lambda: here.is_initialised("other")) <= SOON
        assert here.east.counts["GET /vms"] == 1


async def test_a_new_docker_host_without_a_kubelet_is_registered(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", registration={"mode": "create"}) as here:
        machine(here, "other").attach("docker-host")

        assert await takes(lambda: "other" in here.names) <= SOON


async def test_a_vm_that_starts_is_initialised_as_soon_as_its_guest_speaks(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1") as here:
        off = machine(here, "other")
        off.stop()
        off.attach("docker-host")
        here.kubelet("other", off)
        await asyncio.sleep(60)

        off.start()
        await until(lambda: off.agent_speaks)

        assert await takes(lambda: here.is_initialised("other")) <= SOON + 2


async def test_the_node_of_a_removed_vm_says_so(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", "w2") as here:
        machine(here, "w1").remove()

        assert await takes(lambda: "InstanceNotSelected" in here.reasons("w1")) <= SOON + 1
        assert here.names == {"w1", "w2"}


async def test_listings_that_events_ask_for_prove_no_absence_any_sooner(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", "w2") as here:
        here.kubelets["w1"].stop()
        machine(here, "w1").remove()
        for _ in range(20):
            here.east.world.write_event(440, {})
            await asyncio.sleep(3)

        assert here.east.counts["GET /vms"] >= 10
        assert here.names == {"w1", "w2"}


async def test_a_host_that_fails_wakes_its_vms_and_none_is_touched(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", "w2") as here:
        here.cluster.requests.clear()
        here.east.world.lose_host("hv-1")
        here.kubelets["w1"].stop()
        await asyncio.sleep(120)

        assert here.east.counts["GET /vms/{id}"] >= 2
        assert here.writes("w1", "w2") == []


async def test_a_quiet_minute_costs_an_engine_sixty_small_requests(tmp_path: Path) -> None:
    async with quiet(tmp_path, "w1", "w2") as here:
        await asyncio.sleep(60)

        assert set(here.east.counts) == {"GET /events"}
        assert 58 <= here.east.counts["GET /events"] <= 62


async def test_a_burst_is_one_listing_for_all_its_nodes(tmp_path: Path) -> None:
    async with site(tmp_path, [many(100)]) as here:
        for number in range(100):
            here.kubelet(f"w{number}", machine(here, f"w{number}"))
        async with here.program(here.east, intervals=RARELY):
            await until(lambda: here.is_initialised(*(f"w{n}" for n in range(100))))
            await asyncio.sleep(20.5)
            here.east.forget_requests()
            for number in range(100):
                machine(here, f"w{number}").migrate("hv-3")
            await until(lambda: machine(here, "w0").status == "up")

            all_moved = await takes(
                lambda: {here.labels(f"w{n}")[HOST] for n in range(100)} == {"hv-3"}
            )

        assert all_moved <= SOON + 1
        assert here.east.counts["GET /vms"] <= 3
