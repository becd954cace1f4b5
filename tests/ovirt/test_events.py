from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from provider.config import Intervals
from provider.model import InstanceStatus
from provider.ovirt import wire
from provider.ovirt.events import EventFeed, Wake, news, read
from tests.builders import instance, snapshot, uuid_of
from tests.ovirt.lab import many, running, vm
from tests.ovirt.recordings import body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.model import Instance
    from provider.ovirt.inventory import Inventory
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec
    from tests.ovirt.lab import Lab

W1 = instance("w1", host="hv-1")
W2 = instance("w2", host="hv-2")
KNOWN = snapshot(W1, W2)
POLLS = "GET /events"
LISTS = "GET /vms"
READS = "GET /vms/{id}"


def event(number: int, code: int = 61, *, vm: str = "", host: str = "") -> wire.Event:
    """An event about the VM or host of this name."""
    return wire.Event(
        id=number,
        code=code,
        time=number,
        vm=wire.EventRef(uuid_of(vm), vm) if vm else None,
        host=wire.EventRef(uuid_of(host), host) if host else None,
    )


# ---- what events mean --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [32, 33, 35, 61, 62, 63, 73, 119, 126, 138, 142, 157, 163, 503])
def test_what_happens_to_a_selected_vm_has_it_read(code: int) -> None:
    assert read([event(1, code, vm="w1")], KNOWN) == Wake(ids=frozenset({W1.id}))


@pytest.mark.parametrize("code", [61, 113, 157])
def test_what_happens_to_other_vms_costs_nothing(code: int) -> None:
    assert read([event(1, code, vm="desktop-7")], KNOWN) == Wake()


@pytest.mark.parametrize("code", [34, 35, 53, 124])
def test_a_vm_that_may_be_selected_now_is_read(code: int) -> None:
    assert read([event(1, code, vm="w3")], KNOWN) == Wake(ids=frozenset({uuid_of("w3")}))


@pytest.mark.parametrize("code", [113, 1130])
def test_the_removal_of_a_selected_vm_has_all_listed(code: int) -> None:
    assert read([event(1, code, vm="w1")], KNOWN) == Wake(must_list=True)


@pytest.mark.parametrize("code", [430, 432, 434, 440, 446, 555])
def test_tags_have_all_listed_as_their_events_name_no_vm(code: int) -> None:
    assert read([event(1, code)], KNOWN) == Wake(must_list=True)


@pytest.mark.parametrize("code", [12, 13, 14, 15, 16, 496, 9008])
def test_what_happens_to_a_host_has_its_vms_read(code: int) -> None:
    assert read([event(1, code, host="hv-2")], KNOWN) == Wake(ids=frozenset({W2.id}))


@pytest.mark.parametrize("code", [2, 30, 31])
def test_log_ins_mean_nothing(code: int) -> None:
    assert read([event(1, code)], KNOWN) == Wake()


def test_an_unknown_code_has_all_listed_in_good_time_and_its_vm_read() -> None:
    assert read([event(1, 424242, vm="w1")], KNOWN) == Wake(frozenset({W1.id}), may_list=True)


def test_before_the_first_listing_any_vm_may_be_selected() -> None:
    assert read([event(1, 61, vm="w1"), event(2, 12, host="hv-1")], None) == Wake(
        ids=frozenset({W1.id})
    )


def test_a_reference_to_what_is_gone_is_none() -> None:
    odd = wire.Event(id=1, code=61, vm=wire.EventRef(name="w1"), host=wire.EventRef())

    assert read([odd, event(2, 12)], KNOWN) == Wake()


def test_a_lost_host_in_the_log_of_a_real_engine_wakes_its_vms() -> None:
    events = wire.read("east", wire.Events, body("155-outage-events.json")).event
    lost = instance("west-0", id="28df8d1a-b3a5-4ef8-b8c9-89de9e0d42ae", host="elsewhere")
    beside = instance("beside", host="hv-west")

    assert read(events, snapshot(W1, lost, beside)) == Wake(ids=frozenset({lost.id, beside.id}))


# ---- where one is in the log -------------------------------------------------------------------


def test_news_are_what_is_newer_than_the_known() -> None:
    assert news([event(9), event(8), event(7)], event(7)) == [event(9), event(8)]
    assert news([event(7)], event(7)) == []


@pytest.mark.parametrize(
    "page",
    [[], [event(9), event(8)], [event(8), event(7, 440)]],
    ids=["index went down", "too many for a page", "another database"],
)
def test_a_page_without_the_known_has_lost_its_place(page: list[wire.Event]) -> None:
    assert news(page, event(7)) is None


# ---- at work -----------------------------------------------------------------------------------


@dataclass
class Running:
    lab: Lab
    inventory: Inventory

    def vm(self, name: str) -> Vm:
        return self.lab.world.vm(name)

    def instance(self, name: str) -> Instance | None:
        assert self.inventory.snapshot
        return self.inventory.snapshot.instances.get(self.vm(name).id)

    def status(self, name: str) -> InstanceStatus | None:
        found = self.instance(name)
        return found.status if found else None


