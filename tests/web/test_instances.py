"""Single instances by any key, and each meaning of 404, 409 and 503."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import pytest

from provider.model import InstanceStatus
from provider.web.documents import Exists, InstanceAnswer, Metadata, Shutdown
from tests.controllers.lab import until, working
from tests.ovirt.lab import vm
from tests.web.lookup_lab import lookup, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.looptime

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


async def test_an_instance_is_found_by_each_kind_of_key(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0", ip="10.0.0.1"), vm("w1", ip="10.0.0.2")) as api:
        machine = api.lab.vm("w1")
        api.lab.kubelet("node-1", vm="w1")
        await until(lambda: "node-1" in api.catalogue.nodes)
        swapped = str(UUID(bytes=UUID(machine.id).bytes_le))
        provider_ids = (
            f"ovirt://{machine.id}",
            f"ovirt:///{machine.id}",
            f"ovirt-cloud-provider://{machine.id}",
        )
        keys = (machine.id, machine.id.upper(), "w1", *provider_ids, "node-1", swapped, "10.0.0.2")

        for key in keys:
            reply = await api.instance(key)
            assert (key, reply.status, reply["id"]) == (key, 200, machine.id)


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("id", "w0"),
        ("name", "10.0.0.1"),
        ("provider_id", "w0"),
        ("node", "10.0.0.1"),
        ("ip", "w0"),
    ],
)
async def test_with_by_nothing_else_is_tried(tmp_path: Path, by: str, key: str) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        assert (await api.instance(key)).status == 200
        assert (await api.instance(key, by=by)).status == 404


async def test_an_answer_tells_how_old_it_is(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0"), intervals={"poll": "10m"}) as api:
        await asyncio.sleep(100)
        reply = await api.instance("w0")

    document = msgspec.json.decode(reply.body, type=InstanceAnswer)
    assert 100 <= int(reply.headers["Age"]) <= 103
    assert document.name == "w0"
    assert document.zone == "blue"
    assert [one.address for one in document.addresses] == ["10.0.0.1"]


async def test_a_refusal_tells_how_old_what_it_rests_on_is(tmp_path: Path) -> None:
    vms = vm("w0", ip="10.0.0.9"), vm("w1", ip="10.0.0.9")
    async with lookup(tmp_path, *vms) as api:
        api.lab.engine.faults.status = 503
        await asyncio.sleep(100)
        replies = [await api.instance(key) for key in ("10.0.0.9", UNKNOWN_ID)]

    assert [reply.status for reply in replies] == [409, 503]
    assert all(100 <= int(reply.headers["Age"]) <= 133 for reply in replies)


async def test_an_answer_has_a_validator_that_holds_until_it_changes(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        first = await api.instance("w0")
        etag = first.headers["ETag"]
        await asyncio.sleep(60)  # two listings that find nothing new
        same = await api.get("instances/w0", If_None_Match=f'"x", {etag}')
        api.lab.vm("w0").stop()
        changed = await api.until_answer("w0", 200)
        await until(lambda: api.catalogue.order[0].document.status == "down")
        changed = await api.get("instances/w0", If_None_Match=etag)

    assert (same.status, same.body) == (304, b"")
    assert same.headers["ETag"] == etag
    assert "Age" in same.headers
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


async def test_a_validator_is_the_same_on_every_replica(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api, serving(api.lab) as other:
        etag = (await api.instance("w0")).headers["ETag"]
        same = await other.get("instances/w0", If_None_Match=etag)

    assert same.status == 304


async def test_head_has_the_headers_and_nothing_else(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        head = await api.get("instances/w0", method="HEAD")
        whole = await api.get("instances/w0")

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))


async def test_metadata_is_what_a_cloud_provider_tells(tmp_path: Path) -> None:
    rules = [{"tag": "gpu", "labels": {"example.com/gpu": "true"}}]
    async with lookup(tmp_path, vm("w0", tags=("gpu",)), rules=rules) as api:
        reply = await api.instance("w0", "/metadata")
        machine_id = api.lab.vm("w0").id

    metadata = msgspec.json.decode(reply.body, type=Metadata)
    assert metadata.provider_id == f"ovirt://{machine_id}"
    assert (metadata.zone, metadata.region) == ("blue", "east")
    assert [(a.type, a.address) for a in metadata.node_addresses] == [("InternalIP", "10.0.0.1")]
    assert metadata.additional_labels == {
        "ccm.ovirt.org/host": "hv-1",
        "ccm.ovirt.org/cluster": "blue",
        "ccm.ovirt.org/data-center": "paris",
        "example.com/gpu": "true",
    }


# ---- 404, 409 -----------------------------------------------------------------------------------


async def test_what_no_engine_has_is_absent(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        for below in ("", "/metadata", "/exists", "/shutdown"):
            reply = await api.instance(UNKNOWN_ID, below)
            assert (reply.status, reply.kind) == (404, "instance-absent")
            assert "Age" in reply.headers
            assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("key", [f"ovirt://{UNKNOWN_ID}", f"ovirt:/{UNKNOWN_ID}", "w0/", ""])
async def test_a_key_whose_slashes_are_not_encoded_is_no_absent_one(
    key: str, tmp_path: Path
) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        for below in ("", "/exists"):
            reply = await api.get(f"instances/{key}{below}")
            assert (reply.status, reply.kind) == (400, "key-invalid")
            assert "%2F" in reply["detail"]


async def test_an_address_that_two_report_is_ambiguous(tmp_path: Path) -> None:
    vms = vm("w0", ip="10.0.0.9"), vm("w1", ip="10.0.0.9")
    async with lookup(tmp_path, *vms) as api:
        reply = await api.instance("10.0.0.9")

    assert (reply.status, reply.kind) == (409, "key-ambiguous")
    assert [one["name"] for one in reply["candidates"]] == ["w0", "w1"]
    assert reply["total"] == 2


# ---- an outage before, during and after the first listing ---------------------------------------


async def test_an_outage_before_the_first_listing_leaves_everything_unknown(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, vm("w0")) as lab:
        lab.engine.faults.status = 503
        await lab.restart()
        async with serving(lab, is_shown=False) as api:
            await until(lambda: lab.inventory.last_error)
            one, all_, zones = [
                await api.get(path) for path in ("instances/w0", "instances", "zones")
            ]
            lab.engine.faults.reset()
            found = await api.until_answer("w0", 200)

    for reply in (one, all_, zones):
        assert (reply.status, reply.kind) == (503, "absence-unknown")
        assert "503" in reply["detail"]
        assert int(reply.headers["Retry-After"]) == reply["retry_after"] > 0
    assert found["name"] == "w0"


async def test_an_outage_during_the_first_listing_leaves_everything_unknown(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, vm("w0")) as lab:
        lab.engine.faults.paths, lab.engine.faults.body = "/api/vms", "aborted"
        await lab.restart()
        async with serving(lab, is_shown=False) as api:
            before = await api.instance("w0")
            await until(lambda: lab.inventory.last_error)
            during = await api.instance("w0")
            lab.engine.faults.reset()
            await api.until_answer("w0", 200)

    assert (before.status, before.kind) == (503, "absence-unknown")
    assert (during.status, during.kind) == (503, "absence-unknown")


async def test_after_a_listing_an_outage_leaves_what_was_known_and_makes_absence_unknown(
    tmp_path: Path,
) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        api.lab.engine.faults.status = 503
        await until(lambda: api.lab.inventory.last_error)
        await asyncio.sleep(60)
        known, unknown = await api.instance("w0"), await api.instance("w9")
        listed = await api.get("instances")
        api.lab.engine.faults.reset()
        absent = await api.until_answer("w9", 404)

    assert known.status == 200
    assert int(known.headers["Age"]) >= 60
    assert (unknown.status, unknown.kind) == (503, "absence-unknown")
    assert [one["name"] for one in listed["instances"]] == ["w0"]
    assert "503" in listed["engines"][0]["error"]
    assert absent.kind == "instance-absent"


async def test_a_vm_made_during_an_outage_is_never_said_to_be_absent(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0"), vm("w1")) as api:
        machine = api.lab.vm("w1")
        machine.tags, tags = (), machine.tags
        await api.until_answer("w1", 404)
        api.lab.engine.faults.status = 503
        await until(lambda: api.lab.inventory.last_error)
        await asyncio.sleep(2)
        machine.tags = tags
        api.lab.engine.faults.reset()
        seen = set()
        while 200 not in seen:
            seen.add((await api.instance("w1")).status)
            await asyncio.sleep(0.05)

    assert seen == {503, 200}


# ---- exists -------------------------------------------------------------------------------------


async def test_a_selected_vm_exists(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        reply = await api.instance("w0", "/exists")

    exists = msgspec.json.decode(reply.body, type=Exists)
    assert (exists.exists, exists.selected) == (True, True)


async def test_a_removed_vm_is_unconfirmed_until_three_listings_lack_it(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0"), vm("w1")) as api:
        machine_id = api.lab.vm("w0").id
        api.lab.engine.world.forget(api.lab.vm("w0"))
        asked = asyncio.get_running_loop().time()
        unconfirmed = await api.until_answer(machine_id, 503, "/exists")
        confirmed = await api.until_answer(machine_id, 200, "/exists")
        took = asyncio.get_running_loop().time() - asked
        by_name, row = await api.instance("w0", "/exists"), await api.instance("w0")

    assert unconfirmed.kind == "absence-unconfirmed"
    assert took > 2 * 27
    assert (confirmed["exists"], confirmed["selected"]) == (False, False)
    assert by_name["exists"] is False
    assert (row.status, row.kind) == (404, "instance-absent")


async def test_what_a_restored_engine_has_forgotten_is_never_said_to_be_gone(
    tmp_path: Path,
) -> None:
    async with lookup(tmp_path, vm("w0"), vm("w1")) as api:
        machine = api.lab.vm("w0")
        api.lab.inventory.distrust()
        api.lab.engine.world.forget(machine)
        await api.until_answer(machine.id, 404)
        await asyncio.sleep(200)
        reply = await api.instance(machine.id, "/exists")

    assert (reply.status, reply.kind) == (503, "absence-doubted")


async def test_a_vm_that_lost_its_tag_exists_and_is_not_selected(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0"), vm("w1")) as api:
        machine = api.lab.vm("w0")
        machine.tags = ()
        await api.until_answer(machine.id, 404)
        reply = await api.instance(machine.id, "/exists")
        api.lab.engine.faults.status = 503
        await until(lambda: api.lab.inventory.last_error)
        later = await api.instance(machine.id, "/exists")

    assert (reply["exists"], reply["selected"]) == (True, False)
    assert (later["exists"], later["selected"]) == (True, False)


# ---- shutdown -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_shut_down"),
    [
        (InstanceStatus.DOWN, True),
        (InstanceStatus.SUSPENDED, True),
        (InstanceStatus.IMAGE_LOCKED, True),
        (InstanceStatus.PAUSED, False),
        (InstanceStatus.UP, False),
        (InstanceStatus.REBOOT_IN_PROGRESS, False),
    ],
)
async def test_shutdown_is_what_has_stopped(
    tmp_path: Path, status: InstanceStatus, *, is_shut_down: bool
) -> None:
    async with lookup(tmp_path, vm("w0", status=status)) as api:
        reply = await api.instance("w0", "/shutdown")

    shutdown = msgspec.json.decode(reply.body, type=Shutdown)
    assert (shutdown.shutdown, shutdown.status) == (is_shut_down, status)


@pytest.mark.parametrize("status", ["unknown", "not_responding", "unassigned"])
async def test_shutdown_is_not_known_while_the_engine_is_not_certain(
    tmp_path: Path, status: str
) -> None:
    async with lookup(tmp_path, vm("w0", status=status)) as api:
        reply = await api.instance("w0", "/shutdown")

    assert (reply.status, reply.kind) == (503, "status-unknown")
    assert status in reply["detail"]


# ---- VMs that cannot be understood --------------------------------------------------------------


async def test_a_vm_that_cannot_be_understood_exists_and_nothing_else_is_known(
    tmp_path: Path,
) -> None:
    async with lookup(tmp_path, vm("w0"), vm("odd")) as api:
        faults = api.lab.engine.faults
        faults.paths, faults.status = f"/api/vms/{api.lab.vm('odd').id}", 500
        faults.fails_follow = True
        await until(lambda: any(row.document.unreadable for row in api.catalogue.order))
        row, exists = await api.instance("odd"), await api.instance("odd", "/exists")
        others = [await api.instance("odd", below) for below in ("/metadata", "/shutdown")]

    assert (row.status, row["status"]) == (200, None)
    assert row["unreadable"]
    assert exists["exists"] is True
    assert [(one.status, one.kind) for one in others] == [(503, "instance-unreadable")] * 2


async def test_a_name_that_two_departed_vms_had_is_ambiguous(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0"), vm("w1"), vm("w2")) as api:
        first, second = api.lab.vm("w0"), api.lab.vm("w1")
        first.tags = ()
        await api.until_answer("w0", 404)
        second.name = "w0"
        await api.until_answer("w0", 200)
        second.tags = ()
        reply = await api.until_answer("w0", 409, "/exists")

    assert {one["id"] for one in reply["candidates"]} == {first.id, second.id}
