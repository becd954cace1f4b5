"""A simulated engine and a simulated cluster with kubelets, and the files to reach them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from provider.simulator.cluster import SimulatedCluster
from provider.simulator.engine import SimulatedEngine
from provider.simulator.kubelets import Kubelets
from provider.simulator.scenario import load_scenario

if TYPE_CHECKING:
    from types import TracebackType

DEMO = Path(__file__).with_name("demo.yaml")

_CONFIG = """\
# For the simulated engine: everything a little faster than anybody would want it of a real one.
engines:
  - name: demo
    url: {url}
    username: {username}
    password_file: {password_file}
    region: bohemia
selection: {{tag: {tag}}}
registration: {{delay: 10s}}
intervals: {{poll: 3s, wanted: 1s}}
server: {{bind: "127.0.0.1:{port}"}}
"""


class Lab:
    """Both simulators while the context is open; all files are in `directory`.

    `directory` is the given one, else a temporary one that goes with the context. Without
    `has_cluster` there is the engine alone. A VM called like one of `without_kubelet` has none.
    """

    tag = "docker-host"

    def __init__(
        self,
        scenario: Path = DEMO,
        *,
        directory: Path | None = None,
        engine_port: int = 0,
        cluster_port: int = 0,
        controller_port: int = 10258,
        has_cluster: bool = True,
        without_kubelet: frozenset[str] = frozenset(),
    ) -> None:
        self.engine = SimulatedEngine(load_scenario(scenario))
        self.cluster = SimulatedCluster() if has_cluster else None
        self.engine_url = ""
        self._given = directory
        self._ports = engine_port, cluster_port, controller_port
        self._without_kubelet = without_kubelet
        self._stack = contextlib.AsyncExitStack()
        self.directory = directory or Path()

    @property
    def config_file(self) -> Path:
        """A configuration of the controller for this engine."""
        return self.directory / "config.yaml"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of this cluster."""
        return self.directory / "kubeconfig"

    async def __aenter__(self) -> Self:
        """Start; OSError when a port or the directory cannot be had."""
        async with self._stack as stack:
            self.directory = self._given or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="ovirt-ccm-"))
            )
            self.directory.mkdir(parents=True, exist_ok=True)
            engine_port, cluster_port, _ = self._ports
            stack.push_async_callback(self.engine.stop)
            self.engine_url = await self.engine.start(port=engine_port)
            if self.cluster:
                stack.push_async_callback(self.cluster.stop)
                await self.cluster.start(port=cluster_port)
                self.kubeconfig.write_text(self.cluster.kubeconfig(), "utf-8")
                kubelets = Kubelets(self.engine, self.cluster, self.tag, self._without_kubelet)
                stack.push_async_callback(_end, asyncio.create_task(kubelets.run()))
            self._write_config()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _write_config(self) -> None:
        user = next(user for user in self.engine.world.users if user.role != "SuperUser")
        password_file = self.directory / "password"
        password_file.write_text(user.password, "utf-8")
        text = _CONFIG.format(
            url=self.engine_url,
            username=user.name,
            password_file=password_file,
            tag=self.tag,
            port=self._ports[2],
        )
        self.config_file.write_text(text, "utf-8")


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait((task,))
