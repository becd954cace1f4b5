"""What happens to one engine changes nothing for the nodes of another, nor for its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.controllers.engines import HOST, REGION, Site, site
from tests.controllers.lab import until
from tests.ovirt.lab import vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.looptime

LONG = 200.0  # seconds in which a controller that errs would have erred
SAME_ID = "11111111-2222-4333-8444-555555555555"
ANOTHER_ID = "cccccccc-0000-4000-8000-000000000003"


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[Site]:
    """A node in each engine, `e1` and `w1`, both ready and not initialised yet."""
    async with site(folder, [vm("e1")], [vm("w1", ip="10.0.1.1")]) as here:
        here.kubelet("e1", here.east.world.vm("e1"))
        here.kubelet("w1", here.west.world.vm("w1"))
        yield here


@asynccontextmanager
async def settled(folder: Path, **sections: Any) -> AsyncIterator[Site]:
    """Both nodes initialised, and their kubelets silent since: what errs would delete them."""
    async with both(folder) as here, here.program(here.east, here.west, **sections):
        await until(lambda: here.is_initialised("e1", "w1"))
        await asyncio.sleep(5)
        for kubelet in here.kubelets.values():
            kubelet.stop()
        await asyncio.sleep(5)
        here.cluster.requests.clear()
        yield here


async def goes_on(here: Site, name: str = "e1") -> None:
    """Assert that the engine in the east is followed as ever, within three seconds."""
    machine = here.east.world.vm(name)
    target = "hv-3" if machine.host and machine.host.name == "hv-1" else "hv-1"
    machine.migrate(target)
    took = here.east.world.durations.migration.total_seconds()
    await until(lambda: here.labels(name)[HOST] == target, within=took + 3)


async def test_each_engine_is_the_region_of_its_nodes(tmp_path: Path) -> None:
    async with both(tmp_path) as here, here.program(here.east, here.west):
        await until(lambda: here.is_initialised("e1", "w1"))

        assert here.labels("e1")[REGION] == "east"
        assert here.labels("w1")[REGION] == "west"


# ---- one engine is down ------------------------------------------------------------------------


@pytest.mark.parametrize("availability", ["down", "stopping", "starting"])
async def test_an_outage_changes_no_node(tmp_path: Path, availability: Any) -> None:
    async with settled(tmp_path) as here:
        here.west.faults.availability = availability
        await asyncio.sleep(LONG)

        assert here.writes("e1", "w1") == []
        await goes_on(here)
        here.west.faults.availability = "up"
        await asyncio.sleep(LONG)

        assert here.names == {"e1", "w1"}
        assert here.writes("w1") == []


async def test_nodes_of_the_engine_that_answers_do_not_wait_for_the_other(tmp_path: Path) -> None:
    async with both(tmp_path) as here:
        here.west.faults.availability = "down"
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("e1"), within=5)
            await asyncio.sleep(LONG)
            assert here.writes("w1") == []

            here.west.faults.availability = "up"
            await until(lambda: here.is_initialised("w1"), within=120)


async def test_a_removed_vm_is_believed_of_the_engine_that_answers(tmp_path: Path) -> None:
    async with both(tmp_path) as here:
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("e1", "w1"))
        here.west.faults.availability = "down"
        here.cluster.requests.clear()
        async with here.program(here.east, here.west):
            await asyncio.sleep(60)
            here.east.world.vm("e1").remove()
            for kubelet in here.kubelets.values():
                kubelet.stop()
            await until(lambda: here.names == {"w1"}, within=180)
            await asyncio.sleep(LONG)

        assert here.writes("w1") == []
        assert here.names == {"w1"}


async def test_a_vm_of_the_engine_that_answers_is_registered_while_the_other_is_down(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, [vm("e1")], [vm("w1", ip="10.0.1.1")]) as here:
        here.west.faults.availability = "down"
        async with here.program(here.east, here.west, registration={"mode": "create"}):
            await until(lambda: here.names == {"e1"}, within=10)


async def test_a_wrong_password_for_one_engine_is_the_trouble_of_that_one(tmp_path: Path) -> None:
    async with both(tmp_path) as here:
        secret = tmp_path / "wrong"
        secret.write_text("wrong")
        here.west.engine = here.west.engine.model_copy(update={"password_file": secret})
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("e1"), within=5)
            await goes_on(here)
            await asyncio.sleep(LONG)

        assert here.writes("w1") == []
        assert here.west.logins <= 2


# ---- one engine is removed from the configuration ----------------------------------------------


async def test_nodes_of_an_engine_that_is_configured_no_more_are_left_alone(
    tmp_path: Path,
) -> None:
    async with both(tmp_path) as here:
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("e1", "w1"))
        here.kubelets["w1"].stop()
        here.west.world.vm("w1").remove()
        here.cluster.requests.clear()
        async with here.program(here.east):
            await until(lambda: "EngineChanged" in here.reasons("w1"), within=30)
            await asyncio.sleep(LONG)
            await goes_on(here)

        assert here.names == {"e1", "w1"}
        assert here.writes("w1") == []


async def test_its_nodes_are_known_again_when_it_is_configured_again_by_another_name(
    tmp_path: Path,
) -> None:
    async with both(tmp_path) as here:
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("e1", "w1"))
        async with here.program(here.east):
            await asyncio.sleep(60)
        renamed = {"name": "far-west", "region": "west"}
        here.west.engine = here.west.engine.model_copy(update=renamed)
        async with here.program(here.east, here.west):
            await asyncio.sleep(10)
            here.west.world.vm("w1").migrate("hv-3")
            await until(lambda: here.labels("w1")[HOST] == "hv-3", within=60)


# ---- one engine is restored from a backup ------------------------------------------------------


def restore(here: Site, *, instance_id: str = "") -> None:
    """The western engine comes back with an older database, as itself or as another engine."""
    world = here.west.world
    world.events.rewind(1)
    world.instance_id = instance_id or world.instance_id
    here.west.simulator.accounts.forget_everybody()


async def test_an_engine_that_is_restored_as_itself_is_followed_on(tmp_path: Path) -> None:
    async with settled(tmp_path) as here:
        restore(here)
        await asyncio.sleep(LONG)
        assert here.writes("e1", "w1") == []

        here.west.world.vm("w1").migrate("hv-3")
        took = here.west.world.durations.migration.total_seconds()
        await until(lambda: here.labels("w1")[HOST] == "hv-3", within=took + 3)
        await goes_on(here)


async def test_nodes_of_an_engine_that_is_another_one_now_are_left_alone(tmp_path: Path) -> None:
    async with settled(tmp_path, registration={"mode": "create"}) as here:
        restore(here, instance_id=ANOTHER_ID)
        here.west.world.vm("w1").migrate("hv-3")
        await until(lambda: "EngineChanged" in here.reasons("w1"), within=90)
        here.west.world.vm("w1").remove()
        await asyncio.sleep(LONG)

        assert here.names == {"e1", "w1"}
        assert here.writes("e1", "w1") == []
        await goes_on(here)


async def test_an_older_backup_without_a_vm_that_runs_leaves_its_ready_node(
    tmp_path: Path,
) -> None:
    async with settled(tmp_path) as here:
        here.kubelets["w1"].ready()
        restore(here)
        here.west.world.forget(here.west.world.vm("w1"))
        await asyncio.sleep(LONG)

        assert here.names == {"e1", "w1"}
        assert here.writes("w1") == []


# ---- two engines claim the same ----------------------------------------------------------------


async def test_a_node_whose_vm_two_engines_have_is_ambiguous(tmp_path: Path) -> None:
    twin = vm("twin", id=SAME_ID)
    async with site(tmp_path, [twin, vm("e1", ip="10.0.0.2")], [twin]) as here:
        here.kubelet("twin", here.east.world.vm("twin"))
        here.kubelet("e1", here.east.world.vm("e1"))
        async with here.program(here.east, here.west, registration={"mode": "create"}):
            await until(lambda: "IdentityAmbiguous" in here.reasons("twin"), within=30)
            await until(lambda: here.is_initialised("e1"), within=5)
            await asyncio.sleep(LONG)

        assert here.writes("twin") == []
        assert here.names == {"e1", "twin"}


async def test_a_node_whose_vm_another_engine_comes_to_have_as_well_is_left_alone(
    tmp_path: Path,
) -> None:
    twin = vm("twin", id=SAME_ID)
    async with site(tmp_path, [twin], [twin]) as here:
        here.kubelet("twin", here.east.world.vm("twin"))
        async with here.program(here.east):
            await until(lambda: here.is_initialised("twin"))
        here.cluster.requests.clear()
        async with here.program(here.east, here.west):
            await until(lambda: "IdentityAmbiguous" in here.reasons("twin"), within=30)
            here.kubelets["twin"].stop()
            here.east.world.vm("twin").remove()
            await asyncio.sleep(LONG)

        assert here.names == {"twin"}
        assert here.writes("twin") == []


async def test_a_vm_that_two_engines_have_gets_no_node(tmp_path: Path) -> None:
    twin = vm("twin", id=SAME_ID)
    async with (
        site(tmp_path, [twin], [twin]) as here,
        here.program(here.east, here.west, registration={"mode": "create"}),
    ):
        await asyncio.sleep(LONG)

        assert here.names == set()
        reasons = {event["reason"] for event in here.cluster.events()}
        assert "IdentityAmbiguous" in reasons


async def test_a_name_that_two_engines_have_is_told_apart_by_the_system_uuid(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, [vm("n1")], [vm("n1", ip="10.0.1.1")]) as here:
        here.kubelet("n1", here.west.world.vm("n1"))
        async with here.program(here.east, here.west):
            await until(lambda: here.is_initialised("n1"))

        assert here.labels("n1")[REGION] == "west"
        assert here.node("n1")["spec"]["providerID"] == f"ovirt://{here.west.world.vm('n1').id}"


async def test_a_node_that_has_nothing_but_such_a_name_is_ambiguous(tmp_path: Path) -> None:
    async with site(tmp_path, [vm("n1")], [vm("n1", ip="10.0.1.1")]) as here:
        here.cluster.kubelet("n1", system_uuid="")
        async with here.program(here.east, here.west):
            await until(lambda: "IdentityAmbiguous" in here.reasons("n1"), within=30)
            await asyncio.sleep(LONG)

        assert here.writes("n1") == []


# ---- registration ------------------------------------------------------------------------------


async def test_the_vms_of_both_engines_are_registered_in_their_regions(tmp_path: Path) -> None:
    async with (
        site(tmp_path, [vm("e1")], [vm("w1", ip="10.0.1.1")]) as here,
        here.program(here.east, here.west, registration={"mode": "create"}),
    ):
        await until(lambda: here.names == {"e1", "w1"}, within=30)

        for name, lab in (("e1", here.east), ("w1", here.west)):
            assert here.labels(name)[REGION] == lab.engine.name
            assert here.node(name)["spec"]["providerID"] == f"ovirt://{lab.world.vm(name).id}"


async def test_of_two_vms_of_one_name_neither_is_registered(tmp_path: Path) -> None:
    async with (
        site(tmp_path, [vm("n1"), vm("e1", ip="10.0.0.2")], [vm("n1", ip="10.0.1.1")]) as here,
        here.program(here.east, here.west, registration={"mode": "create"}),
    ):
        await until(lambda: "e1" in here.names, within=30)
        await asyncio.sleep(LONG)

        assert here.names == {"e1"}
        clashes = [one for one in here.cluster.events() if one["reason"] == "NodeNameClash"]
        assert len(clashes) >= 1
