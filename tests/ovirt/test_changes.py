from __future__ import annotations

from ipaddress import ip_address

from msgspec.structs import replace

from provider.model import InstanceStatus, Unreadable
from provider.ovirt.changes import changed_ids, with_instance
from tests.builders import instance, snapshot, uuid_of

W1 = instance("w1")
W2 = instance("w2", ips=("10.0.0.2",))


def test_at_first_everything_has_changed() -> None:
    odd = Unreadable(uuid_of("odd"), "odd", "odd")

    assert changed_ids(None, snapshot(W1, unreadable=[odd])) == {W1.id, odd.id}


def test_a_listing_that_finds_the_same_changes_nothing() -> None:
    assert changed_ids(snapshot(W1, W2), snapshot(replace(W2), replace(W1))) == set()


def test_what_came_went_or_changed_has_changed() -> None:
    down = replace(W1, status=InstanceStatus.DOWN)
    w3 = instance("w3")

    assert changed_ids(snapshot(W1, W2), snapshot(down, w3)) == {W1.id, W2.id, w3.id}


def test_what_became_unreadable_has_changed() -> None:
    odd = Unreadable(W1.id, "w1", "odd")

    assert changed_ids(snapshot(W1, W2), snapshot(W2, unreadable=[odd])) == {W1.id}


def test_who_shares_an_address_now_has_changed() -> None:
    shared = frozenset({ip_address("10.0.0.2")})

    assert changed_ids(snapshot(W1, W2), snapshot(W1, W2, shared_addresses=shared)) == {W2.id}


def test_everything_of_another_engine_has_changed() -> None:
    assert changed_ids(snapshot(W1), snapshot(W1, engine_id="another")) == {W1.id}


def test_a_newer_reading_makes_no_newer_listing() -> None:
    down = replace(W1, status=InstanceStatus.DOWN)

    after = with_instance(snapshot(W1, W2, started=7.0), down)

    assert after == snapshot(down, W2, started=7.0)


def test_a_newer_reading_that_can_be_understood_is_readable() -> None:
    odd = Unreadable(W1.id, "w1", "odd")

    after = with_instance(snapshot(W2, unreadable=[odd]), W1)

    assert set(after.instances) == {W1.id, W2.id}
    assert not after.unreadable


def test_a_newer_reading_may_share_an_address() -> None:
    moved = instance("w1", ips=("10.0.0.2",))

    after = with_instance(snapshot(W1, W2), moved)

    assert after.shared_addresses == {ip_address("10.0.0.2")}


def test_when_another_engine_answers_all_of_both_have_changed() -> None:
    other = instance("w3", engine_id="another")

    assert changed_ids(snapshot(W1, W2), snapshot(other, engine_id="another")) == {
        W1.id,
        W2.id,
        other.id,
    }
