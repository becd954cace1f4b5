"""Clients of the simulated cluster, and of servers that misbehave on the wire."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.metrics import Metrics
from provider.simulator.cluster import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Connect = Callable[[str], Awaitable[KubeApi]]

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
users: [{{name: test, user: {{token: test}}}}]
"""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def cluster() -> AsyncIterator[SimulatedCluster]:
    cluster = SimulatedCluster()
    await cluster.start()
    yield cluster
    cluster.faults.clear()
    await cluster.stop()


@pytest.fixture
async def connect(tmp_path: Path, metrics: Metrics) -> AsyncIterator[Connect]:
    """Opens a client of the API server at a URL, with 3 s for each call."""
    async with AsyncExitStack() as clients:

        async def open_client(url: str) -> KubeApi:
            path = tmp_path / "config"
            path.write_text(KUBECONFIG.format(url=url))
            api = KubeApi(await load_access(path), timedelta(seconds=3), metrics)
            return await clients.enter_async_context(api)

        yield open_client


@pytest.fixture
async def api(cluster: SimulatedCluster, connect: Connect) -> KubeApi:
    return await connect(cluster.url)
