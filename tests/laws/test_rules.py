"""The rules on any node: they are settled at once, and nobody else's is ever theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.decisions.plan import apply, plan
from provider.decisions.rules import read_record
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    NOTHING_WANTED,
    Node,
    Taint,
    Wanted,
)
from tests.builders import ENGINE_ID, internal, metadata, node
from tests.laws.strategies import structs

KEYS = ("a", "example.com/b", "node-role.kubernetes.io/c")
VALUES = ("", "x", "y")
EFFECTS = ("NoSchedule", "NoExecute")

taints = structs(
    Taint, st.sampled_from(KEYS), st.sampled_from(EFFECTS), st.sampled_from([None, "x", "y"])
)
taint_lists = st.lists(taints, max_size=3, unique_by=lambda t: (t.key, t.effect)).map(tuple)
label_maps = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
wants = structs(Wanted, label_maps, taint_lists) | st.just(NOTHING_WANTED)
nodes = st.builds(
    node,
    labels=label_maps,
    taints=taint_lists,
    addresses=st.just(internal("10.0.0.1")),
    provider_id=st.just(metadata().provider_id),
    annotations=st.just({ANNOTATION_ENGINE: ENGINE_ID}),
)


def after(node: Node, wanted: Wanted) -> Node:
    patch = plan(node, metadata(wanted=wanted)).patch
    return apply(node, patch) if patch else node


def labels_of(node: Node) -> set[tuple[str, str]]:
    return set(node.labels.items())


def taints_of(node: Node) -> set[tuple[str, str, str]]:
    return {(t.key, t.effect, t.value or "") for t in node.taints}


@given(nodes, st.lists(wants, max_size=3), wants)
def test_what_is_settled_needs_nothing(node: Node, before: list[Wanted], wanted: Wanted) -> None:
    for each in (*before, wanted):
        node = after(node, each)
    assert plan(node, metadata(wanted=wanted)).patch is None


@given(nodes, st.lists(wants, max_size=4))
def test_when_all_rules_go_the_node_is_as_it_was(node: Node, history: list[Wanted]) -> None:
    now = node
    for each in history:
        now = after(now, each)
    now = after(now, NOTHING_WANTED)
    assert (now.labels, now.annotations) == (node.labels, node.annotations)
    assert taints_of(now) == taints_of(node)


@given(nodes, st.lists(wants, min_size=1, max_size=4))
def test_what_others_have_set_is_there_whatever_the_rules_want(
    node: Node, history: list[Wanted]
) -> None:
    now = node
    for each in history:
        now = after(now, each)
        assert labels_of(node) <= labels_of(now)
        assert taints_of(node) <= taints_of(now)


@given(nodes, wants)
def test_what_a_rule_wants_is_there_or_another_has_its_place(node: Node, wanted: Wanted) -> None:
    now = after(node, wanted)
    for label, value in wanted.labels.items():
        assert now.labels[label] == node.labels.get(label, value)
    places = {(t.key, t.effect) for t in now.taints}
    assert {(t.key, t.effect) for t in wanted.taints} <= places


@given(nodes, wants, wants, label_maps, taint_lists)
def test_what_others_set_meanwhile_in_free_places_survives_every_rule(
    node: Node, first: Wanted, second: Wanted, labels: dict[str, str], more: tuple[Taint, ...]
) -> None:
    between = after(node, first)
    record = read_record(between)
    theirs = {k: v for k, v in labels.items() if k not in record.labels}
    added = tuple(t for t in more if (t.key, t.effect) not in record.taints)
    places = {(t.key, t.effect) for t in added}
    kept = tuple(t for t in between.taints if (t.key, t.effect) not in places)
    edited = replace(between, labels={**between.labels, **theirs}, taints=(*kept, *added))
    now = after(edited, second)
    assert theirs.items() <= now.labels.items()
    assert set(added) <= set(now.taints)


@given(nodes, st.text() | st.sampled_from(['{"labels":{"kubernetes.io/os":"linux"}}']))
def test_no_text_in_the_annotation_does_harm_or_stays(node: Node, text: str) -> None:
    odd = replace(
        node,
        annotations={**node.annotations, ANNOTATION_APPLIED: text},
        labels={**node.labels, "kubernetes.io/os": "linux"},
    )
    now = after(odd, NOTHING_WANTED)
    assert ANNOTATION_APPLIED not in now.annotations
    assert now.labels == odd.labels
    assert taints_of(now) == taints_of(odd)
