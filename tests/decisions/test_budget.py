"""The budget of deletions: its size, its latch, and the record of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.decisions.budget import (
    WINDOW,
    Deletion,
    Record,
    RecordUnreadable,
    budget,
    claim,
    format_record,
    latch,
    lift,
    parse_record,
    saw,
)
from provider.scalars import Share
from tests.builders import NOW, node
from tests.laws.strategies import structs

TENTH = Share(10)


def deletions(count: int, *, age: timedelta = timedelta(0)) -> tuple[Deletion, ...]:
    return tuple(Deletion(f"w{n}", f"uid-{n}", NOW - age) for n in range(count))


@pytest.mark.parametrize(
    ("managed", "limit"), [(0, 1), (1, 1), (19, 1), (20, 2), (100, 10), (5000, 500)]
)
def test_the_limit_is_a_share_of_the_nodes_and_at_least_one(managed: int, limit: int) -> None:
    assert budget(Record(), managed, TENTH, NOW).limit == limit


def test_nodes_that_went_still_count_as_nodes() -> None:
    assert budget(Record(deletions(10)), 90, TENTH, NOW).limit == 10


def test_deletions_count_for_an_hour() -> None:
    record = Record((*deletions(1, age=WINDOW), *deletions(1, age=WINDOW - timedelta(seconds=1))))

    assert budget(record, 100, TENTH, NOW).used == 1


def test_a_clock_that_was_ahead_costs_nobody_a_node() -> None:
    record = Record(deletions(1, age=-timedelta(days=1)))

    assert not budget(record, 10, TENTH, NOW).has_room


def test_the_budget_latches_when_one_more_wants_to_go() -> None:
    record, granted = claim(Record(), node("a"), 10, TENTH, NOW)
    assert granted
    assert record.latched is None

    record, granted = claim(record, node("b"), 9, TENTH, NOW)
    assert not granted
    assert record.latched == NOW
    assert [one.node for one in record.deletions] == ["a"]


def test_a_latch_outlasts_the_hour() -> None:
    record = Record(latched=NOW - timedelta(days=1))

    after, granted = claim(record, node(), 100, TENTH, NOW)

    assert not granted
    assert after.latched == NOW - timedelta(days=1)


def test_a_second_try_is_no_second_deletion() -> None:
    record, _ = claim(Record(), node("a"), 10, TENTH, NOW)

    again, granted = claim(record, node("a"), 10, TENTH, NOW + timedelta(minutes=1))

    assert granted
    assert len(again.deletions) == 1


def test_what_an_operator_allows_goes_beside_the_budget() -> None:
    latched = Record(deletions(1), latched=NOW)
    allowed = lift(latched, [node("a").uid])

    after, granted = claim(allowed, node("a"), 10, TENTH, NOW)

    assert granted
    assert budget(after, 10, TENTH, NOW).used == 1
    assert not claim(after, node("b"), 10, TENTH, NOW)[1]


def test_old_deletions_leave_the_record() -> None:
    record, _ = claim(Record(deletions(5, age=WINDOW)), node("a"), 10, TENTH, NOW)

    assert [one.node for one in record.deletions] == ["a"]


def test_a_latch_ends_what_was_allowed_and_keeps_its_time() -> None:
    record = latch(Record(deletions(1), allowed=frozenset({"x"})), NOW)

    assert record == Record(deletions(1), latched=NOW)
    assert latch(record, NOW + WINDOW) == record


def test_lifting_ends_what_was_allowed_before() -> None:
    assert lift(Record(latched=NOW, allowed=frozenset({"x"}))) == Record()


# ---- as text -----------------------------------------------------------------------------------

moments = st.integers(-(10**8), 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds))
records = structs(
    Record,
    deletions=st.lists(
        structs(Deletion, st.text(), st.text(), moments, st.booleans()), max_size=3
    ).map(tuple),
    latched=st.none() | moments,
    allowed=st.frozensets(st.text(), max_size=3),
    events=st.dictionaries(st.text(), st.text(), max_size=3),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert parse_record(format_record(record)) == record


def test_no_record_is_an_empty_one() -> None:
    assert parse_record("") == Record()


@pytest.mark.parametrize("more", ["", ',"events":{}', ',"later":[7]'])
def test_a_record_of_another_version_is_read(more: str) -> None:
    assert parse_record('{"deletions":[],"latched":null,"allowed":[]' + more + "}") == Record()


@given(records)
def test_nothing_that_is_done_to_a_record_forgets_an_event(record: Record) -> None:
    after, _ = claim(latch(lift(record), NOW), node(), 10, TENTH, NOW)

    assert after.events == record.events


@given(records, st.dictionaries(st.text(), st.text(), max_size=3))
def test_newer_events_take_the_place_of_older_ones(record: Record, events: dict[str, str]) -> None:
    after = saw(record, events)

    assert events.items() <= after.events.items()
    assert record.events.keys() <= after.events.keys()
    assert replace(after, events={}) == replace(record, events={})


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{}",
        "[]",
        "null",
        '{"deletions":[],"latched":null}',
        '{"deletions":[{}],"latched":null,"allowed":[]}',
        '{"deletions":[7],"latched":null,"allowed":[]}',
        '{"deletions":[],"latched":"yesterday","allowed":[]}',
        '{"deletions":7,"latched":null,"allowed":[]}',
        '{"deletions":[],"latched":7,"allowed":[]}',
        '{"deletions":[],"latched":null,"allowed":[],"events":7}',
    ],
)
def test_an_unreadable_record_is_an_error(text: str) -> None:
    with pytest.raises(RecordUnreadable):
        parse_record(text)


@given(st.lists(st.integers(0, 30)), st.integers(0, 300), st.integers(0, 100))
def test_no_order_of_claims_exceeds_the_budget(
    uids: list[int], managed: int, percent: int
) -> None:
    record = Record()
    granted: set[str] = set()
    share = Share(percent)
    for uid in uids:
        one = node(f"w{uid}")
        record, may = claim(record, one, managed - len(granted - {one.uid}), share, NOW)
        granted |= {one.uid} if may else set()
        assert not may or record.latched is None

    assert len(granted) <= max(1, share.of(max(managed, len(granted))))
    assert len(granted) == len({one.uid for one in record.deletions})


def test_a_used_up_budget_without_a_latch_still_lets_a_retry_through() -> None:
    record = replace(Record(), deletions=(Deletion("a", node("a").uid, NOW),))

    assert claim(record, node("a"), 5, TENTH, NOW)[1]
