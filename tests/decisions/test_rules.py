import json
from collections.abc import Mapping
from typing import Any

import pytest

from provider.decisions.rules import (
    Record,
    Settlement,
    effects,
    read_record,
    record_of,
    settle,
    taint_text,
)
from provider.model import ANNOTATION_APPLIED, NOTHING_WANTED, Level, Node, Tag, Taint, Wanted
from provider.reasons import Reason
from provider.rules import Rule
from tests.builders import UNINITIALIZED, instance, node

GPU = "example.com/gpu"
RACK = "example.com/rack"
NO_SCHEDULE = Taint(GPU, "NoSchedule", "true")
TAGGED = Rule(tag="gpu", labels={GPU: "true"}, taints=(f"{GPU}=true:NoSchedule",))
RACKED = Rule(custom_property="rack", label=RACK)
WANTED = Wanted({GPU: "true"}, (NO_SCHEDULE,))
APPLIED = {ANNOTATION_APPLIED: record_of(WANTED) or ""}


def plain(**facts: Any) -> Node:
    """A node without anything of the program."""
    return node("worker-1", **({"taints": ()} | facts))


# ---- what the rules want -----------------------------------------------------------------------


def test_a_tag_gives_its_labels_and_taints_and_says_from_which_rule() -> None:
    found = effects(instance(tags=frozenset({Tag("gpu", "docker-host")})), [TAGGED])

    assert found.wanted == WANTED
    assert found.origins == {GPU: "tag gpu", f"{GPU}=true:NoSchedule": "tag gpu"}


def test_a_property_gives_its_value() -> None:
    found = effects(instance(properties=(("rack", "r7"),)), [RACKED])

    assert found.wanted == Wanted({RACK: "r7"})
    assert found.notices == {}


def test_a_value_that_is_no_label_value_becomes_one_and_that_is_said() -> None:
    found = effects(instance(properties=(("rack", "Süd 7"),)), [RACKED])

    value = found.wanted.labels[RACK]
    assert value.startswith("S-d-7-")
    assert found.notices[RACK].reason is Reason.LABEL_VALUE_CHANGED
    assert value in found.notices[RACK].message


@pytest.mark.parametrize("properties", [(), (("rack", ""),), (("Rack", "r7"),)])
def test_without_a_value_of_its_property_a_rule_wants_nothing(
    properties: tuple[tuple[str, str], ...],
) -> None:
    assert effects(instance(properties=properties), [TAGGED, RACKED]).wanted is NOTHING_WANTED


@pytest.mark.parametrize(("value", "labels"), [("ssd", {"disk": "fast"}), ("hdd", {})])
def test_a_rule_may_ask_for_one_value_only(value: str, labels: Mapping[str, str]) -> None:
    rule = Rule(custom_property="disk", value="ssd", labels={"disk": "fast"})

    assert effects(instance(properties=(("disk", value),)), [rule]).wanted.labels == labels


def test_of_two_rules_that_disagree_the_first_counts() -> None:
    first = Rule(custom_property="rack", labels={RACK: "a"}, taints=("x=1:NoExecute",))
    second = Rule(custom_property="rack", label=RACK, taints=("x=2:NoExecute", "x:NoSchedule"))
    found = effects(instance(properties=(("rack", "ö"),)), [first, second])

    assert found.wanted.labels == {RACK: "a"}
    assert found.wanted.taints == (Taint("x", "NoExecute", "1"), Taint("x", "NoSchedule"))
    assert found.notices == {}


# ---- the record --------------------------------------------------------------------------------


def test_the_record_reads_as_it_was_written() -> None:
    record = read_record(plain(annotations=APPLIED))

    assert record.labels == {GPU: "true"}
    assert record.taints == {(GPU, "NoSchedule"): NO_SCHEDULE}
    assert APPLIED[ANNOTATION_APPLIED] == (
        '{"labels":{"example.com/gpu":"true"},"taints":["example.com/gpu=true:NoSchedule"]}'
    )


def test_nothing_has_no_record() -> None:
    assert record_of(NOTHING_WANTED) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"labels":[1]}', '{"taints":1}', '{"taints":[1]}']
)
def test_a_record_that_cannot_be_read_claims_nothing(text: str) -> None:
    assert read_record(plain(annotations={ANNOTATION_APPLIED: text})) == Record()


