"""The search language of the simulated engine, as 4.5.8 was seen to read it."""

from __future__ import annotations

import pytest

from provider.simulator.scenario import Scenario
from provider.simulator.search import SearchFailed, find
from provider.simulator.tables import TagExpansion, event_table, host_table, vm_table
from provider.simulator.world import World
from tests.simulator.world import scenario

DOCKER_HOSTS = ["edge-0", "gpu-0", "worker-0", "worker-1", "worker-2"]
EVERYTHING = ["edge-0", "gpu-0", "plain", "worker-0", "worker-1", "worker-2"]


def names(text: str, size: int | None = None, world: World | None = None) -> list[str]:
    world = world or World(scenario())
    found = find(world.vms.values(), vm_table(TagExpansion(world), text), text, size)
    return [vm.name for vm in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", EVERYTHING),
        ("name=worker-1", ["worker-1"]),
        ("NAME = WORKER-1", ["worker-1"]),
        ("name=worker*", ["worker-0", "worker-1", "worker-2"]),
        ("name=worker_1", []),
        ('name="worker-1"', ["worker-1"]),
        ("tag=docker-host", DOCKER_HOSTS),
        ("tag=docker-host-gpu", ["gpu-0"]),
        ("tag=docker*", DOCKER_HOSTS),
        ("tag=DOCKER-HOST", []),
        ("tag=no-such-tag", []),
        ("tag!=docker-host", ["gpu-0", "plain"]),
        ("tag=docker-host and name=*", DOCKER_HOSTS),
        ("cluster=edge", ["edge-0"]),
        ("datacenter=prague name=*-0", ["gpu-0", "worker-0"]),
        ("host=hv-2", ["plain", "worker-1"]),
        ("status=down", ["gpu-0"]),
        ("status!=up", ["gpu-0"]),
        ("ip=10.8.0.11", ["worker-1"]),
        ("fqdn=worker-2.*", ["worker-2"]),
        ("edge", ["edge-0"]),
    ],
)
def test_a_search_finds_what_it_says(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name=plain or name=edge-0 and status=down", ["plain"]),
        ("name=gpu-0 or name=edge-0 status=down", ["gpu-0"]),
        ("tag=docker-host name=plain or name=gpu-0", ["gpu-0"]),
    ],
)
def test_and_binds_before_or_and_neighbours_are_joined_last(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "name=worker* and",
        "or name=worker*",
        "(name=worker*)",
        "name='worker-1'",
        "name=worker-1;",
        "foo=bar",
        "status=powering_up",
        "status=migrating",
        "sortby bogus",
        "sortby name page 1",
        "name=worker* sortby name asc page one",
        "worker gpu",
        "name=",
        "name>worker",
    ],
)
def test_a_wrong_search_finds_nothing(text: str) -> None:
    assert names(text, 10) == []


@pytest.mark.parametrize("text", ["Tag=docker-host", "TAG=docker-host", "id=nonsense", "page 0"])
def test_what_the_database_refuses_is_an_error(text: str) -> None:
    with pytest.raises(SearchFailed):
        names(text, 10)


def test_pages_are_cut_from_the_sorted_list() -> None:
    text = "tag=docker-host sortby name {} page {}"

    assert names(text.format("asc", 1), 2) == ["edge-0", "gpu-0"]
    assert names(text.format("asc", 3), 2) == ["worker-2"]
    assert names(text.format("asc", 4), 2) == []
    assert names(text.format("desc", 1), 2) == ["worker-2", "worker-1"]


def test_a_second_page_without_a_size_is_empty() -> None:
    assert names("sortby name asc page 1") == EVERYTHING
    assert names("sortby name asc page 2") == []


def test_a_size_of_zero_finds_nothing() -> None:
    assert names("", 0) == []


def test_upper_case_comes_first() -> None:
    world = World(scenario())
    world.vm("plain").name = "Zebra"

    assert names("sortby name asc", world=world)[0] == "Zebra"


def test_a_stale_tag_cache_keeps_what_a_text_first_stood_for() -> None:
    world = World(scenario())
    tags = TagExpansion(world)
    tags.is_stale = True

    def found(text: str) -> list[str]:
        return [vm.name for vm in find(world.vms.values(), vm_table(tags, text), text, None)]

    before = found("tag=late")
    world.add_tag("late")
    world.vm("plain").attach("late")

    assert before == found("tag=late") == []
    assert found("tag=late and name=*") == ["plain"]
    assert found("tag = late") == ["plain"]


def test_hosts_are_searched_by_status_and_cluster() -> None:
    world = World(scenario())
    world.host("hv-2").status = "non_responsive"

    found = find(world.hosts, host_table(), "cluster=workers and status=nonresponsive", None)

    assert [host.name for host in found] == ["hv-2"]


def test_events_are_searched_by_code_vm_and_severity() -> None:
    world = World(Scenario.model_validate(scenario().model_dump(by_alias=True)))
    world.vm("plain").attach("docker-host")
    world.lose_host("hv-1")
    events = list(world.events.newest_first())

    def found(text: str) -> list[int]:
        return [event.code for event in find(events, event_table(), text, None)]

    assert found("type=440") == [440]
    assert found("severity=error") == [12]
    assert found("event_vm=worker-0") == [142]
    assert found("Vms.name=worker-0") == [142]
    assert found("sortby time asc")[0] == 440
