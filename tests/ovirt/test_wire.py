from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.errors import ReplyUnusable
from provider.model import Unreadable
from provider.ovirt import wire
from tests.builders import uuid_of
from tests.ovirt.recordings import FOLLOWED_LIST, body


def page(*vms: dict[str, Any]) -> bytes:
    return json.dumps({"vm": vms}).encode()


def test_every_vm_of_a_recorded_list_is_read() -> None:
    vms = wire.read_page("east", body(FOLLOWED_LIST))

    assert len(vms) == 23
    assert not any(isinstance(vm, Unreadable) for vm in vms)


@pytest.mark.parametrize("empty", [b"{ }", b"{}", b'{"vm":[]}', b'{ "vm" : [ ] }'])
def test_an_empty_list_is_empty(empty: bytes) -> None:
    assert wire.read_page("east", empty) == []


@pytest.mark.parametrize(
    "other",
    [b"", b"null", b"[]", b'"vm"', b'{"detail":"x"}', b"<html>", b"\xff\xfe", b'{"vm":{}}'],
)
def test_what_is_no_list_is_no_empty_list(other: bytes) -> None:
    with pytest.raises(ReplyUnusable):
        wire.read_page("east", other)


def test_a_list_that_is_cut_anywhere_is_unusable() -> None:
    whole = body(FOLLOWED_LIST)

    for end in range(0, len(whole) - 1, 1000):
        with pytest.raises(ReplyUnusable):
            wire.read_page("east", whole[:end])


@given(st.binary(max_size=200))
def test_no_bytes_at_all_crash_it(noise: bytes) -> None:
    try:
        wire.read_page("east", noise)
        wire.read("east", wire.Tags, noise)
        wire.read_vm("east", noise)
    except ReplyUnusable:
        pass


def test_numbers_are_read_from_text_and_from_numbers() -> None:
    topology = {"sockets": 1, "cores": "2", "threads": "1"}
    vm = {"id": uuid_of("w1"), "memory": "2147483648", "cpu": {"topology": topology}}

    old, new = wire.read_page("east", page(vm, vm | {"id": uuid_of("w2"), "memory": 2147483648}))

    assert isinstance(old, wire.Vm)
    assert isinstance(new, wire.Vm)
    assert old.memory == new.memory == 2147483648
    assert old.cpu == wire.Cpu(wire.CpuTopology(1, 2, 1))


def test_one_odd_vm_costs_only_itself() -> None:
    odd = {"id": uuid_of("odd"), "name": "odd", "memory": {"unit": "GiB"}}

    first, second, third = wire.read_page(
        "east", page({"id": uuid_of("w1")}, odd, {"id": uuid_of("w2")})
    )

    assert isinstance(first, wire.Vm)
    assert isinstance(third, wire.Vm)
    assert isinstance(second, Unreadable)
    assert (second.id, second.name) == (uuid_of("odd"), "odd")
    assert "memory" in second.reason


def test_a_vm_without_id_is_known_by_its_address() -> None:
    vm = {"href": f"/ovirt-engine/api/vms/{uuid_of('w1')}", "name": "w1"}

    (found,) = wire.read_page("east", page(vm))

    assert isinstance(found, Unreadable)
    assert found.id == uuid_of("w1")


@pytest.mark.parametrize("vm", [{"name": "w1"}, {"id": "w1"}, {"id": 1}, {"id": None}])
def test_a_vm_that_cannot_be_named_makes_the_list_unusable(vm: dict[str, Any]) -> None:
    with pytest.raises(ReplyUnusable, match="without an id"):
        wire.read_page("east", page({"id": uuid_of("w2")}, vm))


def test_a_list_of_things_that_are_no_vms_is_unusable() -> None:
    with pytest.raises(ReplyUnusable):
        wire.read_page("east", b'{"vm":[1]}')


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (uuid_of("w1"), True),
        (uuid_of("w1").upper(), True),
        (uuid_of("w1").replace("-", ""), False),
        ("../hosts", False),
    ],
)
def test_only_uuids_with_dashes_may_be_asked_for(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert wire.is_uuid(text) is is_one


def test_a_cluster_needs_its_name() -> None:
    with pytest.raises(ReplyUnusable, match="name"):
        wire.read("east", wire.Clusters, b'{"cluster":[{"id":"1"}]}')
