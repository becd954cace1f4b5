"""The timeline of a scenario, on a virtual clock."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files

import pytest

from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import load_scenario
from tests.simulator.world import running, scenario

pytestmark = pytest.mark.looptime


async def test_steps_happen_to_vms_at_their_time() -> None:
    steps = [
        {"at": "1s", "vm": "worker-0", "action": "stop"},
        {"at": "2s", "vm": "worker-1", "action": "migrate", "to": "hv-1"},
        {"at": "3s", "vm": "worker-2", "action": "status", "to": "paused"},
        {"at": "3s", "vm": "plain", "action": "tag", "to": "docker-host"},
        {"at": "3s", "vm": "edge-0", "action": "untag", "to": "docker-host"},
        {"at": "3s", "vm": "gpu-0", "action": "rename", "to": "gpu-9"},
        {"at": "3s", "vm": "plain", "action": "addresses", "to": ["10.0.0.1"]},
        {"at": "9s", "vm": "edge-0", "action": "remove"},
    ]
    async with running(scenario(timeline=steps)) as (engine, client):
        before = engine.world.vm("worker-0").status
        await asyncio.sleep(8)
        world = engine.world
        states = [world.vm(f"worker-{n}").status for n in range(3)]
        tagged = await client.names("tag=docker-host")
        await asyncio.sleep(2)

    assert before == "up"
    assert states == ["down", "up", "paused"]
    assert tagged == ["gpu-9", "plain", "worker-0", "worker-1", "worker-2"]
    assert world.vm("plain").devices[0].addresses == ("10.0.0.1",)
    assert world.vm("worker-1").host is world.host("hv-1")
    with pytest.raises(KeyError):
        world.vm("edge-0")


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("unavailable", 503),
        ("database_away", 400),
        ("database_stale", 400),
        ("refuse_tokens", 401),
        ("empty_lists", 200),
        ("fails_follow", 500),
    ],
)
async def test_a_state_of_the_engine_ends_by_itself(action: str, status: int) -> None:
    steps = [{"at": "10s", "engine": action, "for": "5s"}]
    async with running(scenario(timeline=steps)) as (_engine, client):
        seen = []
        for _ in range(3):
            reply, body = await client.ask("/vms?follow=tags")
            seen.append((reply.status, bool(isinstance(body, dict) and body.get("vm"))))
            await asyncio.sleep(11)

    assert seen == [(200, True), (status, False), (200, True)]


async def test_a_starting_engine_answers_at_the_end() -> None:
    steps = [{"at": "1s", "engine": "starting", "for": "20s"}]
    async with running(scenario(timeline=steps)) as (_engine, client):
        await asyncio.sleep(2)
        reply, _ = await client.ask("/vms")
        now = asyncio.get_running_loop().time()

    assert reply.status == 200
    assert now > 20


async def test_a_host_is_lost_and_comes_back_a_tag_goes_and_a_user_loses_its_role() -> None:
    steps = [
        {"at": "1s", "host": "hv-1", "action": "lose", "for": "5s"},
        {"at": "2s", "user": "reader@internal", "action": "role", "to": "UserRole"},
        {"at": "3s", "tag": "docker-host-gpu", "action": "remove"},
        {"at": "20s", "host": "hv-2", "action": "lose"},
        {"at": "25s", "host": "hv-2", "action": "recover"},
    ]
    async with running(scenario(timeline=steps)) as (engine, client):
        await asyncio.sleep(4)
        lost = engine.world.vm("worker-0").status
        await client.log_in("reader@internal", "sécret")
        refused, _ = await client.ask("/vms", Filter="false")
        await asyncio.sleep(4)
        back = engine.world.vm("worker-0").status
        await asyncio.sleep(15)
        other = engine.world.vm("worker-1").status
        await asyncio.sleep(4)
        again = engine.world.vm("worker-1").status

    assert (lost, back, other, again) == ("unknown", "up", "unknown", "up")
    assert refused.status == 400
    assert [tag.name for tag in engine.world.tags] == ["root", "docker-host"]


async def test_the_demo_plays_to_its_end() -> None:
    with as_file(files("provider.simulator") / "demo.yaml") as path:
        engine = SimulatedEngine(load_scenario(path))
    await engine.start()
    world = engine.world
    await asyncio.sleep(16)
    up = sum(vm.status == "up" for vm in world.vms.values() if vm.name != "postgres")
    seen = []
    for seconds in (5, 10, 15):
        await asyncio.sleep(seconds)
        seen.append((world.vm("worker-1").status, world.vm("edge-1").status))
    down = engine.faults.availability
    await asyncio.sleep(120)
    await engine.stop()

    assert up == 13
    assert seen[0] == ("migrating", "up")
    assert seen[1] == ("up", "reboot_in_progress")
    assert (down, engine.faults.availability) == ("down", "up")
    assert world.vm("worker-3").devices[0].addresses == ("10.8.0.113", "2001:db8:8::113")
