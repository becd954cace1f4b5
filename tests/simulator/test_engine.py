"""The simulated engine as a server: permissions, paths, headers, long lists, the request log."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl

import aiohttp
import trustme
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_writer import StreamWriter
from aiohttp.test_utils import make_mocked_request

from provider.simulator.engine import SimulatedEngine
from provider.simulator.gateway import Gateway
from tests.simulator.world import FOLLOW, PASSWORD, running, scenario


async def test_a_plain_user_sees_its_vms_without_their_host() -> None:
    async with running() as (engine, client):
        engine.world.user("user@internal").vms = frozenset({"worker-0"})
        await client.log_in("user@internal")
        (vm,) = await client.vms()
        other, _ = await client.ask(f"/vms/{engine.world.vm('plain').id}")
        nics, hidden = await client.ask(f"/vms/{engine.world.vm('plain').id}/nics")
        tags, _ = await client.ask("/tags")
        mine, _ = await client.ask(f"/vms/{vm['id']}/tags")
        followed, _ = await client.ask("/vms?follow=tags")
        _, root = await client.ask("")

    assert (vm["name"], "host" in vm, "placement_policy" in vm) == ("worker-0", False, False)
    assert (other.status, nics.status, hidden) == (404, 200, {})
    assert (tags.status, mine.status, followed.status) == (400, 400, 500)
    assert "summary" not in root


async def test_a_plain_users_paged_search_ignores_its_conditions() -> None:
    async with running() as (engine, client):
        engine.world.user("user@internal").vms = frozenset({"worker-0", "plain"})
        await client.log_in("user@internal")

        assert await client.names("name=plain") == ["plain"]
        assert await client.names("name=plain sortby name asc", max="5") == ["plain", "worker-0"]


async def test_the_filter_is_off_for_administrators_and_on_for_plain_users() -> None:
    async with running() as (engine, client):
        vm_id = engine.world.vm("plain").id
        _, empty = await client.ask("/vms", Filter="true")
        hidden, _ = await client.ask(f"/vms/{vm_id}", Filter="true")
        await client.log_in("user@internal")
        refused, fault = await client.ask("/vms", Filter="false")

    assert (empty, hidden.status, refused.status) == ({}, 404, 400)
    assert fault["detail"] == "query execution failed due to insufficient permissions."


async def test_a_removed_vm_is_an_empty_404_with_a_correlation_id() -> None:
    async with running() as (engine, client):
        vm = engine.world.vm("plain")
        vm.remove()
        gone, text = await client.ask(f"/vms/{vm.id}", Correlation_Id="poll 7/" + "x" * 50)
        lists = [(await client.ask(f"/vms/{vm.id}/{name}")) for name in ("nics", "tags")]
        strict, _ = await client.ask(f"/vms/{vm.id}/applications")
        statistics, fault = await client.ask(f"/vms/{vm.id}/statistics")

    assert (gone.status, gone.headers["Content-Length"], text) == (404, "0", "")
    assert "Content-Type" not in gone.headers
    assert gone.headers["Correlation-Id"] == ("poll7" + "x" * 50)[:36]
    assert [(reply.status, body) for reply, body in lists] == [(200, {}), (200, {})]
    assert (strict.status, statistics.status) == (404, 404)
    assert "Entity not found" in fault["detail"]


async def test_ids_are_found_in_upper_case_but_not_without_dashes() -> None:
    async with running() as (engine, client):
        vm_id = engine.world.vm("plain").id

        assert (await client.ask(f"/vms/{vm_id.upper()}"))[0].status == 200
        assert (await client.ask(f"/vms/{vm_id.replace('-', '')}"))[0].status == 404


async def test_an_image_is_locked_while_its_disk_is_copied() -> None:
    body = {"name": "fresh", "cluster": {"name": "workers"}, "template": {"name": "Blank"}}
    async with running(scenario(durations={"disk_copy": "50ms"})) as (engine, client):
        reply, vm = await client.ask("/vms?clone=true", "POST", body)
        locked, _ = await client.ask(f"/vms/{vm['id']}", "DELETE")
        taken, _ = await client.ask("/vms", "POST", body)
        elsewhere, _ = await client.ask("/vms", "POST", body | {"cluster": {"name": "edge"}})
        states = [vm.status for vm in engine.world.vms.values() if vm.name == "fresh"]

    assert (reply.status, vm["status"], locked.status) == (202, "image_locked", 409)
    assert (taken.status, elsewhere.status) == (409, 201)
    assert states == ["image_locked", "down"]


async def test_writes_that_make_no_sense_are_refused() -> None:
    cluster = {"cluster": {"name": "workers"}, "template": {"name": "Blank"}}
    async with running() as (engine, client):
        vm_id = engine.world.vm("plain").id
        engine.world.vm("gpu-0").is_delete_protected = True
        expected = [
            ("/vms", "POST", {"name": "x", "colour": "red", **cluster}, 400),
            ("/vms", "POST", {"name": "x"}, 400),
            (f"/vms/{vm_id}", "PUT", {"name": "worker-0"}, 409),
            (f"/vms/{vm_id}", "PUT", {"name": "no blank"}, 400),
            (f"/vms/{engine.world.vm('gpu-0').id}", "DELETE", None, 409),
            (f"/vms/{engine.world.vm('gpu-0').id}/migrate", "POST", {}, 409),
            (f"/vms/{engine.world.vm('gpu-0').id}/reboot", "POST", {}, 409),
            (f"/vms/{vm_id}/migrate", "POST", {"host": {"name": "hv-9"}}, 409),
            (f"/vms/{vm_id}/tags", "POST", {"name": "nope"}, 404),
            (f"/vms/{vm_id}/tags/{vm_id}", "DELETE", None, 404),
            ("/tags", "POST", {}, 400),
            ("/tags", "POST", {"name": "a b"}, 400),
            (f"/tags/{engine.world.root_tag.id}", "DELETE", None, 400),
            ("/nothing", "POST", {}, 404),
            (f"/vms/{vm_id}/tags", "PUT", {}, 404),
            ("/tags", "DELETE", None, 404),
        ]

        statuses = [
            (path, method, body, (await client.ask(path, method, body))[0].status)
            for path, method, body, _ in expected
        ]

    assert statuses == expected


async def test_a_tag_cannot_be_moved_under_itself() -> None:
    async with running() as (engine, client):
        tag_id = engine.world.tag("docker-host").id
        body = {"parent": {"name": "docker-host-gpu"}}

        assert (await client.ask(f"/tags/{tag_id}", "PUT", body))[0].status == 409


async def test_a_renamed_tag_is_seen_on_vms_at_once() -> None:
    async with running() as (engine, client):
        await client.vms(follow="tags")
        tag_id = engine.world.tag("docker-host").id
        await client.ask(f"/tags/{tag_id}", "PUT", {"name": "container-host", "description": "d"})
        (vm,) = await client.vms("name=worker-0", follow="tags")

    assert [tag["name"] for tag in vm["tags"]["tag"]] == ["container-host"]


async def test_events_carry_the_correlation_id_of_the_request() -> None:
    async with running() as (engine, client):
        vm_id = engine.world.vm("plain").id
        await client.ask(f"/vms/{vm_id}/stop", "POST", {}, Correlation_Id="mine")
        _, body = await client.ask("/events?search=correlation_id%3Dmine")
        _, newest = await client.ask("/events?max=1")
        _, none = await client.ask(f"/events?from={newest['event'][0]['id']}")
        missing, _ = await client.ask("/events/999999")

    assert {event["code"] for event in body["event"]} == {"33", "61"}
    assert (none, missing.status) == ({}, 404)


async def test_basic_authentication_logs_in_for_one_request() -> None:
    async with running() as (engine, client):
        good = aiohttp.encode_basic_auth("admin@internal", PASSWORD)
        bad = aiohttp.encode_basic_auth("admin@internal", "wrong")
        accepted, _ = await client.ask("/clusters", Authorization=good)
        refused, _ = await client.ask("/clusters", Authorization=bad)
        unknown, _ = await client.ask("/clusters", Authorization="Digest x")
        sessions = len(engine.accounts.sessions)

    assert (accepted.status, refused.status, unknown.status, sessions) == (200, 401, 401, 1)


async def test_services_answer_without_a_log_in() -> None:
    async with running() as (engine, client):
        engine.ca_certificate = "the authority"
        found = {}
        for path in ("health", "pki-resource?resource=ca-certificate", "pki-resource", "nothing"):
            async with client.http.get(f"/ovirt-engine/services/{path}") as reply:
                found[path] = reply.status, await reply.text()
        async with client.http.post(
            "/ovirt-engine/sso/oauth/token", json={}, headers={"Accept": "application/json"}
        ) as reply:
            no_form = reply.status, set(await reply.json())

    assert found["health"] == (200, "DB Up!Welcome to Health Status!")
    assert found["pki-resource?resource=ca-certificate"] == (200, "the authority")
    assert (found["pki-resource"][0], found["nothing"][0]) == (400, 404)
    assert no_form == (400, {"error", "error_description"})


async def test_a_long_list_is_whole_compressed_and_follows_changes() -> None:
    many = {"name": "n{n:04}", "count": 200, "cluster": "workers", "tags": ["docker-host"]}
    async with running(scenario(vms=[many])) as (engine, client):
        first = await client.vms(follow=FOLLOW)
        engine.world.vm("n0150").set_status("paused")
        second = await client.vms(follow=FOLLOW)
        url = f"/ovirt-engine/api/vms?follow={FOLLOW}"
        headers = {
            "Authorization": f"Bearer {client.token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        raw = aiohttp.ClientSession(client.http._base_url, auto_decompress=False)
        async with raw, raw.get(url, headers=headers) as reply:
            packed = await reply.read()

    assert len(first) == len(second) == 200
    changed = [n for n, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert changed == [150]
    assert json.loads(gzip.decompress(packed)) == {"vm": second}
    assert len(packed) < len(gzip.decompress(packed)) / 10


async def test_the_log_counts_requests_by_their_kind() -> None:
    async with running() as (engine, client):
        engine.requests.clear()
        vm_id = engine.world.vm("plain").id
        await client.ask(f"/vms/{vm_id}", Correlation_Id="mine")
        await client.ask("/v4/vms?max=1")

    assert dict(engine.requests.counts) == {"GET /vms/{id}": 1, "GET /vms": 1}
    seen = engine.requests.seen[0]
    assert (seen.method, seen.status, seen.correlation_id) == ("GET", 200, "mine")
    assert (engine.requests.most_in_flight, engine.requests.in_flight) == (1, 0)


async def test_it_serves_https_with_a_certificate_of_ones_own() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    engine = SimulatedEngine(scenario())
    url = await engine.start(ssl_context=server)
    try:
        http = aiohttp.ClientSession()
        async with http, http.get(f"{url}/services/health", ssl=trusting) as reply:
            status = reply.status
    finally:
        await engine.stop()

    assert (url.partition(":")[0], status) == ("https", 200)


async def test_a_request_that_hangs_does_not_keep_the_engine_from_stopping() -> None:
    engine = SimulatedEngine(scenario())
    url = await engine.start()
    engine.faults.availability = "starting"
    async with aiohttp.ClientSession() as http:
        timeout = aiohttp.ClientTimeout(total=0.1)
        try:
            await http.get(f"{url}/services/health", timeout=timeout)
        except TimeoutError:
            hung = True
    await engine.stop()

    assert hung


async def test_a_client_that_has_gone_before_its_answer_is_no_error() -> None:
    engine = SimulatedEngine(scenario())
    loop = asyncio.get_running_loop()
    writer = StreamWriter(BaseProtocol(loop), loop)  # of a connection that is lost
    request = make_mocked_request("GET", "/ovirt-engine/services/health", writer=writer)

    response = await Gateway(engine).handle(request)

    assert response.status == engine.requests.seen[-1].status == 499
