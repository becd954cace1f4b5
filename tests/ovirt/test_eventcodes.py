from __future__ import annotations

import re
from collections import Counter

import pytest

from provider.ovirt import wire
from provider.ovirt.eventcodes import _TABLE, Concern, _codes, concern_of
from provider.simulator.eventlog import SEVERITY_AND_TEXT
from tests.ovirt.recordings import DIRECTORY


def test_no_code_has_two_meanings() -> None:
    counts = Counter(code for _, text in _TABLE for code in _codes(text))

    assert [code for code, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("concern", "codes"),
    [
        (
            Concern.VM,
            [32, 33, 61, 62, 63, 65, 67, 73, 119, 126, 138, 142, 143, 157, 163, 501, 503],
        ),
        (Concern.NEW_VM, [34, 35, 53, 124]),
        (Concern.REMOVED_VM, [113, 1130]),
        (Concern.HOST, [12, 13, 14, 15, 16, 494, 539, 9008, 9027]),
        (Concern.LISTING, [1, 430, 432, 434, 440, 446, 555]),
        (Concern.NOTHING, [2, 30, 31]),
        (Concern.UNKNOWN, [424242]),
    ],
)
def test_each_kind_of_event_is_known(concern: Concern, codes: list[int]) -> None:
    assert {concern_of(code) for code in codes} == {concern}


def test_every_code_that_was_seen_on_a_real_engine_is_known() -> None:
    texts = [path.read_text("utf-8") for path in DIRECTORY.glob("*events*.json")]
    bodies = [text for text in texts if re.match(r'\s*{\s*"event"', text)]
    codes = {
        event.code
        for text in bodies
        for event in wire.read("east", wire.Events, text.encode()).event
    }

    assert len(codes) > 10
    assert {code for code in codes if concern_of(code) is Concern.UNKNOWN} == set()


def test_every_code_that_the_simulated_engine_writes_is_known() -> None:
    unknown = {code for code in SEVERITY_AND_TEXT if concern_of(code) is Concern.UNKNOWN}

    assert unknown == set()