def test_a_record_claims_nothing_that_no_rule_may_write() -> None:
    forged = {
        "labels": {"kubernetes.io/hostname": "worker-1"},
        "taints": ["node.kubernetes.io/not-ready:NoExecute", taint_text(UNINITIALIZED)],
    }

    assert read_record(plain(annotations={ANNOTATION_APPLIED: json.dumps(forged)})) == Record()


# ---- what is to be written ---------------------------------------------------------------------


def test_what_is_missing_is_written_and_recorded() -> None:
    others = Taint("others", "NoSchedule")

    assert settle(plain(taints=(others,)), WANTED) == Settlement(
        labels={GPU: "true"},
        taints=(others, NO_SCHEDULE),
        record=APPLIED[ANNOTATION_APPLIED],
        changes=(
            f"label {GPU}: none -> true",
            f"taint {GPU}=true:NoSchedule: added",
        ),
    )


def test_what_is_there_needs_nothing() -> None:
    settled = plain(labels={GPU: "true"}, taints=(NO_SCHEDULE,), annotations=APPLIED)

    assert settle(settled, WANTED).changes == ()
    assert settle(plain(labels={"a": "b"}), NOTHING_WANTED) == Settlement()


def test_what_no_rule_wants_any_more_goes() -> None:
    others = Taint("others", "NoSchedule")
    settled = plain(
        labels={GPU: "true", "a": "b"}, taints=(NO_SCHEDULE, others), annotations=APPLIED
    )

    assert settle(settled, NOTHING_WANTED) == Settlement(
        labels={GPU: None},
        taints=(others,),
        record=None,
        changes=(
            f"label {GPU}: true -> none",
            f"taint {GPU}=true:NoSchedule: removed",
        ),
    )


def test_what_somebody_else_has_changed_since_stays_when_the_rule_goes() -> None:
    changed = plain(
        labels={GPU: "mine"}, taints=(Taint(GPU, "NoSchedule", "mine"),), annotations=APPLIED
    )
    found = settle(changed, NOTHING_WANTED)

    assert found.labels == {}
    assert found.taints == changed.taints
    assert found.record is None
    assert found.changes == ("rules: the record of what is theirs is brought up to date",)


def test_what_is_ours_follows_its_rule_and_is_mended() -> None:
    settled = plain(
        labels={GPU: "drifted"}, taints=(Taint(GPU, "NoSchedule"),), annotations=APPLIED
    )
    found = settle(settled, Wanted({GPU: "2"}, (Taint(GPU, "NoSchedule", "2"),)))

    assert found.labels == {GPU: "2"}
    assert found.taints == (Taint(GPU, "NoSchedule", "2"),)
    assert found.changes == (
        f"label {GPU}: drifted -> 2",
        f"taint {GPU}=2:NoSchedule: added",
    )


def test_what_somebody_else_set_before_is_not_taken_over_and_that_is_said() -> None:
    foreign = plain(labels={GPU: ""}, taints=(Taint(GPU, "NoSchedule"),))
    found = settle(foreign, WANTED)

    assert (found.labels, found.taints, found.record) == ({}, foreign.taints, None)
    assert found.changes == ()
    assert {(one.level, one.reason) for one in found.notices} == {
        (Level.WARNING, Reason.RULE_CONFLICT)
    }
    assert [one.message.split(",")[0] for one in found.notices] == [
        f"label {GPU} is ''",
        f"taint {GPU}:NoSchedule is ''",
    ]


def test_what_somebody_else_set_to_the_same_value_stays_his() -> None:
    foreign = plain(labels={GPU: "true"}, taints=(NO_SCHEDULE,))

    assert settle(foreign, WANTED) == Settlement(taints=foreign.taints)


def test_the_time_at_which_a_taint_was_added_is_kept() -> None:
    timed = Taint(GPU, "NoSchedule", "true", "2026-05-04T12:00:00Z")

    assert settle(plain(taints=(timed,)), WANTED).taints == (timed,)


def test_a_record_that_cannot_be_read_is_written_anew() -> None:
    odd = plain(annotations={ANNOTATION_APPLIED: "odd"})

    assert settle(odd, NOTHING_WANTED).record is None
    assert len(settle(odd, NOTHING_WANTED).changes) == 1
