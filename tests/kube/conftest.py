"""The real control plane as fixtures: one a test session, new ones for tests that break it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import structlog

from tests.kube.admin import Admin
from tests.kube.assets import AssetsError, find
from tests.kube.control_plane import ControlPlane
from tests.kube.product import Product, grant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from pathlib import Path

    from provider.simulator.scenario import VmSpec

_numbers = itertools.count(1)
_PROOF = "real_api_server"
_not_run = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Mark what needs the real programs; with KUBE=off leave it out."""
    for item in items:
        if "kube_assets" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kube)
    yield  # here -m and -k choose
    real = [item for item in items if item.get_closest_marker("kube")]
    for item in real:
        item.user_properties.append((_PROOF, "1"))  # .ci/run counts them in the JUnit report
    if os.environ.get("KUBE") == "off" and real:
        items[:] = [item for item in items if item not in real]
        config.hook.pytest_deselected(items=real)
        config.stash[_not_run] = len(real)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say last what KUBE=off has left out."""
    count = config.stash.get(_not_run, 0)
    if count:
        terminalreporter.section("NOT RUN", yellow=True)
        terminalreporter.line(
            f"KUBE=off: {count} tests against a real Kubernetes API server were not run; "
            "`make test` runs them."
        )


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """Commands that run in this process set logging up for a stream that ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kube_assets() -> Path:
    """The folder of etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl."""
    try:
        return find()
    except AssetsError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def control_plane(kube_assets: Path) -> Iterator[ControlPlane]:
    """The session's control plane, with kube-controller-manager. Tests leave it as it was."""
    with ControlPlane(kube_assets, kcm=True) as cluster:
        yield cluster


class NewControlPlane(Protocol):
    """Starts a control plane that the test may break; it ends with the test."""

    def __call__(
        self,
        *,
        kcm: bool = False,
        scheduler: bool = False,
        flags: dict[str, dict[str, str]] | None = None,
    ) -> ControlPlane: ...


@pytest.fixture
def new_control_plane(kube_assets: Path) -> Iterator[NewControlPlane]:
    """A function that starts a control plane for this test alone (3-4 s)."""
    with contextlib.ExitStack() as running:

        def start(
            *,
            kcm: bool = False,
            scheduler: bool = False,
            flags: dict[str, dict[str, str]] | None = None,
        ) -> ControlPlane:
            cluster = ControlPlane(kube_assets, kcm=kcm, scheduler=scheduler, flags=flags)
            return running.enter_context(cluster)

        yield start


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Admin]:
    """An administrator of the session's control plane."""
    async with Admin(control_plane) as client:
        yield client


@pytest.fixture
def node_prefix(control_plane: ControlPlane) -> Iterator[str]:
    """The start of every node name of this test; its nodes and their events end with it."""
    prefix = f"t{next(_numbers)}-"
    yield prefix
    control_plane.ensure_healthy()
    asyncio.run(_remove(control_plane, prefix))


async def _remove(control_plane: ControlPlane, prefix: str) -> None:
    """Delete all nodes and events whose names start so, many at once."""
    async with Admin(control_plane) as admin:
        for path in ("/api/v1/nodes", "/api/v1/namespaces/default/events"):
            names = [item["metadata"]["name"] for item in (await admin.call("GET", path))["items"]]
            ours = [f"{path}/{name}" for name in names if name.startswith(prefix)]
            await asyncio.gather(*(admin.call("DELETE", one) for one in ours))


@pytest.fixture(scope="session")
def controller_kubeconfig(control_plane: ControlPlane) -> Path:
    """Access to the session's control plane with the rights of the product."""
    return grant(control_plane)


class NewProduct(Protocol):
    """Makes the product for the session's control plane; `async with` starts and ends it."""

    def __call__(self, *vms: VmSpec, **sections: Any) -> Product: ...


@pytest.fixture
def new_product(
    control_plane: ControlPlane, controller_kubeconfig: Path, tmp_path: Path
) -> NewProduct:
    """A function that makes the product with an engine of these VMs."""

    def make(*vms: VmSpec, **sections: Any) -> Product:
        return Product(control_plane, controller_kubeconfig, tmp_path, vms, **sections)

    return make
