from __future__ import annotations

import pytest
from msgspec.structs import replace

from provider.model import InstanceStatus
from provider.ovirt.waiting import Waiting
from tests.builders import instance, snapshot, uuid_of

UP = instance("w1")
SILENT = instance("w1", ips=("fe80::1",))
BOOTING = instance("w1", ips=(), status=InstanceStatus.POWERING_UP)


def test_nothing_waits_among_sound_vms() -> None:
    waiting = Waiting(2)
    down = instance("w2", status=InstanceStatus.DOWN, ips=())
    waiting.observe(snapshot(UP, down), [UP.id, down.id], now=10)

    assert waiting.next(now=11) is None


def test_what_somebody_wants_is_due_at_once_and_then_at_the_interval() -> None:
    waiting = Waiting(2)
    waiting.want([UP.id], now=10)

    assert waiting.next(now=10) == (UP.id, 0)
    waiting.was_read(UP.id, UP, now=10)
    assert waiting.next(now=10) == (UP.id, 12)


def test_a_wish_lasts_a_minute() -> None:
    waiting = Waiting(2)
    waiting.want([UP.id], now=10)

    assert waiting.next(now=69) is not None
    assert waiting.next(now=70) is None


def test_a_wish_for_what_does_not_exist_can_be_forgotten() -> None:
    waiting = Waiting(2)
    waiting.want([UP.id], now=10)

    waiting.forget(UP.id)

    assert waiting.next(now=10) is None


@pytest.mark.parametrize("vm", [SILENT, BOOTING, replace(UP, status=InstanceStatus.MIGRATING)])
def test_a_vm_without_address_or_in_a_passing_state_waits_by_itself(vm: object) -> None:
    waiting = Waiting(2)
    assert isinstance(vm, type(UP))
    waiting.observe(snapshot(vm), [vm.id], now=10)

    assert waiting.next(now=10) == (vm.id, 12)
    waiting.was_read(vm.id, UP, now=12)
    assert waiting.next(now=12) is None


def test_a_guest_that_never_speaks_is_given_up() -> None:
    waiting = Waiting(2)
    for now in range(10, 1000, 30):
        waiting.observe(snapshot(SILENT), [SILENT.id] if now == 10 else [], now=now)

    assert waiting.next(now=1000) is None


def test_another_state_starts_patience_anew() -> None:
    waiting = Waiting(2)
    waiting.observe(snapshot(BOOTING), [BOOTING.id], now=0)
    waiting.was_read(SILENT.id, SILENT, now=500)

    assert waiting.next(now=700) == (SILENT.id, 502)


def test_one_that_could_not_be_read_is_followed_again_after_the_next_listing() -> None:
    waiting = Waiting(2)
    waiting.observe(snapshot(BOOTING), [BOOTING.id], now=0)
    waiting.was_read(BOOTING.id, None, now=2)
    assert waiting.next(now=2) is None

    waiting.observe(snapshot(BOOTING), [], now=30)

    assert waiting.next(now=30) == (BOOTING.id, 32)


def test_one_that_has_changed_or_gone_is_followed_no_longer() -> None:
    waiting = Waiting(2)
    other = replace(BOOTING, id=uuid_of("w2"), name="w2")
    waiting.observe(snapshot(BOOTING, other), [BOOTING.id, other.id], now=0)

    waiting.observe(snapshot(UP), [UP.id, other.id], now=30)

    assert waiting.next(now=30) is None


def test_who_was_read_longest_ago_comes_first() -> None:
    waiting = Waiting(2)
    waiting.want([UP.id, uuid_of("w2")], now=10)
    waiting.was_read(UP.id, UP, now=10)

    assert waiting.next(now=11) == (uuid_of("w2"), 0)


def test_a_listing_reads_everybody() -> None:
    waiting = Waiting(2)
    waiting.want([UP.id], now=10)
    waiting.observe(snapshot(UP), [UP.id], now=11)

    assert waiting.next(now=11) == (UP.id, 13)


def test_what_was_woken_is_due_before_all_others_and_once_more_later() -> None:
    waiting = Waiting(2)
    waiting.want([uuid_of("w2")], now=5)
    waiting.wake([UP.id, UP.id], now=10)

    assert waiting.woken == 1
    assert waiting.next(now=10) == (UP.id, 10)
    waiting.was_read(UP.id, UP, now=10)
    assert waiting.next(now=10) == (uuid_of("w2"), 0)
    assert waiting.next(now=12) == (UP.id, 12)
    waiting.was_read(UP.id, UP, now=12)
    waiting.forget(uuid_of("w2"))
    assert waiting.next(now=100) is None


def test_a_listing_reads_what_was_woken_before_it_began_and_not_what_was_woken_since() -> None:
    waiting = Waiting(2)
    waiting.wake([UP.id], now=9)
    waiting.wake([uuid_of("w2")], now=11)
    waiting.observe(snapshot(UP, started=10.0), [UP.id], now=12)

    assert waiting.next(now=12) == (uuid_of("w2"), 11)
    waiting.was_read(uuid_of("w2"), None, now=12)
    assert waiting.next(now=12) == (uuid_of("w2"), 14)


def test_what_was_woken_and_does_not_exist_is_not_read_again() -> None:
    waiting = Waiting(2)
    waiting.wake([UP.id], now=10)
    waiting.was_read(UP.id, None, now=10)

    waiting.forget(UP.id)

    assert waiting.next(now=20) is None
