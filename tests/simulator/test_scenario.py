"""Scenario files: what they may say, and what is said about their mistakes."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import pytest

from provider.simulator.scenario import Scenario, ScenarioError, load_scenario
from provider.simulator.world import World
from tests.simulator.world import scenario

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
data_centers: [{name: prague}]
clusters: [{name: workers, data_center: prague}]
hosts: [{name: hv-1, cluster: workers}, {name: hv-2, cluster: workers}]
tags: [{name: docker-host}]
vms:
  - name: "node-{n:03}"
    count: 3
    cluster: workers
    host: [hv-1, hv-2]
    tags: [docker-host]
    memory: 4 GiB
    nics: [{addresses: [10.0.0.254, "2001:db8::ff"]}]
durations: {boot: 500ms}
timeline:
  - {at: 1m30s, vm: node-001, action: migrate, to: hv-1}
  - {at: 20s, engine: unavailable, for: 15s}
"""


def load(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path)


def test_a_file_is_read_with_units_and_counted_vms(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)

    world = World(loaded)

    assert [vm.name for vm in world.vms.values()] == ["node-000", "node-001", "node-002"]
    assert [vm.host.name for vm in world.vms.values() if vm.host] == ["hv-1", "hv-2", "hv-1"]
    assert world.vm("node-002").devices[0].addresses[::2] == ("10.0.1.0", "2001:db8::101")
    assert world.vm("node-000").memory == 4 << 30
    assert loaded.timeline[0].at == timedelta(seconds=90)
    assert loaded.timeline[1].for_ == timedelta(seconds=15)
    assert world.durations.boot == timedelta(milliseconds=500)


def test_the_same_file_gives_the_same_ids(tmp_path: Path) -> None:
    first, second = (World(load(tmp_path, GOOD)) for _ in range(2))

    assert list(first.vms) == list(second.vms)
    assert len(first.vms) == 3


def test_every_mistake_is_named_with_its_path(tmp_path: Path) -> None:
    text = """
clusters: [{name: workers, data_center: prague}]
vms: [{name: a, cluster: workers, colour: red, status: sleeping}]
timeline: [{at: soon, vm: a, action: start}, {at: 3s, action: start}]
"""
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text)

    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert any("vms.0.colour" in line for line in lines)
    assert any("vms.0.status" in line for line in lines)
    assert any('timeline.0.at: "soon" is no duration' in line for line in lines)
    assert any("exactly one of vm, host, tag, user, engine" in line for line in lines)


def test_every_name_that_is_nowhere_is_said(tmp_path: Path) -> None:
    text = """
clusters: [{name: workers, data_center: prague}]
hosts: [{name: hv-1, cluster: nowhere}]
vms: [{name: a, cluster: workers, host: hv-9, tags: [blue]}]
timeline: [{at: 3s, vm: b, action: start}, {at: 3s, vm: a, action: migrate, to: hv-7}]
"""
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text)

    for line in (
        'clusters.0.data_center: no data center is named "prague"',
        'hosts.0.cluster: no cluster is named "nowhere"',
        'vms.0.host: no host is named "hv-9"',
        'vms.0.tags: no tag is named "blue"',
        'timeline.0.vm: no vm is named "b"',
        'timeline.1.to: no host is named "hv-7"',
    ):
        assert line in str(caught.value)


@pytest.mark.parametrize("text", ["vms: [", "- a list"])
def test_a_file_that_is_no_scenario_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScenarioError):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml"):
        load_scenario(tmp_path / "nowhere.yaml")


def test_an_empty_file_is_an_empty_engine(tmp_path: Path) -> None:
    assert World(load(tmp_path, "")).vms == {}


def test_the_demo_has_twelve_docker_hosts_on_five_hypervisors() -> None:
    with as_file(files("provider.simulator") / "demo.yaml") as path:
        world = World(load_scenario(path))

    wanted = world.with_descendants([world.tag("docker-host")])
    docker_hosts = [vm for vm in world.vms.values() if set(vm.tags) & set(wanted)]

    assert len(docker_hosts) == 12
    assert len(world.vms) > 12
    assert (len(world.data_centers), len(world.clusters), len(world.hosts)) == (2, 3, 5)


def test_five_thousand_vms_are_one_entry() -> None:
    vms = [{"name": "n{n}", "count": 5000, "cluster": "workers", "host": "hv-1"}]

    assert len(World(scenario(vms=vms)).vms) == 5000
