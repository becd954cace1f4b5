"""The simulated engine and cluster together, and the kubelets of the VMs."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import yaml

from provider.simulator.lab import DEMO, Lab
from provider.simulator.scenario import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

WORLD = """
users:
  - {name: admin@internal, password: a, role: SuperUser}
  - {name: reader@internal, password: r}
data_centers: [{name: dc}]
clusters: [{name: c, data_center: dc}]
hosts: [{name: h, cluster: c}]
tags: [{name: docker-host}, {name: gpu, parent: docker-host}, {name: other}]
vms:
  - {name: worker, cluster: c, host: h, tags: [gpu]}
  - {name: lonely, cluster: c, host: h, tags: [docker-host]}
  - {name: database, cluster: c, host: h, tags: [other]}
"""


def world(folder: Path) -> Path:
    path = folder / "world.yaml"
    path.write_text(WORLD, "utf-8")
    return path


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - the simulators set no event
            await asyncio.sleep(0.05)


def ready(lab: Lab, name: str) -> str:
    assert lab.cluster is not None
    node = lab.cluster.nodes.get(name)
    return next(str(c["status"]) for c in node["status"]["conditions"] if c["type"] == "Ready")


async def test_a_kubelet_comes_up_and_falls_silent_with_its_docker_host(tmp_path: Path) -> None:
    async with Lab(world(tmp_path), without_kubelet=frozenset({"lonely"})) as lab:
        cluster = lab.cluster
        assert cluster is not None
        await until(lambda: "worker" in cluster.nodes and ready(lab, "worker") == "True")
        assert [node["metadata"]["name"] for node in cluster.nodes] == ["worker"]

        lab.engine.world.vm("worker").stop()
        await until(lambda: ready(lab, "worker") == "Unknown")
        lab.engine.world.vm("worker").start()
        await until(lambda: ready(lab, "worker") == "True")


async def test_the_files_lead_to_both_and_a_temporary_folder_goes(tmp_path: Path) -> None:
    async with Lab(world(tmp_path)) as lab:
        engine = yaml.safe_load(lab.config_file.read_text("utf-8"))["engines"][0]
        assert engine["url"] == lab.engine_url
        assert engine["username"] == "reader@internal"
        assert engine["password_file"] == str(lab.directory / "password")
        assert lab.cluster is not None
        assert lab.cluster.url in lab.kubeconfig.read_text("utf-8")

    assert not lab.directory.exists()


async def test_without_a_cluster_there_is_the_engine_alone(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    async with Lab(world(tmp_path), directory=folder, has_cluster=False) as lab:
        assert lab.cluster is None

    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "password"]


async def test_a_start_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Lab(world(tmp_path)) as lab:
        assert lab.cluster is not None
        port = int(lab.cluster.url.rpartition(":")[2])
        try:
            await Lab(world(tmp_path), cluster_port=port).__aenter__()
        except OSError:
            assert set(os.listdir(tmp_path)) == {"world.yaml", lab.directory.name}
        else:
            raise AssertionError("the port is taken")


def test_the_demo_has_what_the_readme_says() -> None:
    demo = load_scenario(DEMO)
    docker_hosts = [
        vm for entry in demo.vms for vm in entry.copies() if "docker-host" in "".join(entry.tags)
    ]

    assert len(docker_hosts) == 12
    assert (len(demo.data_centers), len(demo.clusters), len(demo.hosts)) == (2, 3, 5)
