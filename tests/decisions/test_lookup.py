"""Which instance a key means."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from provider.decisions.addresses import instance_addresses
from provider.decisions.identity import directory
from provider.decisions.lookup import Absent, Ambiguous, By, Found, Known, Unknown, look_up
from provider.decisions.members import Index, Member
from provider.model import ANNOTATION_ENGINE, Instance, Interface, Unreadable
from tests.builders import config, instance, node, snapshot, uuid_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provider.decisions.identity import Directory
    from provider.model import Node

ID = uuid_of("worker-1")
OTHER = uuid_of("worker-2")


def index_of(there: Directory) -> Index:
    """The index of all members of these listings."""
    index = Index()
    for name, listed in there.snapshots.items():
        for vm in listed.instances.values():
            shared = listed.shared_addresses
            index.put(Member(name, vm, instance_addresses(vm, config().addresses, shared)))
        for odd in listed.unreadable.values():
            index.put(Member(name, odd))
    return index


def known_of(
    there: Directory,
    *nodes: Node,
    failing: Mapping[str, str] | None = None,
    are_nodes_listed: bool = True,
) -> Known:
    """All that these listings and Nodes tell."""
    by_name = {one.name: one for one in nodes}
    return Known(there, failing or {}, index_of(there), by_name, are_nodes_listed)


def listed(*vms: Instance, unreadable: Iterable[Unreadable] = (), silent: str = "") -> Directory:
    """One engine that has these, and perhaps another that has not answered."""
    engines = {"east": "", **({silent: "west is away."} if silent else {})}
    return directory([snapshot(*vms, unreadable=unreadable)], engines, match_fqdn=False)


@pytest.mark.parametrize(
    ("key", "by"),
    [
        (ID, By.ID),
        (ID.upper().replace("-", ""), By.ID),
        ("worker-1", By.NAME),
        (f"ovirt:///{ID}", By.PROVIDER_ID),
        ("node-1", By.NODE),
        (str(UUID(bytes=UUID(ID).bytes_le)), By.SYSTEM_UUID),
        ("10.0.0.1", By.IP),
        ("FD00:0::1", By.IP),
        ("::ffff:10.0.0.1", By.IP),
    ],
)
def test_each_kind_of_key_is_tried(key: str, by: By) -> None:
    vm = instance("worker-1", ips=("10.0.0.1", "fd00::1"))
    named = node("node-1", system_uuid=ID)
    known = known_of(listed(vm, instance("worker-2", ips=())), named)

    expected = Found(Member("east", vm, known.index.by_id[ID][f"east/{ID}"].addresses), by)
    assert look_up(key, None, known) == look_up(key, by, known) == expected


def test_the_first_kind_that_fits_decides() -> None:
    first, second = instance("worker-1"), instance("worker-2", ips=())
    known = known_of(listed(first, second), node("worker-1", system_uuid=OTHER))

    assert isinstance(answer := look_up("worker-1", None, known), Found)
    assert (answer.member.instance, answer.by) == (first, By.NAME)


def test_a_node_that_is_still_to_come_has_the_name_that_it_will_get() -> None:
    known = known_of(listed(instance("Web_1")))

    assert isinstance(answer := look_up("web-1", None, known), Found)
    assert answer.by is By.NODE


def test_the_address_of_a_node_counts_more_than_what_a_guest_merely_reports() -> None:
    docker = Interface("docker0", None, (ip_address("10.0.0.1"),))
    known = known_of(
        listed(instance("worker-1"), instance("worker-2", ips=(), interfaces=(docker,)))
    )

    assert isinstance(answer := look_up("10.0.0.1", None, known), Found)
    assert answer.member.instance.name == "worker-1"


def test_what_several_guests_report_is_ambiguous() -> None:
    docker = Interface("docker0", None, (ip_address("172.17.0.1"),))
    vms = [instance(f"worker-{n}", ips=(), interfaces=(docker,)) for n in (1, 2)]

    assert isinstance(answer := look_up("172.17.0.1", None, known_of(listed(*vms))), Ambiguous)
    assert len(answer.candidates) == 2


def test_an_id_that_two_engines_have_is_ambiguous() -> None:
    east = snapshot(instance("worker-1"))
    west = snapshot(instance("worker-1", engine="west"), engine="west", engine_id="west")
    both = directory([east, west], {"east": "", "west": ""}, match_fqdn=False)

    assert isinstance(look_up(ID, None, known_of(both)), Ambiguous)


def test_an_ambiguous_node_tells_its_candidates() -> None:
    disputed = node("worker-2", system_uuid=ID)
    known = known_of(listed(instance("worker-1"), instance("worker-2", ips=())), disputed)

    assert isinstance(answer := look_up("worker-2", By.NODE, known), Ambiguous)
    assert {one.instance.name for one in answer.candidates} == {"worker-1", "worker-2"}


# ---- ignorance ---------------------------------------------------------------------------------


def test_a_silent_engine_leaves_an_id_certain_and_a_name_not() -> None:
    known = known_of(listed(instance("worker-1"), silent="west"))

    assert isinstance(look_up(ID, None, known), Found)
    assert isinstance(look_up("worker-1", None, known), Unknown)
    assert isinstance(look_up("10.0.0.1", None, known), Unknown)
    assert isinstance(look_up(OTHER, None, known), Unknown)


def test_why_an_engine_is_silent_is_said_as_of_now() -> None:
    known = known_of(listed(silent="west"), failing={"west": "west refuses us."})

    assert isinstance(answer := look_up(OTHER, None, known), Unknown)
    assert "west refuses us." in answer.reason


def test_while_listing_fails_nothing_is_absent_and_what_was_known_is_found() -> None:
    known = known_of(listed(instance("worker-1")), failing={"east": "east is away."})

    assert isinstance(look_up("worker-1", None, known), Found)
    assert look_up(OTHER, None, known) == Unknown(
        "an engine that may have it is not listed now: east is away.", OTHER
    )


def test_the_node_of_another_engine_has_no_doubt_of_this_one() -> None:
    east = snapshot(instance("worker-1"))
    west = snapshot(engine="west", engine_id="west")
    both = directory([east, west], {"east": "", "west": ""}, match_fqdn=False)
    gone = node(
        "worker-9", provider_id=f"ovirt://{OTHER}", annotations={ANNOTATION_ENGINE: "west"}
    )
    known = known_of(both, gone, failing={"east": "east is away."})

    assert isinstance(answer := look_up("worker-9", By.NODE, known), Absent)
    assert answer.instance_id == OTHER
    assert isinstance(look_up("worker-9", None, known), Unknown)


@pytest.mark.parametrize(
    ("key", "by"),
    [("x", By.ID), ("aws:///i-0", By.PROVIDER_ID), ("x", By.IP), ("x", By.SYSTEM_UUID)],
)
def test_what_no_vm_can_have_is_absent_whatever_is_known(key: str, by: By) -> None:
    assert isinstance(look_up(key, by, known_of(listed(silent="west"))), Absent)


def test_nodes_that_are_not_listed_make_a_node_name_unknown() -> None:
    known = known_of(listed(instance("Web_1")), are_nodes_listed=False)

    assert isinstance(look_up("web-1", None, known), Unknown)
    assert isinstance(look_up("Web_1", None, known), Found)


def test_a_vm_that_cannot_be_understood_is_found_and_makes_addresses_unknown() -> None:
    odd = Unreadable(OTHER, "worker-2", "no status")
    known = known_of(listed(instance("worker-1"), unreadable=[odd]))

    assert isinstance(answer := look_up("worker-2", None, known), Found)
    assert answer.member.instance == odd
    assert isinstance(look_up("10.9.9.9", By.IP, known), Unknown)
    assert isinstance(look_up("worker-9", By.NAME, known), Absent)


def test_a_vm_without_a_name_that_cannot_be_understood_makes_names_unknown() -> None:
    known = known_of(listed(unreadable=[Unreadable(OTHER, None, "no status")]))

    assert isinstance(look_up("worker-9", None, known), Unknown)
    assert isinstance(look_up(ID, None, known), Unknown)  # a name may look like an id
    assert isinstance(look_up(ID, By.ID, known), Absent)
    for by in (None, By.NAME, By.NODE):
        assert isinstance(look_up(f"ovirt://{ID}", by, known), Absent)


def test_a_node_whose_engine_is_not_known_is_unknown() -> None:
    lost = node("worker-9", system_uuid=OTHER, annotations={ANNOTATION_ENGINE: "gone"})
    known = known_of(listed(instance("worker-1")), lost)

    assert isinstance(answer := look_up("worker-9", By.NODE, known), Unknown)
    assert answer.instance_id == OTHER
    assert "gone is not configured" in answer.reason
