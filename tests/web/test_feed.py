"""What a reader of the changes is told, whatever happens to the catalogue and to the reader."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from provider.web.changes import KINDS
from provider.web.feed import PIECE, Feed
from tests.web.following import REMEMBERED, ROW, Follower, SetRows


class Following:
    """A catalogue and a reader who follows it."""

    def __init__(self, *keys: tuple[str, str], kinds: frozenset[str] = KINDS) -> None:
        self.rows = SetRows()
        self.follower = Follower()
        self._kinds = kinds
        for key in keys:
            self.rows.put(*key)
        self.connect()

    @property
    def told(self) -> list[str]:
        return self.follower.told

    def connect(self) -> None:
        self.follower.cut_off()
        self.feed = Feed(self.rows, self._kinds, self.follower.last_id)

    def catch_up(self) -> None:
        """Tell all that there is to tell."""
        while (piece := self.feed.take()) is not None:
            assert len(piece) < PIECE + 2 * ROW
            self.follower.read(piece)

    def require_truth(self) -> None:
        assert self.follower.rows == self.rows.rows
        assert self.follower.repeated == 0


def knowing(*keys: tuple[str, str], kinds: frozenset[str] = KINDS) -> Following:
    """A reader who has been told of these rows."""
    following = Following(*keys, kinds=kinds)
    following.catch_up()
    following.told.clear()
    return following


def test_a_new_reader_is_told_everything_between_reset_and_synced() -> None:
    following = Following(("instance", "east/1"), ("node", "w1"))

    following.catch_up()

    assert following.told == ["reset", "instance", "node", "synced"]
    assert following.follower.last_id == "e1-2"
    following.require_truth()


def test_nobody_resumes_in_the_middle_of_a_picture() -> None:
    following = Following(("instance", "east/1"))

    for _ in range(2):
        following.follower.read(following.feed.take() or b"")

    assert following.told == ["reset", "instance"]
    assert following.follower.last_id == ""


def test_what_changes_meanwhile_belongs_to_the_picture() -> None:
    following = Following(("instance", "east/1"), ("instance", "east/2"), ("node", "w1"))

    following.follower.read(following.feed.take() or b"")
    following.rows.put("instance", "east/2")
    following.rows.remove("node", "w1")
    following.catch_up()

    assert following.told == ["reset", "instance", "instance", "node-removed", "synced"]
    following.require_truth()


def test_a_slow_reader_is_told_once_of_a_row_that_changed_often() -> None:
    following = knowing(("instance", "east/1"), ("node", "w1"))

    for _ in range(10):
        following.rows.put("instance", "east/1")
    following.catch_up()

    assert following.told == ["instance"]
    following.require_truth()


def test_a_reader_who_resumes_is_told_what_it_missed_and_nothing_else() -> None:
    following = knowing(("instance", "east/1"), ("node", "w1"))

    following.rows.remove("instance", "east/1")
    following.connect()
    following.catch_up()

    assert following.told == ["instance-removed"]
    following.require_truth()


def test_a_reader_who_is_cut_off_between_two_changes_misses_none() -> None:
    following = knowing(("instance", "east/1"), ("node", "w1"))

    following.rows.put("instance", "east/1")
    following.rows.put("node", "w1")
    first, end, _ = (following.feed.take() or b"").partition(b"\n\n")
    following.follower.read(first + end)
    following.connect()
    following.catch_up()

    assert following.told == ["instance", "node"]
    following.require_truth()


def test_many_changes_come_in_pieces() -> None:
    following = knowing()

    for n in range(REMEMBERED):
        following.rows.put("instance", f"east/{n}")
    piece = following.feed.take() or b""

    assert PIECE <= len(piece) < PIECE + 2 * ROW
    following.follower.read(piece)
    following.catch_up()
    following.require_truth()


def test_a_reader_who_was_away_too_long_starts_over() -> None:
    following = knowing(("instance", "east/1"))

    for n in range(REMEMBERED + 1):
        following.rows.put("instance", f"east/{n}")
    following.connect()
    following.catch_up()

    assert (following.told[0], following.told[-1]) == ("reset", "synced")
    following.require_truth()


@pytest.mark.parametrize(
    "last", ["", "e0-1", "e1-99", "e1-", "e1-x", "e1--1", "1", "e1-٣", "e1-" + 5000 * "9"]
)
def test_an_id_that_is_not_known_leads_to_a_full_picture(last: str) -> None:
    rows = SetRows()
    rows.put("instance", "east/1")

    piece = Feed(rows, KINDS, last).take()

    assert piece == b"event: reset\ndata: {}\n\n"


def test_rows_of_other_kinds_are_left_out_and_make_no_reader_start_over() -> None:
    following = knowing(("instance", "east/1"), ("node", "w1"), kinds=frozenset({"node"}))

    for n in range(REMEMBERED + 1):
        following.rows.put("instance", f"east/{n}")
        following.catch_up()
    following.follower.read(following.feed.heartbeat())
    following.connect()
    following.rows.put("node", "w1")
    following.catch_up()

    assert following.told == ["node"]
    assert set(following.follower.rows) == {("node", "w1")}


ROWS = [("engine", "east"), *(("instance", f"east/{n}") for n in range(9)), ("node", "w1")]


class AnyOrder(RuleBasedStateMachine):
    """However rows change, and wherever the reader is cut off, it is told all that is true."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = 0
        self.following = Following()

    @rule(keys=st.lists(st.sampled_from(ROWS), min_size=1, max_size=4))
    def rows_change(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            self.following.rows.put(*key)

    @rule(data=st.data())
    def a_row_goes(self, data: st.DataObject) -> None:
        if rows := sorted(self.following.rows.rows):
            self.following.rows.remove(*data.draw(st.sampled_from(rows)))

    @rule()
    def a_piece_is_read(self) -> None:
        self.following.follower.read(self.following.feed.take() or b"")

    @rule()
    def nothing_happens_for_a_while(self) -> None:
        self.following.catch_up()
        self.following.follower.read(self.following.feed.heartbeat())

    @rule(share=st.floats(0, 1))
    def the_reader_is_cut_off_in_a_piece(self, share: float) -> None:
        piece = self.following.feed.take() or b""
        self.following.follower.read(piece[: round(share * len(piece))])
        self.following.connect()

    @rule()
    def the_controller_starts_anew(self) -> None:
        self.starts += 1
        self.following.rows = SetRows(f"e1-{self.starts}")
        self.following.connect()

    def teardown(self) -> None:
        self.following.catch_up()
        self.following.require_truth()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=25)
