"""What is said when the API server would refuse a right, by a simulated one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from provider.controllers.rights import RightsReporter, RightsWatch
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.recorder import EventRecorder
from provider.metrics import Metrics
from provider.simulator.cluster import SimulatedCluster
from tests.kube_client.conftest import KUBECONFIG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.looptime
Entries = list[structlog.typing.EventDict]


class Stage:
    """A replica that leads, its cluster, and what it says."""

    def __init__(self, cluster: SimulatedCluster, metrics: Metrics, logged: Entries) -> None:
        self.cluster = cluster
        self.metrics = metrics
        self._logged = logged

    def log(self, level: str) -> list[str]:
        """What was logged at this level."""
        return [entry["event"] for entry in self._logged if entry["log_level"] == level]

    def missing(self) -> list[list[str]]:
        """The rights that each line of the log names."""
        return [entry["missing"] for entry in self._logged if "missing" in entry]

    def messages(self) -> list[str]:
        """The messages of its Events."""
        found = self.cluster.events()
        return [event["message"] for event in found if event["reason"] == "RBACMissing"]

    def series(self, verb: str, resource: str) -> float | None:
        """The value of the metric."""
        labels = {"verb": verb, "resource": resource}
        return self.metrics.registry.get_sample_value("ovirt_ccm_rbac_missing", labels)


@pytest.fixture
async def cluster() -> AsyncIterator[SimulatedCluster]:
    cluster = SimulatedCluster()
    await cluster.start()
    yield cluster
    cluster.faults.clear()
    await cluster.stop()


@asynccontextmanager
async def leading(cluster: SimulatedCluster, folder: Path) -> AsyncIterator[Stage]:
    """A replica that has looked at its rights."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(url=cluster.url), encoding="utf-8")
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        logged = stack.enter_context(structlog.testing.capture_logs())
        access = await load_access(kubeconfig)
        api = await stack.enter_async_context(KubeApi(access, timedelta(seconds=3), metrics))
        watch, recorder = RightsWatch(api, metrics), EventRecorder(api, metrics)
        parts = watch, recorder, RightsReporter(watch, recorder)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            await asyncio.sleep(5)
            yield Stage(cluster, metrics, logged)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_may_do_all_says_nothing(cluster: SimulatedCluster, tmp_path: Path) -> None:
    async with leading(cluster, tmp_path) as stage:
        assert stage.log("warning") == []
        assert stage.messages() == []
        assert stage.series("delete", "nodes") == 0


async def test_what_is_missing_is_named_in_log_event_and_metric(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    cluster.denied |= {"patch nodes/status", "delete nodes"}

    async with leading(cluster, tmp_path) as stage:
        assert stage.missing() == [["delete nodes", "patch nodes/status"]]
        (message,) = stage.messages()
        assert message == (
            "The API server refuses us: delete nodes, patch nodes/status. Grant the service"
            " account what manifests/rbac.yaml grants."
        )
        assert stage.series("delete", "nodes") == 1
        assert stage.series("patch", "nodes/status") == 1
        assert stage.series("patch", "nodes") == 0


async def test_a_loss_is_said_once_and_its_end_within_half_a_minute(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    cluster.denied.add("create tokenreviews")

    async with leading(cluster, tmp_path) as stage:
        await asyncio.sleep(3600)
        said = stage.missing(), len(stage.messages())
        cluster.denied.clear()
        await asyncio.sleep(31)

        assert said == ([["create tokenreviews.authentication.k8s.io"]], 1)
        assert stage.log("info") == ["no permission is missing any more"]
        assert stage.series("create", "tokenreviews.authentication.k8s.io") == 0


async def test_a_right_that_is_taken_away_later_is_noticed(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    async with leading(cluster, tmp_path) as stage:
        cluster.denied.add("watch leases")
        await asyncio.sleep(305)

        assert stage.missing() == [["watch leases.coordination.k8s.io"]]


async def test_an_api_server_that_has_not_read_its_roles_yet_is_asked_again(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    cluster.denied.add("delete nodes")
    asyncio.get_running_loop().call_later(1, cluster.denied.clear)

    async with leading(cluster, tmp_path) as stage:
        assert stage.log("warning") == []
        assert stage.series("delete", "nodes") == 0


async def test_an_api_server_that_cannot_be_asked_is_said_once_and_asked_again(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    cluster.denied.add("delete nodes")
    cluster.faults.freeze()

    async with leading(cluster, tmp_path) as stage:
        await asyncio.sleep(120)
        silent = stage.log("warning"), stage.series("delete", "nodes")
        cluster.faults.clear()
        await asyncio.sleep(40)

        assert silent == (["permissions could not be asked for; trying again"], None)
        assert stage.log("info") == ["permissions can be asked for again"]
        assert stage.missing() == [["delete nodes"]]
