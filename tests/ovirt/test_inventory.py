from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from provider.config import Limits
from provider.errors import (
    EngineUnavailable,
    ListingImplausible,
    LoginRefused,
    PermissionMissing,
    ReplyUnusable,
    SelectionInvalid,
)
from provider.model import InstanceStatus
from tests.builders import uuid_of
from tests.ovirt.lab import many, running, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.model import Snapshot
    from provider.ovirt.inventory import Inventory
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec
    from tests.ovirt.lab import Lab

pytestmark = pytest.mark.looptime

WAITING = "GET /vms/{id}"


@dataclass
class Seen:
    """What a subscriber was told."""

    snapshots: list[Snapshot] = field(default_factory=list)
    changes: list[frozenset[str]] = field(default_factory=list)

    def note(self, snapshot: Snapshot, changed: frozenset[str]) -> None:
        self.snapshots.append(snapshot)
        self.changes.append(changed)


@dataclass
class Running:
    lab: Lab
    inventory: Inventory
    seen: Seen

    def vm(self, name: str) -> Vm:
        return self.lab.world.vm(name)

    def status(self, name: str) -> InstanceStatus | None:
        assert self.inventory.snapshot
        return self.inventory.snapshot.instances[self.vm(name).id].status


@asynccontextmanager
async def inventory(
    directory: Path, *vms: VmSpec, page_size: int = 500, **intervals: Any
) -> AsyncIterator[Running]:
    """An inventory that runs and has listed once."""
    async with running(directory, *vms) as lab, lab.client(Limits(page_size=page_size)) as client:
        seen = Seen()
        one = lab.inventory(client, **intervals)
        one.subscribe(seen.note)
        task = asyncio.create_task(one.run())
        try:
            await asyncio.sleep(1)
            lab.forget_requests()
            yield Running(lab, one, seen)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def test_before_anything_was_asked_nothing_is_known(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        one = lab.inventory(client)

        assert (one.snapshot, one.last_error, one.has_answered, one.age) == (
            None,
            None,
            False,
            None,
        )


async def test_it_publishes_what_it_finds(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        assert run.inventory.snapshot is run.seen.snapshots[0]
        assert len(run.seen.changes[0]) == 3
        assert run.inventory.has_answered
        assert run.inventory.age == pytest.approx(1)


async def test_only_what_really_changed_is_said(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        await asyncio.sleep(34)
        run.vm("w1").migrate()
        await asyncio.sleep(34)

        assert run.seen.changes[1] == frozenset()
        assert run.seen.changes[2] == {run.vm("w1").id}


async def test_addresses_in_another_order_are_no_change(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.faults.turns_addresses = True
        await asyncio.sleep(100)

        assert len(run.seen.changes) > 3
        assert not any(run.seen.changes[1:])


async def test_it_lists_at_the_interval(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        await asyncio.sleep(900)

        assert 27 <= run.lab.counts["GET /vms"] <= 33


async def test_a_replica_that_stands_by_lists_a_third_as_often(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.inventory.stand_by()
        await asyncio.sleep(910)
        assert 9 <= run.lab.counts["GET /vms"] <= 11

        run.lab.forget_requests()
        run.inventory.lead()
        await asyncio.sleep(910)
        assert 28 <= run.lab.counts["GET /vms"] <= 32


async def test_a_replica_that_comes_to_lead_does_not_wait_as_a_standby(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.inventory.stand_by()
        await asyncio.sleep(60)
        run.lab.forget_requests()

        run.inventory.lead()
        await asyncio.sleep(1)

        assert run.lab.counts["GET /vms"] == 1


async def test_an_engine_is_busy_for_at_most_a_tenth_of_the_time(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.faults.list_seconds = 12
        await asyncio.sleep(3000)

        assert run.lab.counts["GET /vms"] <= 3000 / 120 + 2


async def test_a_changed_vm_is_seen_at_the_next_listing(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.vm("w1").stop()
        run.vm("w2").remove()
        await asyncio.sleep(35)

        assert run.status("w1") is InstanceStatus.DOWN
        assert run.inventory.snapshot
        assert len(run.inventory.snapshot.instances) == 2


# ---- waiting -----------------------------------------------------------------------------------


async def test_a_wanted_vm_is_read_alone_and_its_change_published(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        listed = run.inventory.snapshot
        run.vm("w1").stop()

        run.inventory.want([run.vm("w1").id.upper()])
        await asyncio.sleep(3)

        assert run.status("w1") is InstanceStatus.DOWN
        assert run.seen.changes[-1] == {run.vm("w1").id}
        assert listed
        assert run.seen.snapshots[-1].started == listed.started


async def test_a_wanted_vm_is_read_at_the_interval_and_for_a_minute(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.inventory.want([run.vm("w1").id])
        await asyncio.sleep(20)
        assert 9 <= run.lab.counts[WAITING] <= 11

        await asyncio.sleep(60)
        run.lab.forget_requests()
        await asyncio.sleep(60)

        assert WAITING not in run.lab.counts


async def test_an_unchanged_reading_is_not_published(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.inventory.want([run.vm("w1").id])
        await asyncio.sleep(10)

        assert len(run.seen.snapshots) == 1


async def test_a_new_vm_that_is_wanted_does_not_wait_for_the_next_listing(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1"), vm("w2", tags=())) as run:
        run.vm("w2").attach("docker-host")

        run.inventory.want([run.vm("w2").id])
        await asyncio.sleep(1)

        assert run.status("w2") is InstanceStatus.UP


async def test_a_wanted_vm_that_is_not_selected_is_not_added(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1"), vm("other", tags=())) as run:
        run.inventory.want([run.vm("other").id, uuid_of("nobody"), "no-uuid"])
        await asyncio.sleep(10)

        assert run.inventory.snapshot
        assert len(run.inventory.snapshot.instances) == 1


async def test_what_does_not_exist_is_asked_for_once(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1")) as run:
        run.inventory.want([uuid_of("nobody"), "no-uuid", "../hosts"])
        await asyncio.sleep(20)

        assert run.lab.counts[WAITING] == 1


async def test_a_single_reading_never_removes_a_vm_but_has_a_listing_made(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        w1, w2 = run.vm("w1"), run.vm("w2")
        w1.remove()
        w2.detach("docker-host")
        run.lab.faults.paths, run.lab.faults.status = r"/clusters", 503
        run.inventory.want([w1.id, w2.id])
        await asyncio.sleep(10)
        assert run.inventory.snapshot
        assert len(run.inventory.snapshot.instances) == 3

        run.lab.faults.reset()
        await asyncio.sleep(12)

        assert run.inventory.snapshot.instances.keys() == {run.vm("w0").id}


async def test_a_vm_that_boots_is_followed_by_itself(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1", status="down")) as run:
        run.vm("w1").start()
        await asyncio.sleep(34)
        run.lab.forget_requests()
        run.vm("w1").reboot()
        await asyncio.sleep(34)

        assert run.status("w1") is InstanceStatus.UP
        await asyncio.sleep(60)
        run.lab.forget_requests()
        await asyncio.sleep(60)
        assert WAITING not in run.lab.counts


async def test_a_guest_without_an_agent_is_not_asked_for_for_ever(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1", agent=False, nics=())) as run:
        await asyncio.sleep(60)
        assert run.lab.counts[WAITING] > 20

        await asyncio.sleep(600)
        run.lab.forget_requests()
        await asyncio.sleep(300)

        assert WAITING not in run.lab.counts


async def test_many_that_wait_do_not_keep_the_engine_busy(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(100)) as run:
        run.lab.faults.paths, run.lab.faults.delay = r"/vms/\w", 0.1
        run.inventory.want([run.vm(f"w{n}").id for n in range(100)])
        await asyncio.sleep(25)

        assert 20 <= run.lab.counts[WAITING] <= 27


async def test_a_reading_that_fails_is_repeated_less_and_less_often(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.faults.paths, run.lab.faults.status = r"/vms/\w", 503
        run.inventory.want([run.vm("w1").id])
        await asyncio.sleep(20)

        assert run.lab.counts[WAITING] == 3
        assert run.inventory.last_error is None


async def test_one_vm_that_the_engine_fails_on_does_not_stop_the_others(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.faults.paths, run.lab.faults.status = run.vm("w1").id, 500
        run.vm("w2").stop()
        run.inventory.want([run.vm("w1").id, run.vm("w2").id])
        await asyncio.sleep(5)

        assert run.status("w2") is InstanceStatus.DOWN


# ---- failing and recovering --------------------------------------------------------------------


async def test_an_outage_keeps_what_is_known_and_is_said_once(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        known = run.inventory.snapshot
        run.lab.faults.availability = "down"
        with capture_logs() as logs:
            await asyncio.sleep(300)
            assert isinstance(run.inventory.last_error, EngineUnavailable)
            assert run.inventory.snapshot is known
            run.lab.faults.availability = "up"
            await asyncio.sleep(70)

        assert run.inventory.last_error is None
        said = [line for line in logs if line["log_level"] in ("warning", "info")]
        assert [line["log_level"] for line in said] == ["warning", "info"]
        assert said[0]["engine"] == "east"
        assert said[0]["kind"] == "EngineUnavailable"


async def test_a_first_failure_is_an_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.availability = "down"
        one = lab.inventory(client)
        task = asyncio.create_task(one.run())
        await asyncio.sleep(1)

        assert one.has_answered
        assert one.snapshot is None
        assert one.last_error is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_engine_that_restarts_is_known_again_within_a_minute_and_logged_in_to_once(
    tmp_path: Path,
) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.simulator.begin_restart(60)
        await asyncio.sleep(120)

        assert run.inventory.last_error is None
        assert run.inventory.age is not None
        assert run.inventory.age < 60
        assert run.lab.logins == 1


async def test_an_answer_that_nobody_thought_of_is_one_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inventory(tmp_path, many(3)) as run:
        known = run.inventory.snapshot
        monkeypatch.setattr(run.inventory._lister, "_decoder", None)
        with capture_logs() as logs:
            await asyncio.sleep(300)
        assert isinstance(run.inventory.last_error, ReplyUnusable)
        assert run.inventory.snapshot is known
        assert [line["log_level"] for line in logs].count("error") == 1

        monkeypatch.undo()
        await asyncio.sleep(70)

        assert run.inventory.last_error is None


async def test_an_engine_that_is_replaced_is_not_read_as_the_one_before(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1")) as run:
        known = run.inventory.snapshot
        run.lab.world.instance_id = uuid_of("another engine")
        run.lab.simulator.accounts.forget_everybody()
        run.vm("w1").stop()
        run.inventory.want([run.vm("w1").id])
        await asyncio.sleep(20)
        assert run.inventory.snapshot is known

        await asyncio.sleep(20)

        assert run.inventory.snapshot
        assert run.inventory.snapshot.engine_id == uuid_of("another engine")
        assert run.status("w1") is InstanceStatus.DOWN


async def test_a_long_outage_costs_few_requests(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(3)) as run:
        run.lab.faults.availability = "down"
        await asyncio.sleep(3600)

        assert sum(run.lab.counts.values()) < 5 * 3600 / 55


async def test_a_wrong_password_costs_a_handful_of_log_ins_in_a_day(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        one = lab.inventory(client)
        task = asyncio.create_task(one.run())
        await asyncio.sleep(6 * 3600)

        assert isinstance(one.last_error, LoginRefused)
        assert lab.logins <= 7
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_list_that_fails_after_long_work_is_not_repeated_soon(tmp_path: Path) -> None:
    async with inventory(tmp_path, many(60), page_size=40) as run:
        run.lab.faults.list_seconds = 10
        run.lab.faults.duplicated_vms = {"w1"}
        await asyncio.sleep(3000)

        assert isinstance(run.inventory.last_error, ListingImplausible)
        assert run.lab.counts["GET /vms"] <= 2 * 3 * (3000 / 300 + 2)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda lab: lab.world.remove_tag("docker-host"), SelectionInvalid),
        (lambda lab: setattr(lab.faults, "forbidden", True), PermissionMissing),
        (
            lambda lab: setattr(lab.world.user("reader@internal"), "role", "UserRole"),
            PermissionMissing,
        ),
    ],
)
async def test_what_an_administrator_breaks_removes_nothing(
    tmp_path: Path, spoil: Any, error: type[Exception]
) -> None:
    async with inventory(tmp_path, many(3)) as run:
        known = run.inventory.snapshot
        spoil(run.lab)
        await asyncio.sleep(100)

        assert isinstance(run.inventory.last_error, error)
        assert run.inventory.snapshot is known


# ---- metrics -----------------------------------------------------------------------------------


async def test_the_metrics_tell_age_counts_and_failures(tmp_path: Path) -> None:
    odd = vm("odd", overrides={"memory": {"unit": "GiB"}})
    async with inventory(tmp_path, many(3), odd) as run:
        run.vm("w1").stop()
        await asyncio.sleep(34)
        run.lab.faults.availability = "down"
        await asyncio.sleep(120)

        text = run.lab.metrics.render().decode()

    assert 'ovirt_ccm_instances{engine="east",status="up",zone="blue"} 2.0' in text
    assert 'ovirt_ccm_instances{engine="east",status="down",zone="blue"} 1.0' in text
    assert 'ovirt_ccm_instances_unreadable{engine="east"} 1.0' in text
    assert 'ovirt_ccm_engine_up{engine="east"} 0.0' in text
    assert 'snapshots_rejected_total{engine="east",reason="EngineUnavailable"}' in text
    assert 'ovirt_ccm_snapshot_age_seconds{engine="east"} 1' in text


async def test_a_status_that_nobody_has_any_more_is_not_counted_on(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1")) as run:
        run.vm("w1").stop()
        await asyncio.sleep(35)

        assert 'status="up"' not in run.lab.metrics.render().decode()


async def test_a_listing_interval_of_a_second_is_kept(tmp_path: Path) -> None:
    async with inventory(tmp_path, vm("w1"), poll=timedelta(seconds=1)) as run:
        await asyncio.sleep(20)

        assert 17 <= run.lab.counts["GET /vms"] <= 23