@asynccontextmanager
async def following(directory: Path, *vms: VmSpec, **intervals: Any) -> AsyncIterator[Running]:
    """An inventory that lists every ten minutes, and the feed of its engine."""
    times = Intervals(**({"poll": timedelta(minutes=10)} | intervals))
    async with running(directory, *vms) as lab, lab.client() as client:
        inventory = lab.inventory(client, poll=times.poll)
        feed = EventFeed(client, inventory, times, lab.metrics)
        parts = inventory, feed
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            await asyncio.sleep(5)
            lab.forget_requests()
            yield Running(lab, inventory)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)


pytestmark = pytest.mark.looptime


async def test_a_quiet_engine_is_asked_once_a_second_and_nothing_else(tmp_path: Path) -> None:
    async with following(tmp_path, many(3)) as run:
        await asyncio.sleep(60)

        assert set(run.lab.counts) == {POLLS}
        assert 58 <= run.lab.counts[POLLS] <= 62


async def test_a_stopped_vm_is_known_within_two_seconds(tmp_path: Path) -> None:
    async with following(tmp_path, many(3)) as run:
        run.vm("w1").stop()
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.DOWN
        assert LISTS not in run.lab.counts


async def test_a_migration_is_followed_from_its_start_to_its_end(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1"), vm("w2")) as run:
        run.vm("w1").migrate("hv-3")
        await asyncio.sleep(2)
        assert run.status("w1") is InstanceStatus.MIGRATING

        took = run.lab.world.durations.migration.total_seconds()
        await asyncio.sleep(took)
        moved = run.instance("w1")

        assert moved
        assert (moved.host, moved.status) == ("hv-3", InstanceStatus.UP)
        assert LISTS not in run.lab.counts


async def test_a_renamed_vm_has_its_new_name(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.vm("w1").rename("w1-new")
        await asyncio.sleep(2)

        renamed = run.instance("w1-new")
        assert renamed
        assert renamed.name == "w1-new"


async def test_a_change_that_comes_after_its_event_is_seen_as_well(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.lab.world.write_event(61, {"vm": ("w1", run.vm("w1").id)})
        await asyncio.sleep(1.5)
        run.vm("w1").status = "down"
        await asyncio.sleep(2.5)

        assert run.status("w1") is InstanceStatus.DOWN


async def test_a_new_address_has_no_event_and_waits_for_the_listing(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        before = run.instance("w1")
        run.vm("w1").set_addresses(["10.9.9.9"])
        await asyncio.sleep(60)
        assert run.instance("w1") == before

        await asyncio.sleep(700)

        now = run.instance("w1")
        assert now
        assert str(now.interfaces[0].addresses[0]) == "10.9.9.9"


async def test_the_vms_of_a_lost_host_are_read(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1"), vm("w2", host="hv-3")) as run:
        run.lab.world.lose_host("hv-1")
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.UNKNOWN
        assert run.status("w2") is InstanceStatus.UP


async def test_a_vm_that_gets_the_tag_is_listed(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1"), vm("w2", tags=())) as run:
        run.vm("w2").attach("docker-host")
        await asyncio.sleep(2)

        assert run.status("w2") is InstanceStatus.UP
        assert run.lab.counts[LISTS] == 1


async def test_a_removed_vm_is_taken_out_by_a_listing(tmp_path: Path) -> None:
    async with following(tmp_path, many(3)) as run:
        gone = run.vm("w1").id
        run.vm("w1").remove()
        await asyncio.sleep(2)

        assert run.inventory.snapshot
        assert gone not in run.inventory.snapshot.instances
        assert run.lab.counts[LISTS] == 1


async def test_vms_that_are_no_docker_hosts_cost_nothing(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1"), vm("desk-{n}", count=20, tags=())) as run:
        for number in range(20):
            run.vm(f"desk-{number}").stop()
            run.vm(f"desk-{number}").remove()
        await asyncio.sleep(30)

        assert set(run.lab.counts) == {POLLS}


async def test_what_happens_together_is_one_listing(tmp_path: Path) -> None:
    async with following(tmp_path, *(vm(f"w{n}", tags=()) for n in range(20))) as run:
        for number in range(20):
            run.vm(f"w{number}").attach("docker-host")
        await asyncio.sleep(2)

        assert run.inventory.snapshot
        assert len(run.inventory.snapshot.instances) == 20
        assert run.lab.counts[LISTS] == 1


async def test_many_changed_vms_are_listed_and_not_read_one_by_one(tmp_path: Path) -> None:
    async with following(tmp_path, many(60)) as run:
        for number in range(60):
            run.vm(f"w{number}").stop()
        await asyncio.sleep(2)

        assert {run.status(f"w{number}") for number in range(60)} == {InstanceStatus.DOWN}
        assert run.lab.counts[LISTS] == 1
        assert run.lab.counts[READS] <= 2


async def test_an_engine_that_lists_slowly_is_left_its_rest(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1"), poll=timedelta(seconds=30)) as run:
        run.lab.faults.list_seconds = 10
        await asyncio.sleep(60)
        run.lab.forget_requests()
        for _ in range(600):
            run.lab.world.write_event(440, {})
            await asyncio.sleep(1)

        assert run.lab.counts[LISTS] <= 600 / 100 + 1


async def test_a_vm_that_is_woken_does_not_wait_for_a_resting_listing(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.lab.faults.list_seconds = 10
        run.lab.world.write_event(440, {})
        await asyncio.sleep(13)
        run.lab.world.write_event(440, {})
        run.vm("w1").stop()
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.DOWN
        assert run.lab.counts[LISTS] == 1


async def test_unknown_events_have_all_listed_once_a_minute_at_most(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        for _ in range(600):
            run.lab.world.write_event(424242, {})
            await asyncio.sleep(1)

        assert 9 <= run.lab.counts[LISTS] <= 10


async def test_more_events_than_fit_a_page_have_all_listed(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.vm("w1").stop()
        for _ in range(1200):
            run.lab.world.write_event(30, {})
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.DOWN
        assert not run.inventory.was_restored
        assert run.lab.counts[LISTS] == 1
        await asyncio.sleep(10)
        assert run.lab.counts[LISTS] == 1


async def test_a_database_that_was_restored_has_all_listed_and_is_followed_on(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, vm("w1")) as run:
        for _ in range(20):
            run.lab.world.write_event(30, {})
        await asyncio.sleep(3)
        run.lab.world.events.rewind(5)
        run.vm("w1").status = "down"
        await asyncio.sleep(2)
        assert run.status("w1") is InstanceStatus.DOWN
        assert run.lab.counts[LISTS] == 1
        assert run.inventory.was_restored

        run.vm("w1").start()
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.WAIT_FOR_LAUNCH


async def test_an_empty_log_is_no_trouble(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.lab.world.events.rewind(0)
        await asyncio.sleep(20)
        assert LISTS not in run.lab.counts

        run.vm("w1").stop()
        await asyncio.sleep(2)

        assert run.status("w1") is InstanceStatus.DOWN


async def test_a_replica_that_stands_by_looks_less_often_and_lists_at_its_turn(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.inventory.stand_by()
        run.lab.world.write_event(440, {})
        run.vm("w1").stop()
        await asyncio.sleep(60)

        assert run.status("w1") is InstanceStatus.DOWN
        assert LISTS not in run.lab.counts
        assert 19 <= run.lab.counts[POLLS] <= 23

        run.inventory.lead()
        await asyncio.sleep(1)

        assert run.lab.counts[LISTS] == 1


# ---- failing -----------------------------------------------------------------------------------


async def test_events_that_cannot_be_read_change_nothing_and_are_asked_for_less_often(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, vm("w1"), poll=timedelta(seconds=30)) as run:
        run.lab.faults.paths, run.lab.faults.status = "/events", 503
        with capture_logs() as logs:
            await asyncio.sleep(3600)
            assert run.lab.counts[POLLS] < 3600 / 60 + 10
            run.lab.faults.reset()
            await asyncio.sleep(61)

        assert run.inventory.last_error is None
        said = [line["event"] for line in logs if line["log_level"] in ("warning", "info")]
        assert said == [
            "the engine's events cannot be read: changes are seen at the next listing",
            "the engine's events can be read again",
        ]


async def test_events_of_an_outage_are_not_missed(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.lab.faults.paths, run.lab.faults.status = "/events", 500
        await asyncio.sleep(30)
        run.vm("w1").stop()
        run.lab.faults.reset()
        await asyncio.sleep(40)

        assert run.status("w1") is InstanceStatus.DOWN
        assert LISTS not in run.lab.counts


async def test_the_end_of_an_outage_is_noticed_within_a_minute_and_said_once(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, vm("w1")) as run:
        with capture_logs() as logs:
            run.lab.faults.availability = "down"
            await asyncio.sleep(3600)
            assert run.inventory.last_error is not None
            run.lab.faults.availability = "up"
            await asyncio.sleep(62)

        assert run.inventory.last_error is None
        said = [line["log_level"] for line in logs if line["log_level"] != "debug"]
        assert said == ["warning", "info"]


async def test_an_engine_that_restarts_is_logged_in_to_once(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.lab.simulator.begin_restart(60)
        await asyncio.sleep(180)

        assert run.inventory.last_error is None
        assert run.lab.logins == 1


async def test_a_wrong_password_costs_no_log_ins_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        inventory = lab.inventory(client)
        feed = EventFeed(client, inventory, Intervals(), lab.metrics)
        parts = inventory, feed
        tasks = [asyncio.create_task(part.run()) for part in parts]
        await asyncio.sleep(2 * 3600)

        assert lab.logins < 5
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_events_are_counted_by_what_they_concern(tmp_path: Path) -> None:
    async with following(tmp_path, vm("w1")) as run:
        run.vm("w1").stop()
        run.lab.world.write_event(440, {})
        run.lab.world.write_event(424242, {})
        await asyncio.sleep(2)

        text = run.lab.metrics.render().decode()

    for concern, count in (("vm", 2), ("listing", 1), ("unknown", 1)):
        assert f'engine_events_total{{concern="{concern}",engine="east"}} {count}.0' in text
