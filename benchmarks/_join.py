"""A round of a join: some client of the API server makes tainted nodes into initialised ones."""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _clock import Clock, Result, Stuck, Watch
from _stage import PASSWORD, USER, Stage, simulated_engine

import provider
from provider.model import TAINT_UNINITIALIZED
from tests.kube.admin import Admin
from tests.kube.assets import AssetsError, find
from tests.kube.control_plane import ControlPlane
from tests.kube.product import USER_AGENT, grant

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence

    from provider.model import Node

CONSOLE_SCRIPT = Path(sys.executable).with_name("ovirt-ccm")
HEADS = ("seconds", "nodes/s", "req/s", "p50 ms", "p99 ms", "CPU s", "server", "MiB")
REST = 0.1  # seconds after the last write, for whatever is left to be measured


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def client(*command: str | Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process of a client; asked to end, and waited for, at the end of the block."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Rounds:
    """What all rounds have in common."""

    cluster: ControlPlane
    kubeconfig: Path
    folder: Path
    stage: Stage
    engine: str
    nodes: int
    workers: int

    async def product(self, *command: str | Path) -> Result:
        """A round of the product, started by `command`."""
        await self.stage.set_up()
        config = ("--config", self.folder / "config.yaml", "--kubeconfig", self.kubeconfig)
        return await self.measured(USER_AGENT, *command, "run", *config)

    async def measured(
        self, user_agent: str, *command: str | Path, stdin: bytes = b"", patience: float = 60.0
    ) -> Result:
        """What a client has done, which is ended then.

        Stuck when it has ended, or has written nothing for `patience` seconds.
        """
        clock = Clock(self.cluster, user_agent, self.nodes, patience)
        log = self.folder / "client.log"
        async with client(*command, log=log) as process, asyncio.TaskGroup() as sampling:
            server = Watch(*map(self.cluster.pid, ("kube-apiserver", "etcd")))
            watches = Watch(process.pid), server
            tasks = [sampling.create_task(watch.run()) for watch in watches]
            if process.stdin:
                process.stdin.write(stdin)
            try:
                await clock.all_written(lambda: process.returncode is None)
            except Stuck:
                say(log.read_text()[-2000:])
                raise
            finally:
                for task in tasks:
                    task.cancel()
            await asyncio.sleep(REST)
            return clock.result(*watches)


@contextlib.asynccontextmanager
async def rounds(
    assets: Path, folder: Path, nodes: int, workers: int, *, kcm: bool = False
) -> AsyncIterator[Rounds]:
    """A control plane and an engine with so many VMs, and the product's configuration."""
    say(f"starting a control plane and an engine with {nodes} VMs")
    with (
        ControlPlane(assets, kcm=kcm) as cluster,
        simulated_engine(nodes) as (url, ids),
    ):
        configure(folder, url, workers)
        async with Admin(cluster) as admin:
            stage = Stage(admin, ids, workers, kcm=kcm)
            yield Rounds(cluster, grant(cluster), folder, stage, url, nodes, workers)


def configure(folder: Path, url: str, workers: int) -> None:
    """Write the product's configuration, which is its defaults."""
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    engine = {"name": "east", "url": url, "username": USER, "password_file": str(password_file)}
    config = {
        "engines": [engine],
        "server": {"bind": "127.0.0.1:0"},
        "limits": {"workers": workers},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def look(node: Node) -> tuple[object, ...]:
    """All of a node that an initialisation changes."""
    taints = frozenset((t.key, t.effect) for t in node.taints)
    return node.provider_id, node.labels, node.annotations, node.addresses, taints


def require_initialised(nodes: Mapping[str, Node], name: str) -> None:
    """SystemExit when a node of a round of `name` still has the taint, or no address."""
    for node in nodes.values():
        has_taint = any(taint.key == TAINT_UNINITIALIZED for taint in node.taints)
        if has_taint or not any(a.type == "InternalIP" for a in node.addresses):
            sys.exit(f"{name}: node {node.name} is not initialised: {look(node)}")


def conduct(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, Path], Coroutine[Any, Any, None]],
) -> None:
    """`run` the benchmark with what was given; SystemExit in a sentence when it cannot be.

    The product starts from compiled modules, as pip installs them.
    """
    compileall.compile_dir(Path(provider.__file__).parent, quiet=1)
    try:
        asyncio.run(run(parser.parse_args(), find()))
    except (AssetsError, Stuck) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


# ---- the report --------------------------------------------------------------------------------


def summary(values: Sequence[float]) -> str:
    """The median and all values."""
    return f"{statistics.median(values):.2f}  ({', '.join(f'{value:.2f}' for value in values)})"


def columns(nodes: int, results: Sequence[Result]) -> Iterator[str]:
    """The cells of a row, for HEADS."""

    def median(value: Callable[[Result], float]) -> float:
        return statistics.median(map(value, results))

    yield f"{median(lambda r: r.seconds):.2f}"
    yield f"{median(lambda r: nodes / r.seconds):.0f}"
    yield f"{median(lambda r: r.requests / r.seconds):.0f}"
    yield f"{1000 * median(lambda r: r.p50):.0f}"
    yield f"{1000 * median(lambda r: r.p99):.0f}"
    yield f"{median(lambda r: r.cpu):.2f}"
    yield f"{median(lambda r: r.server_cpu):.2f}"
    yield f"{median(lambda r: r.rss):.0f}"
