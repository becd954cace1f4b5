"""Each switch of the simulated engine does to a client what the engine was seen to do."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from provider.simulator.faults import Faults
from tests.simulator.world import FOLLOW, TOKEN_PATH, running, scenario


def test_reset_makes_a_sound_engine() -> None:
    faults = Faults()
    faults.availability = "starting"
    faults.hidden_vms.add("x")
    faults.delay = 3

    faults.reset()

    assert faults.answers.is_set()
    assert (faults.availability, faults.hidden_vms, faults.delay) == ("up", set(), 0)


async def test_an_engine_that_is_down_is_the_503_of_its_web_server() -> None:
    async with running() as (engine, client):
        engine.faults.availability = "down"

        reply, body = await client.ask("/vms")

    assert reply.status == 503
    assert "correlation-id" not in reply.headers
    assert "Service Unavailable" in body


async def test_a_stopping_engine_answers_a_mix_of_pages_even_for_a_vm_that_exists() -> None:
    async with running() as (engine, client):
        path = f"/vms/{engine.world.vm('plain').id}"
        engine.faults.availability = "stopping"

        replies = [(await client.ask(path))[0] for _ in range(3)]

    assert {reply.status for reply in replies} == {503, 404, 500}
    assert all("correlation-id" not in reply.headers for reply in replies)
    assert all(reply.content_type == "text/html" for reply in replies)


async def test_a_starting_engine_does_not_answer_until_it_is_up() -> None:
    async with running() as (engine, client):
        engine.faults.availability = "starting"
        asking = asyncio.create_task(client.ask("/vms"))
        await asyncio.sleep(0.1)
        assert not asking.done()

        engine.faults.availability = "up"

        assert (await asking)[0].status == 200


async def test_a_lost_database_is_400_everywhere_and_500_for_health() -> None:
    async with running() as (engine, client):
        engine.faults.database = "away"
        reply, fault = await client.ask("/vms")
        login = await client.log_in()
        async with client.http.get("/ovirt-engine/services/health") as health:
            text = await health.text()

    assert (reply.status, fault["reason"]) == (400, "Operation Failed")
    assert login["error_code"] == "server_error"
    assert (health.status, text) == (500, "DB Down!")


async def test_after_the_database_is_back_old_sessions_are_400_and_fresh_ones_401() -> None:
    async with running() as (engine, client):
        engine.faults.database = "stale"
        old, _ = await client.ask("/vms")
        await client.log_in()
        fresh, text = await client.ask("/vms")
        engine.faults.database = "up"
        sound, _ = await client.ask("/vms")

    assert (old.status, fresh.status, sound.status) == (400, 401, 200)
    assert "DataAccessResourceFailureException" in text


async def test_refused_tokens_and_forbidden_requests() -> None:
    async with running() as (engine, client):
        engine.faults.refuse_tokens = True
        refused, _ = await client.ask("/vms")
        engine.faults.reset()
        engine.faults.forbidden = True
        forbidden, fault = await client.ask("/vms")

    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="RESTAPI"')
    assert (forbidden.status, "not authorized" in fault["detail"]) == (403, True)


async def test_one_broken_vm_fails_every_list_that_follows_its_link() -> None:
    async with running() as (engine, client):
        vm = engine.world.vm("plain")
        vm.broken_links = frozenset({"nics"})
        whole, page = await client.ask(f"/vms?follow={FOLLOW}")
        without, _ = await client.ask("/vms?search=tag%3Ddocker-host&follow=nics")
        alone, _ = await client.ask(f"/vms/{vm.id}/nics")

    assert (whole.status, "correlation-id" in whole.headers) == (500, False)
    assert "<html>" in page
    assert (without.status, alone.status) == (200, 200)


async def test_follow_can_fail_for_no_reason() -> None:
    async with running() as (engine, client):
        engine.faults.fails_follow = True

        assert (await client.ask("/vms?follow=nics"))[0].status == 500
        assert (await client.ask("/vms"))[0].status == 200


@pytest.mark.parametrize("link", ["host", "instance_type", "nics.vnic_profile", "nics, tags"])
async def test_a_link_that_is_null_or_unknown_is_500(link: str) -> None:
    async with running() as (engine, client):
        vm = engine.world.vm("gpu-0")
        vm.nics = (type(vm.nics[0])(vm.nics[0].id, "nic1", vm.nics[0].mac, has_profile=False),)

        assert (await client.ask(f"/vms?follow={link}"))[0].status == 500


async def test_lists_can_shrink_and_empty_while_single_reads_go_on() -> None:
    async with running() as (engine, client):
        engine.faults.hidden_vms = {"plain"}
        shrunk = await client.names()
        engine.faults.empty_lists = True
        reply, empty = await client.ask("/vms")
        single, _ = await client.ask(f"/vms/{engine.world.vm('plain').id}")

    assert "plain" not in shrunk
    assert (reply.status, empty, single.status) == (200, {}, 200)


async def test_a_vm_can_come_on_two_pages() -> None:
    async with running() as (engine, client):
        engine.faults.duplicated_vms = {"edge-0"}
        first = await client.names("sortby name asc page 1", max="3")
        second = await client.names("sortby name asc page 2", max="3")

    assert "edge-0" in first
    assert "edge-0" in second


async def test_a_vm_can_lose_its_links_in_a_list() -> None:
    async with running() as (engine, client):
        engine.faults.emptied_vms = {"worker-0"}
        (vm,) = await client.vms("name=worker-0", follow=FOLLOW)

    assert (vm["status"], vm["nics"], vm["reported_devices"], vm["tags"]) == ("up", {}, {}, {})


async def test_a_vm_removed_while_a_list_runs_comes_with_empty_links() -> None:
    async with running() as (engine, client):
        engine.faults.list_seconds = 0.2
        listing = asyncio.create_task(client.vms("name=worker*", follow=FOLLOW))
        await asyncio.sleep(0.1)
        engine.world.vm("worker-1").remove()
        vms = {vm["name"]: vm for vm in await listing}

    assert (vms["worker-1"]["status"], vms["worker-1"]["tags"]) == ("up", {})
    assert vms["worker-0"]["tags"] != {}


async def test_addresses_can_come_in_another_order_each_time() -> None:
    async with running() as (engine, client):
        engine.faults.turns_addresses = True
        path = f"/vms/{engine.world.vm('worker-0').id}/reporteddevices"
        bodies = [(await client.ask(path))[1] for _ in range(3)]

    orders = {
        tuple(ip["address"] for ip in body["reported_device"][0]["ips"]["ip"]) for body in bodies
    }
    assert len(orders) == 3
    assert len({frozenset(order) for order in orders}) == 1


async def test_odd_vms_are_shown_as_they_are_set() -> None:
    async with running() as (engine, client):
        vm = engine.world.vm("plain")
        vm.override(memory={"much": True}, name=None)
        vm.status = None

        _, shown = await client.ask(f"/vms/{vm.id}")

    assert shown["memory"] == {"much": True}
    assert "name" not in shown
    assert "status" not in shown


async def test_bodies_can_be_cut_broken_or_of_another_type() -> None:
    async with running() as (engine, client):
        headers = {"Accept": "application/json", "Authorization": f"Bearer {client.token}"}

        async def fetch(body: str) -> tuple[str, bytes]:
            engine.faults.body = body  # type: ignore[assignment]
            url = "/ovirt-engine/api/vms"
            async with client.http.get(url, headers=headers) as reply:
                return reply.content_type, await reply.read()

        whole = (await fetch("whole"))[1]
        assert (await fetch("truncated"))[1] == whole[: len(whole) // 2]
        with pytest.raises(json.JSONDecodeError):
            json.loads((await fetch("invalid"))[1].decode())
        assert await fetch("wrong_type") == ("text/plain", whole)
        with pytest.raises(aiohttp.ClientPayloadError):
            await fetch("aborted")


async def test_faults_of_the_wire_can_be_kept_to_a_path_and_a_number_of_answers() -> None:
    async with running() as (engine, client):
        engine.faults.paths, engine.faults.times, engine.faults.status = r"/vms", 1, 502

        assert (await client.ask("/clusters"))[0].status == 200
        assert (await client.ask("/vms"))[0].status == 502
        assert (await client.ask("/vms"))[0].status == 200


async def test_a_connection_can_be_dropped() -> None:
    async with running() as (engine, client):
        engine.faults.drop_connection = True

        with pytest.raises(aiohttp.ClientError):
            await client.ask("/vms")


@pytest.mark.looptime
async def test_answers_can_be_delayed() -> None:
    async with running() as (engine, client):
        engine.faults.delay = 7
        before = asyncio.get_running_loop().time()
        await client.ask("/vms")

        assert asyncio.get_running_loop().time() - before >= 7


@pytest.mark.looptime
async def test_five_wrong_passwords_lock_the_account_for_an_hour() -> None:
    async with running() as (engine, client):
        engine.faults.refusal_seconds = 5
        loop = asyncio.get_running_loop()
        before = loop.time()
        for _ in range(5):
            assert (await client.log_in(password="wrong"))["error_code"] == "access_denied"
        assert loop.time() - before >= 25

        locked = await client.log_in()
        await asyncio.sleep(3600)
        opened = await client.log_in()

    assert "disabled or locked" in locked["error"]
    assert "access_token" in opened


@pytest.mark.looptime
async def test_a_session_that_is_not_used_ends() -> None:
    async with running() as (engine, client):
        engine.faults.session_idle = 600
        await asyncio.sleep(500)
        used, _ = await client.ask("/vms")
        await asyncio.sleep(500)
        still, _ = await client.ask("/vms")
        await asyncio.sleep(601)
        idle, _ = await client.ask("/vms")

    assert (used.status, still.status, idle.status) == (200, 200, 401)


@pytest.mark.looptime
async def test_a_restart_stops_is_down_hangs_and_forgets_every_token() -> None:
    async with running() as (engine, client):
        engine.begin_restart(10)
        stopping, _ = await client.ask("/vms")
        await asyncio.sleep(2)
        down, _ = await client.ask("/vms")
        await asyncio.sleep(3)
        back, _ = await client.ask("/vms")
        codes = [event.code for event in engine.world.events.newest_first()]

    assert stopping.status in (503, 404, 500)
    assert (down.status, back.status) == (503, 401)
    assert codes[:2] == [1, 2]


async def test_a_form_without_a_charset_is_read_as_latin_1() -> None:
    form = {
        "grant_type": "password",
        "scope": "ovirt-app-api",
        "username": "reader@internal",
        "password": "sécret",
    }
    async with running() as (_engine, client):
        headers = {"Accept": "application/json"}
        async with client.http.post(TOKEN_PATH, data=form, headers=headers) as reply:
            refused = await reply.json()
        named = await client.log_in("reader@internal", "sécret")

    assert refused["error_code"] == "access_denied"
    assert "access_token" in named


@pytest.mark.parametrize(
    ("version", "has_id", "inlines", "memory"),
    [
        ("4.2.8", False, True, int),
        ("4.3.10", False, True, str),
        ("4.4.1", False, True, str),
        ("4.4.3", True, False, str),
        ("4.5.8", True, False, str),
    ],
)
async def test_older_engines_show_what_they_showed(
    *, version: str, has_id: bool, inlines: bool, memory: type
) -> None:
    async with running(scenario(engine={"version": version})) as (_engine, client):
        _, root = await client.ask("")
        (vm,) = await client.vms("name=worker-0", follow="nics")

    assert root["product_info"]["version"]["full_version"].startswith(version)
    assert ("instance_id" in root["product_info"]) is has_id
    assert ("reported_devices" in vm["nics"]["nic"][0]) is inlines
    assert type(vm["memory"]) is memory


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("4.2", {"eth0", "docker0", "veth12ab"}),
        ("4.4", {"eth0", "docker0"}),
        ("4.5.8", {"eth0"}),
    ],
)
async def test_newer_engines_drop_foreign_interfaces(version: str, names: set[str]) -> None:
    devices = [
        {"name": name, "mac": "02:42:00:00:00:01", "addresses": ["172.17.0.1"]}
        for name in ("docker0", "veth12ab")
    ]
    vms = [{"name": "w", "cluster": "workers", "devices": devices}]
    async with running(scenario(engine={"version": version}, vms=vms)) as (engine, client):
        _, body = await client.ask(f"/vms/{engine.world.vm('w').id}/reporteddevices")

    assert {device["name"] for device in body["reported_device"]} == names
