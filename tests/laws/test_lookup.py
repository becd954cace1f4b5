"""Laws of looking instances up, whatever the engines and the cluster hold."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from provider.decisions.identity import parse_provider_id, parse_uuid
from provider.decisions.lookup import Absent, Ambiguous, By, Found, Known, Unknown, look_up
from provider.decisions.members import Index, Member
from provider.model import Instance
from tests.decisions.test_lookup import known_of
from tests.laws.strategies import (
    ENGINES,
    IDS,
    NAMES,
    clusters_of_nodes,
    directories,
    instances,
    ips,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.decisions.identity import Directory
    from provider.model import Node

keys = st.one_of(
    st.sampled_from([*NAMES, *IDS, "n", "web-1"]),
    st.sampled_from(IDS).map(str.upper),
    st.sampled_from(IDS).map("ovirt://{}".format),
    ips.map(str),
    st.text(max_size=8),
)
kinds = st.sampled_from([None, *By])


def is_address(key: str) -> bool:
    try:
        ip_address(key)
    except ValueError:
        return False
    return True


@st.composite
def worlds(draw: st.DrawFn) -> Known:
    """Everything that may be known at some time."""
    there: Directory = draw(directories())
    nodes: Mapping[str, Node] = draw(clusters_of_nodes)
    failing = draw(st.dictionaries(st.sampled_from(sorted(ENGINES)), st.just("it is away.")))
    is_listed = draw(st.sampled_from([True, True, True, False]))
    return known_of(there, *nodes.values(), failing=failing, are_nodes_listed=is_listed)


@given(keys, worlds())
def test_without_a_kind_the_first_that_fits_anything_decides(key: str, known: Known) -> None:
    answer = look_up(key, None, known)
    by_kind = [look_up(key, by, known) for by in By]
    decisive = (one for one in by_kind if isinstance(one, Found | Ambiguous))
    if isinstance(answer, Found | Ambiguous):
        assert answer == next(decisive)
    if isinstance(answer, Absent):
        assert all(isinstance(one, Absent) for one in by_kind)


@given(keys, kinds, worlds())
def test_nothing_is_absent_that_an_engine_could_have_which_cannot_say_so(
    key: str, by: By | None, known: Known
) -> None:
    if not isinstance(look_up(key, by, known), Absent) or by is By.NODE:
        return
    is_possible = {
        By.ID: parse_uuid(key),
        By.SYSTEM_UUID: parse_uuid(key),
        By.PROVIDER_ID: parse_provider_id(key),
        By.IP: is_address(key),
    }.get(by or By.NAME, True)
    failing = known.failing.keys() & known.directory.snapshots.keys()
    assert not (is_possible and (known.directory.silent or failing))


@given(kinds, worlds())
def test_what_is_selected_is_never_absent(by: By | None, known: Known) -> None:
    for member in known.index.members.values():
        assert not isinstance(look_up(member.instance.id, None, known), Absent | Unknown)
        if by in (By.ID, By.PROVIDER_ID, By.SYSTEM_UUID):
            found = look_up(member.instance.id, by, known)
            assert isinstance(found, Found | Ambiguous)


@given(keys, kinds, worlds())
def test_what_is_found_has_the_key(key: str, by: By | None, known: Known) -> None:
    answer = look_up(key, by, known)
    if not isinstance(answer, Found):
        return
    assert by in (None, answer.by)
    vm = answer.member.instance
    match answer.by:
        case By.ID | By.PROVIDER_ID:
            assert parse_provider_id(key) == vm.id
        case By.NAME:
            assert vm.name == key
            assert not known.directory.silent
        case By.IP:
            assert isinstance(vm, Instance)
            assert key in {str(a) for one in vm.interfaces for a in one.addresses}


@given(keys, kinds, worlds())
def test_what_is_ambiguous_has_candidates_to_choose_from(
    key: str, by: By | None, known: Known
) -> None:
    answer = look_up(key, by, known)
    if isinstance(answer, Ambiguous):
        assert len({one.key for one in answer.candidates}) == len(answer.candidates)
        assert by in (None, By.NODE) or len(answer.candidates) > 1


members = st.one_of(
    st.builds(Member, st.sampled_from(sorted(ENGINES)), instances),
    st.builds(Member, st.sampled_from(sorted(ENGINES)), unreadable),
)


removals = st.builds(str.__add__, st.sampled_from(["east/", "west/"]), st.sampled_from(IDS))


@given(st.lists(members | removals))
def test_an_index_that_was_kept_true_is_as_one_made_anew(
    steps: list[Member | str],
) -> None:
    kept, there = Index(), dict[str, Member]()
    for step in steps:
        if isinstance(step, str):
            kept.remove(step)
            there.pop(step, None)
        else:
            kept.put(step)
            there[step.key] = step
    anew = Index()
    for member in there.values():
        anew.put(member)
    for name in ("members", "by_id", "by_name", "by_node_name", "by_address", "by_report"):
        assert getattr(kept, name) == getattr(anew, name)
    assert kept.unreadable == anew.unreadable
