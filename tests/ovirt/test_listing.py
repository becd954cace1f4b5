from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from provider.config import Limits
from provider.errors import (
    EngineUnavailable,
    ListingImplausible,
    PermissionMissing,
    ReplyUnusable,
    SelectionInvalid,
)
from provider.model import Cluster, InstanceStatus
from provider.simulator.scenario import DeviceSpec, TagSpec
from tests.builders import snapshot
from tests.ovirt.lab import many, running, vm

if TYPE_CHECKING:
    from pathlib import Path

    from provider.model import Snapshot
    from tests.ovirt.lab import Lab

COLLECTIONS = ("clusters", "datacenters", "hosts", "tags", "instancetypes")


def names(found: Snapshot) -> set[str]:
    return {one.name for one in found.instances.values()}


def remove(lab: Lab, name: str) -> None:
    lab.world.forget(lab.world.vm(name))


async def seen(lab: Lab, request: str, times: int) -> None:
    """Returns when the engine has answered this request so many times."""
    while lab.counts[request] < times:  # noqa: ASYNC110  the engine has no event for it
        await asyncio.sleep(0)


async def test_it_lists_what_carries_the_tag_or_one_below(tmp_path: Path) -> None:
    vms = (vm("w1"), vm("g1", tags=("gpu",)), vm("other", tags=()))
    async with running(tmp_path, *vms) as lab, lab.lister() as lister:
        found = await lister.take(None)

        assert names(found) == {"w1", "g1"}
        assert found.engine == "east"
        assert found.engine_id == lab.world.instance_id
        assert found.instances[lab.world.vm("w1").id].cluster == Cluster("blue", "paris")


async def test_cluster_and_data_centre_narrow_it(tmp_path: Path) -> None:
    vms = (vm("w1"), vm("r1", cluster="red", host="hv-2"))
    async with running(tmp_path, *vms) as lab:
        async with lab.lister(clusters=["red"]) as lister:
            assert names(await lister.take(None)) == {"r1"}
        async with lab.lister(data_centers=["paris"]) as lister:
            assert names(await lister.take(None)) == {"w1"}


async def test_the_configured_search_narrows_it(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister(search="name=w1") as lister:
        assert names(await lister.take(None)) == {"w1"}


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (9, 1), (10, 2), (25, 3), (119, 12)])
async def test_a_poll_costs_five_requests_and_the_pages(
    tmp_path: Path, count: int, pages: int
) -> None:
    vms = (many(count),) if count else ()
    limits = Limits(page_size=10)
    async with running(tmp_path, *vms) as lab, lab.lister(limits) as lister:
        first = await lister.take(None)
        lab.forget_requests()

        second = await lister.take(first)

        assert len(second.instances) == count
        assert lab.counts == {"GET /vms": pages} | {f"GET /{name}": 1 for name in COLLECTIONS}
        assert lab.simulator.requests.most_in_flight <= 4


async def test_the_number_of_vms_may_grow_by_pages_between_two_polls(tmp_path: Path) -> None:
    limits = Limits(page_size=2)
    async with running(tmp_path, many(15, tags=())) as lab, lab.lister(limits) as lister:
        await lister.take(None)
        for n in range(15):
            lab.world.vm(f"w{n}").attach("docker-host")

        assert len((await lister.take(None)).instances) == 15


