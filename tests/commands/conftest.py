"""A simulated engine and cluster, and commands that are run against them."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import structlog
import yaml

from provider.cli import main
from provider.simulator.cluster import SimulatedCluster
from provider.simulator.engine import SimulatedEngine
from tests.ovirt.lab import PASSWORD, scenario

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from provider.simulator.scenario import VmSpec

_UP_FOR = 600_000  # ms: long enough to be registered, too short to be missed
SCRIPT = Path(sys.executable).with_name("ovirt-ccm")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with `--output json`."""
        return json.loads(self.out)


class Lab:
    """Both simulators, and the files that a command is given."""

    def __init__(
        self, folder: Path, engine: SimulatedEngine, url: str, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.engine = engine
        self.cluster = SimulatedCluster()
        self.url = url
        self.config_file = folder / "config.yaml"
        self.kubeconfig = folder / "kubeconfig"
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD, encoding="utf-8")
        self._capture = capture

    def engine_section(self, **settings: Any) -> dict[str, Any]:
        """The engine, as the configuration has it."""
        return {
            "name": "east",
            "url": self.url,
            "username": "reader@internal",
            "password_file": str(self.password_file),
        } | settings

    def configure(self, *, engine: dict[str, Any] | None = None, **sections: Any) -> None:
        """Write the configuration; nothing has to wait to be registered."""
        content = {
            "engines": [self.engine_section(**(engine or {}))],
            "registration": {"delay": "0s"},
            "server": {"bind": "127.0.0.1:0"},
        }
        self.config_file.write_text(yaml.safe_dump(content | sections), encoding="utf-8")

    def id_of(self, vm: str) -> str:
        """The id of the VM of this name."""
        return next(one.id for one in self.engine.world.vms.values() if one.name == vm)

    def writes(self) -> list[str]:
        """Every request to the cluster that may change something."""
        return [
            f"{request.method} {request.path}"
            for request in self.cluster.requests
            if request.method != "GET" and "reviews" not in request.path
        ]

    async def run(self, *arguments: str, has_cluster: bool = True) -> Ended:
        """The command in this process, in a thread: the simulators need this one."""
        argv = [*arguments, "--config", str(self.config_file)]
        if has_cluster:
            argv += ["--kubeconfig", str(self.kubeconfig)]
        self._capture.readouterr()
        status = await asyncio.to_thread(main, argv)
        said = self._capture.readouterr()
        assert "Traceback" not in said.err
        return Ended(status, said.out, said.err)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """The real console script, running."""
        return await asyncio.create_subprocess_exec(
            SCRIPT,
            *arguments,
            *("--config", str(self.config_file), "--kubeconfig", str(self.kubeconfig)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


async def until(condition: Callable[[], object]) -> None:
    """Return when it is true; TimeoutError after 20 s."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what another program does sets no event
            await asyncio.sleep(0.02)


async def ended(process: asyncio.subprocess.Process) -> Ended:
    """How the script ended, within 30 s."""
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


class MakeLab(Protocol):
    """Makes a lab whose engine has these VMs; it ends with the test."""

    async def __call__(
        self, *vms: VmSpec, ssl_context: ssl.SSLContext | None = None, **facts: Any
    ) -> Lab: ...


@pytest.fixture
async def make_lab(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeLab]:
    monkeypatch.delenv("COLUMNS", raising=False)
    async with AsyncExitStack() as running:

        async def make(
            *vms: VmSpec, ssl_context: ssl.SSLContext | None = None, **facts: Any
        ) -> Lab:
            engine = SimulatedEngine(scenario(*vms, **facts))
            for machine in engine.world.vms.values():
                machine.started -= _UP_FOR
            url = await engine.start(ssl_context=ssl_context)
            running.push_async_callback(engine.stop)
            lab = Lab(tmp_path, engine, url, capsys)
            await lab.cluster.start()
            running.push_async_callback(lab.cluster.stop)
            lab.kubeconfig.write_text(lab.cluster.kubeconfig(), encoding="utf-8")
            lab.configure()
            return lab

        yield make


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()
