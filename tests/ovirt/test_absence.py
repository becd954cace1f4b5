from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provider.model import Unreadable
from provider.ovirt.absence import AbsenceLog
from tests.builders import ENGINE_ID, instance, snapshot, uuid_of

GONE = uuid_of("gone")
EVER = -1.0


def log_of(*listings: tuple[str, ...]) -> AbsenceLog:
    """A log of listings with these VMs, started at 0, 1, 2 and so on."""
    log = AbsenceLog(spacing=0.5)
    for number, names in enumerate(listings):
        log.observe(snapshot(*map(instance, names), started=float(number)))
    return log


def test_listings_in_a_row_that_lack_a_vm_are_counted() -> None:
    log = log_of(("gone", "a"), ("a",), ("a",))

    assert log.count(GONE, ENGINE_ID, EVER) == 2
    assert log.count(uuid_of("a"), ENGINE_ID, EVER) == 0


def test_a_vm_that_was_never_there_is_missing_in_all() -> None:
    assert log_of(("a",), ("a",)).count(GONE, ENGINE_ID, EVER) == 2


def test_only_listings_that_began_later_count() -> None:
    log = log_of((), (), (), ())

    assert log.count(GONE, ENGINE_ID, 1.0) == 2
    assert log.count(GONE, ENGINE_ID, 3.0) == 0


def test_a_vm_that_returned_begins_anew() -> None:
    assert log_of((), (), ("gone",), ()).count(GONE, ENGINE_ID, EVER) == 1


def test_an_unreadable_vm_is_there() -> None:
    log = AbsenceLog(spacing=0.5)
    log.observe(snapshot(unreadable=[Unreadable(GONE, "gone", "odd")]))

    assert log.count(GONE, ENGINE_ID, EVER) == 0


def test_a_vm_that_was_read_alone_begins_anew() -> None:
    log = log_of((), ())

    log.seen(GONE)

    assert log.count(GONE, ENGINE_ID, EVER) == 0
    log.observe(snapshot(started=2.0))
    assert log.count(GONE, ENGINE_ID, EVER) == 1


def test_another_engine_proves_nothing_of_this_one() -> None:
    log = log_of((), ())

    assert log.count(GONE, "another", EVER) == 0
    log.observe(snapshot(engine_id="another", started=2.0))
    assert log.count(GONE, ENGINE_ID, EVER) == 0
    assert log.count(GONE, "another", EVER) == 1


def test_a_listing_soon_after_another_is_no_second_one() -> None:
    log = log_of(("gone",))
    for started in (1.0, 1.1, 1.2, 1.5):
        log.observe(snapshot(started=started))

    assert log.count(GONE, ENGINE_ID, EVER) == 2


def test_a_vm_in_a_listing_soon_after_another_begins_anew() -> None:
    log = log_of((), ())

    log.observe(snapshot(instance("gone"), started=1.1))

    assert log.count(GONE, ENGINE_ID, EVER) == 0


def test_what_is_forgotten_counts_no_more() -> None:
    log = log_of((), (), ())

    log.forget()
    log.observe(snapshot(started=3.0))

    assert log.count(GONE, ENGINE_ID, EVER) == 1


def test_its_memory_is_bounded() -> None:
    log = AbsenceLog(spacing=0.5)
    for number in range(1000):
        log.observe(snapshot(instance(f"vm-{number}"), started=float(number)))

    assert len(log._last_seen) <= 32
    assert len(log._starts) <= 32
    assert log.count(uuid_of("vm-0"), ENGINE_ID, EVER) == 32
    assert log.count(uuid_of("vm-998"), ENGINE_ID, EVER) == 1


@given(st.lists(st.booleans(), max_size=40), st.integers(-1, 40))
def test_the_count_is_that_of_the_listings_at_the_end(there: list[bool], since: int) -> None:
    log = log_of(*(("gone",) if one else () for one in there))
    expected = 0
    for number, one in reversed(list(enumerate(there))[-32:]):
        if one or number <= since:
            break
        expected += 1

    assert log.count(GONE, ENGINE_ID, float(since)) == expected
