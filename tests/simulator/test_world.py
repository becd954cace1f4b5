"""What happens to VMs, hosts and tags: states over time, and the events that are written."""

from __future__ import annotations

import asyncio

import pytest

from provider.simulator.engine import SimulatedEngine
from provider.simulator.world import World
from tests.simulator.world import running, scenario


def codes(world: World) -> list[int]:
    return [event.code for event in world.events.newest_first()][::-1]


@pytest.mark.looptime
async def test_a_vm_boots_and_its_agent_speaks_later() -> None:
    async with running() as (engine, _client):
        vm = engine.world.vm("gpu-0")
        vm.start()
        seen = [vm.status]
        for seconds in (1, 1.5):
            await asyncio.sleep(seconds)
            seen.append(vm.status)
        was_silent = not vm.agent_speaks
        await asyncio.sleep(1)

    assert seen == ["wait_for_launch", "powering_up", "up"]
    assert (was_silent, vm.agent_speaks) == (True, True)
    assert codes(engine.world)[-2:] == [153, 32]


@pytest.mark.looptime
async def test_a_vm_migrates_to_the_host_that_was_named() -> None:
    async with running() as (engine, _client):
        vm = engine.world.vm("worker-0")
        vm.migrate("hv-2")
        during = (vm.status, vm.host and vm.host.name)
        await asyncio.sleep(5)

    assert during == ("migrating", "hv-1")
    assert (vm.status, vm.host and vm.host.name) == ("up", "hv-2")
    assert vm.agent_speaks
    assert codes(engine.world)[-2:] == [62, 63]


@pytest.mark.looptime
async def test_a_reboot_silences_the_agent_until_it_is_up_again() -> None:
    async with running() as (engine, _client):
        vm = engine.world.vm("worker-0")
        vm.reboot()
        during = (vm.status, vm.agent_speaks)
        await asyncio.sleep(7)

    assert during == ("reboot_in_progress", False)
    assert (vm.status, vm.agent_speaks) == ("up", True)


@pytest.mark.looptime
async def test_what_was_going_on_is_dropped_when_a_vm_goes_another_way() -> None:
    async with running() as (engine, _client):
        vm = engine.world.vm("worker-0")
        vm.migrate("hv-2")
        vm.stop()
        await asyncio.sleep(60)

    assert (vm.status, vm.host) == ("down", None)


@pytest.mark.looptime
async def test_a_shutdown_and_a_suspend_take_their_time() -> None:
    async with running() as (engine, _client):
        one, other = engine.world.vm("worker-0"), engine.world.vm("worker-1")
        one.shutdown()
        other.suspend()
        during = (one.status, other.status)
        await asyncio.sleep(3)

    assert during == ("powering_down", "saving_state")
    assert (one.status, other.status) == ("down", "suspended")


@pytest.mark.looptime
async def test_what_begins_before_the_start_goes_on_after_it() -> None:
    engine = SimulatedEngine(scenario())
    engine.world.vm("worker-0").reboot()
    await engine.start()
    await asyncio.sleep(6)
    await engine.stop()

    assert engine.world.vm("worker-0").status == "up"


def test_a_lost_host_makes_its_vms_unknown_and_keeps_their_data() -> None:
    world = World(scenario())
    vm = world.vm("worker-0")

    world.lose_host("hv-1")
    lost = (vm.status, vm.host and vm.host.name, vm.is_dynamic, vm.agent_speaks)
    world.recover_host("hv-1")

    assert lost == ("unknown", "hv-1", True, True)
    assert vm.status == "up"
    assert codes(world) == [12, 142, 142, 14, 163, 163]


def test_a_tag_is_removed_with_all_below_it_and_from_every_vm() -> None:
    world = World(scenario())

    world.remove_tag("docker-host")

    assert [tag.name for tag in world.tags] == ["root"]
    assert all(vm.tags == () for vm in world.vms.values())


def test_the_rename_event_has_the_old_name_and_tag_events_no_reference() -> None:
    world = World(scenario())
    vm = world.vm("plain")

    vm.rename("fancy")
    vm.attach("docker-host")
    vm.detach("docker-host")
    renamed, attached, detached = list(world.events.newest_first())[::-1]

    assert renamed.refs["vm"] == ("plain", vm.id)
    assert attached.description == "Tag docker-host was attached to VM(s) fancy by SYSTEM."
    assert (attached.refs, detached.code) == ({}, 446)


def test_a_failed_vm_is_down_with_an_error_event() -> None:
    world = World(scenario())

    world.vm("plain").fail("out of luck")

    (event,) = world.events.newest_first()
    assert (event.code, event.severity, world.vm("plain").status) == (119, "error", "down")


def test_a_restored_database_gives_ids_again() -> None:
    world = World(scenario())
    for _ in range(3):
        world.vm("plain").attach("docker-host")
        world.vm("plain").detach("docker-host")

    world.events.rewind(2)
    world.vm("plain").attach("docker-host")

    assert [event.id for event in world.events.newest_first()] == [3, 2, 1]


def test_a_status_that_the_api_does_not_have_is_refused() -> None:
    world = World(scenario())

    with pytest.raises(ValueError, match="sleeping"):
        world.vm("plain").set_status("sleeping")


def test_what_is_not_there_is_a_key_error() -> None:
    world = World(scenario())

    for look_up in (world.vm, world.host, world.cluster, world.tag, world.user):
        with pytest.raises(KeyError):
            look_up("nothing")
    with pytest.raises(KeyError, match="edge"):
        world.host_for(world.cluster("edge"), other=world.host("hv-3"))


def test_addresses_replace_those_of_one_device() -> None:
    world = World(scenario())
    vm = world.vm("worker-0")

    vm.set_addresses(["10.8.0.99"])
    vm.set_addresses(["10.8.0.250"], device="eth0:vip")

    assert [(d.name, d.addresses) for d in vm.devices] == [
        ("eth0", ("10.8.0.99",)),
        ("eth0:vip", ("10.8.0.250",)),
    ]