async def test_the_engine_is_asked_what_it_is_once_a_log_in(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.lister() as lister:
        for _ in range(3):
            await lister.take(None)
        assert lab.counts["GET /"] == 1
        lab.simulator.accounts.forget_everybody()

        await lister.take(None)

        assert lab.counts["GET /"] == 2


async def test_an_engine_without_an_id_is_known_by_its_configured_name(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1"), version="4.4.2") as lab, lab.lister() as lister:
        assert (await lister.take(None)).engine_id == "east"


async def test_addresses_that_an_old_engine_reports_inside_of_cards_are_found(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w1"), version="4.3.0") as lab, lab.lister() as lister:
        (found,) = (await lister.take(None)).instances.values()

        assert "10.0.0.1" in {str(a) for i in found.interfaces for a in i.addresses}


async def test_an_engine_that_cannot_follow_links_is_too_old(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1"), version="4.1.0") as lab, lab.lister() as lister:
        with pytest.raises(ReplyUnusable, match=r"4\.2 or later"):
            await lister.take(None)


async def test_an_address_of_two_running_vms_is_shared(tmp_path: Path) -> None:
    devices = tuple(
        DeviceSpec(name="vip", mac=mac, addresses=("10.9.9.9",))
        for mac in ("56:6f:1a:00:00:01", "56:6f:1a:00:00:02")
    )
    vms = (vm("w1", devices=devices[:1]), vm("w2", ip="10.0.0.2", devices=devices[1:]))
    async with running(tmp_path, *vms) as lab, lab.lister() as lister:
        found = await lister.take(None)

        assert [str(address) for address in found.shared_addresses] == ["10.9.9.9"]


# ---- what proves nothing -----------------------------------------------------------------------


async def test_a_removed_vm_is_gone_once_the_engine_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        gone = lab.world.vm("w1").id
        remove(lab, "w1")
        lab.forget_requests()

        found = await lister.take(before)

        assert names(found) == {"w0", "w2"}
        assert lab.counts["GET /vms/{id}"] == 1
        assert gone not in found.unreadable


async def test_an_untagged_vm_is_no_longer_selected_once_asked_for_alone(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.world.vm("w1").detach("docker-host")
        lab.forget_requests()

        assert names(await lister.take(before)) == {"w0", "w2"}
        assert lab.counts["GET /vms/{id}"] == 1


async def test_vms_that_the_list_overlooks_are_kept(tmp_path: Path) -> None:
    async with running(tmp_path, many(5)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.hidden_vms = {"w1", "w3"}

        found = await lister.take(before)

        assert found.instances == before.instances


async def test_an_empty_list_of_many_that_exist_is_implausible_and_soon_seen(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, many(60)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.empty_lists = True
        lab.forget_requests()

        with pytest.raises(ListingImplausible, match="missing in its list"):
            await lister.take(before)

        assert lab.counts["GET /vms/{id}"] < 15


async def test_many_that_are_proven_to_be_gone_are_gone(tmp_path: Path) -> None:
    async with running(tmp_path, many(60)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        for n in range(59):
            remove(lab, f"w{n}")

        assert names(await lister.take(before)) == {"w59"}


async def test_a_missing_vm_that_cannot_be_asked_for_makes_no_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        remove(lab, "w1")
        lab.faults.paths, lab.faults.status = r"/vms/\w", 404

        with pytest.raises(EngineUnavailable, match="answers 404"):
            await lister.take(before)


async def test_a_missing_vm_that_the_engine_fails_on_is_unreadable_and_not_gone(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.hidden_vms = {"w1"}
        lab.faults.paths, lab.faults.status = r"/vms/\w", 500

        found = await lister.take(before)

        assert set(found.unreadable) == {lab.world.vm("w1").id}


async def test_a_vm_that_no_longer_matches_the_search_is_not_kept(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister(search="name=w*") as lister:
        before = await lister.take(None)
        lab.world.vm("w1").rename("x1")

        assert names(await lister.take(before)) == {"w0", "w2"}


async def test_a_missing_tag_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.lister(tag="docker") as lister:
        with pytest.raises(SelectionInvalid, match="no tag docker") as caught:
            await lister.take(None)

        assert "ovirt-ccm tag" in caught.value.remedy
        assert "GET /vms" not in lab.counts


async def test_a_tag_of_another_letter_case_is_another_tag(tmp_path: Path) -> None:
    tags = (TagSpec(name="Docker-Host"),)
    async with (
        running(tmp_path, vm("w1", tags=("Docker-Host",)), tags=tags) as lab,
        lab.lister() as lister,
    ):
        with pytest.raises(SelectionInvalid):
            await lister.take(None)


async def test_a_vm_that_is_listed_twice_makes_no_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path, many(5)) as lab, lab.lister(Limits(page_size=2)) as lister:
        lab.faults.duplicated_vms = {"w0"}

        with pytest.raises(ListingImplausible, match="contradicted itself"):
            await lister.take(None)

        assert lab.counts["GET /vms"] < 15


async def test_a_list_that_contradicts_itself_once_is_made_again(tmp_path: Path) -> None:
    async with running(tmp_path, many(5)) as lab, lab.lister(Limits(page_size=2)) as lister:
        lab.faults.duplicated_vms = {"w0"}
        taking = asyncio.create_task(lister.take(None))
        await seen(lab, "GET /vms", 2)
        lab.faults.duplicated_vms = set()

        assert len((await taking).instances) == 5
        assert lab.counts["GET /vms"] > 3


async def test_a_vm_whose_links_come_empty_is_read_alone(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.emptied_vms = {"w1"}

        assert (await lister.take(before)).instances == before.instances


@pytest.mark.looptime
async def test_a_vm_removed_while_the_list_is_made_is_not_in_it(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        lab.faults.list_seconds = 8
        asyncio.get_running_loop().call_later(4, remove, lab, "w1")

        assert names(await lister.take(None)) == {"w0", "w2"}


async def test_another_engine_at_the_same_url_proves_nothing_about_the_first(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.lister() as lister:
        other = snapshot(engine_id="another", instances=(await lister.take(None)).instances)
        remove(lab, "w1")
        lab.forget_requests()

        found = await lister.take(other)

        assert found.engine_id != "another"
        assert "GET /vms/{id}" not in lab.counts


async def test_an_engine_that_is_replaced_while_it_is_listed_makes_no_snapshot(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.delay = 0.02
        taking = asyncio.create_task(lister.take(before))
        await seen(lab, "GET /tags", 2)
        lab.simulator.accounts.forget_everybody()
        lab.world.instance_id = "another"

        with pytest.raises(ListingImplausible, match="another engine"):
            await taking


# ---- odd VMs -----------------------------------------------------------------------------------


async def test_one_odd_vm_costs_only_itself(tmp_path: Path) -> None:
    odd = vm("odd", overrides={"memory": {"unit": "GiB"}})
    async with running(tmp_path, many(3), odd) as lab, lab.lister() as lister:
        found = await lister.take(None)

        assert names(found) == {"w0", "w1", "w2"}
        assert found.unreadable[lab.world.vm("odd").id].name == "odd"


async def test_a_vm_whose_links_cannot_be_followed_is_read_in_parts(tmp_path: Path) -> None:
    odd = vm("odd", broken_links={"nics"})
    limits = Limits(page_size=2)
    async with running(tmp_path, many(3), odd) as lab, lab.lister(limits) as lister:
        found = await lister.take(None)

        assert names(found) == {"odd", "w0", "w1", "w2"}
        assert found.instances[lab.world.vm("odd").id].nics
        assert lab.counts["GET /vms/{id}"] == 3, "only the page with the odd one is read apart"


async def test_reading_one_by_one_is_said_once_and_so_is_its_end(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        lab.faults.fails_follow = True
        with capture_logs() as logs:
            await lister.take(None)
            await lister.take(None)
            lab.faults.fails_follow = False
            await lister.take(None)
            await lister.take(None)

        said = [line["log_level"] for line in logs if line["log_level"] != "debug"]
        assert said == ["warning", "info"]


async def test_an_odd_vm_whose_links_cannot_be_followed_is_unreadable(tmp_path: Path) -> None:
    odd = vm("odd", broken_links={"nics"}, overrides={"memory": "much"})
    async with running(tmp_path, many(2), odd) as lab, lab.lister() as lister:
        found = await lister.take(None)

        assert names(found) == {"w0", "w1"}
        assert set(found.unreadable) == {lab.world.vm("odd").id}


async def test_an_engine_that_follows_nothing_is_read_vm_by_vm(tmp_path: Path) -> None:
    async with running(tmp_path, many(5)) as lab, lab.lister(Limits(page_size=2)) as lister:
        lab.faults.fails_follow = True

        assert len((await lister.take(None)).instances) == 5


async def test_a_vm_that_the_engine_fails_on_altogether_is_unreadable(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        broken = lab.world.vm("w1").id
        lab.faults.paths, lab.faults.status = f"follow=.*search|search=.*follow|{broken}", 500

        found = await lister.take(None)

        assert names(found) == {"w0", "w2"}
        assert set(found.unreadable) == {broken}


async def test_a_vm_without_cards_and_interfaces_is_sound(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1", nics=())) as lab, lab.lister() as lister:
        found = await lister.take(None)

        assert names(found) == {"w1"}
        assert "GET /vms/{id}" not in lab.counts


async def test_a_vm_with_an_illegal_image_has_no_status(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1", status=None)) as lab, lab.lister() as lister:
        (found,) = (await lister.take(None)).instances.values()

        assert found.status is None


async def test_vms_of_a_lost_host_are_unknown_and_not_gone(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.lister() as lister:
        lab.world.lose_host("hv-1")

        (found,) = (await lister.take(None)).instances.values()

        assert found.status in {InstanceStatus.UNKNOWN, InstanceStatus.NOT_RESPONDING}
        assert found.interfaces


# ---- every fault of the engine -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"availability": "stopping"}, EngineUnavailable),
        ({"availability": "down"}, EngineUnavailable),
        ({"database": "away"}, EngineUnavailable),
        ({"database": "stale"}, EngineUnavailable),
        ({"refuse_tokens": True}, EngineUnavailable),
        ({"forbidden": True}, PermissionMissing),
        ({"drop_connection": True}, EngineUnavailable),
        ({"status": 404}, EngineUnavailable),
        ({"status": 500}, EngineUnavailable),
        ({"status": 503}, EngineUnavailable),
        ({"body": "truncated"}, ReplyUnusable),
        ({"body": "aborted"}, EngineUnavailable),
        ({"body": "invalid"}, ReplyUnusable),
    ],
)
@pytest.mark.parametrize("paths", ["", "/vms"])
async def test_no_fault_makes_a_snapshot(
    tmp_path: Path, fault: dict[str, object], error: type[Exception], paths: str
) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        for name, value in {"paths": paths, **fault}.items():
            setattr(lab.faults, name, value)

        with pytest.raises(error):
            await lister.take(before)

        lab.faults.reset()


@pytest.mark.looptime
async def test_an_engine_that_hangs_makes_no_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        before = await lister.take(None)
        lab.faults.availability = "starting"

        with pytest.raises(EngineUnavailable, match="no answer"):
            await lister.take(before)
        assert lister.pages_since is None, "no list was asked for"


async def test_an_old_cache_of_tag_searches_does_no_harm(tmp_path: Path) -> None:
    vms = (vm("w1", tags=()), vm("w2"))
    async with running(tmp_path, *vms) as lab, lab.lister() as lister:
        lab.faults.has_stale_tag_cache = True
        before = await lister.take(None)
        lab.world.vm("w1").attach("gpu")

        assert names(await lister.take(before)) == {"w1", "w2"}
