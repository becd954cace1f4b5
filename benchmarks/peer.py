"""Initialising many nodes: the product against a cloud controller as peers build it.

The peer is the framework of k8s.io/cloud-provider (Go) with a provider of its InstancesV2 that
reads the same simulated engine one VM at a time (`peer/main.go`). It runs at the framework's
defaults, and at its best: with many workers and without a limit of requests to the API server. All
make of the same tainted nodes initialised ones, in turns on one control plane; the clock is the
API server's audit log, as in `join.py`. The framework initialises the nodes that it lists one
after another and sends what peers send: one update and one patch a node.

`seconds` are from a client's first write to its last; `whole` from its start, what it reads before
it writes included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _join import (
    CONSOLE_SCRIPT,
    HEADS,
    Rounds,
    columns,
    conduct,
    require_initialised,
    rounds,
    say,
    summary,
)
from _stage import PASSWORD, USER
from rich import box
from rich.console import Console
from rich.table import Table

from tests.kube.assets import environment, go

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from _clock import Result

USER_AGENT = "ovirt-peer/"
SOURCE = Path(__file__).with_name("peer")
BEST = ("--concurrent-node-syncs=32", "--kube-api-qps=5000", "--kube-api-burst=5000")
PATIENCE = 600.0  # seconds without a write: at its defaults it first reads all VMs


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those that are compared, and a round of it."""

    name: str
    turn: Callable[[], Awaitable[Result]]


def built(folder: Path) -> Path:
    """The peer's program; SystemExit with the compiler's words when it cannot be built."""
    say("building the peer: minutes the first time, seconds from then on")
    program = folder / "ovirt-peer"
    command = (go(), "build", "-trimpath", "-o", str(program), ".")
    done = subprocess.run(  # noqa: S603 - the Go that builds the control plane
        command, cwd=SOURCE, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"the peer cannot be built:\n{done.stderr[-2000:]}")
    return program


def contestants(bench: Rounds, program: Path) -> tuple[Contestant, ...]:
    """The product, and the peer in its two ways."""
    cloud_config = bench.folder / "cloud.json"
    cloud = {"url": bench.engine, "username": USER, "password": PASSWORD}
    cloud_config.write_text(json.dumps(cloud))
    command = (
        program,
        f"--kubeconfig={bench.cluster.kubeconfig}",
        "--cloud-provider=ovirt-peer",
        f"--cloud-config={cloud_config}",
        "--controllers=cloud-node",
        "--leader-elect=false",
        "--secure-port=0",
        "--authentication-skip-lookup",
    )

    async def peer(*flags: str) -> Result:
        await bench.stage.set_up()
        return await bench.measured(USER_AGENT, *command, *flags, patience=PATIENCE)

    return (
        Contestant("product", partial(bench.product, CONSOLE_SCRIPT)),
        Contestant("peer, its best", partial(peer, *BEST)),
        Contestant("peer, defaults", peer),
    )


async def measure(
    bench: Rounds, program: Path, count: int, *, with_defaults: bool
) -> dict[str, list[Result]]:
    """The results of each, round by round, by name."""
    all_of_them = contestants(bench, program)[: 3 if with_defaults else 2]
    results: dict[str, list[Result]] = {one.name: [] for one in all_of_them}
    for n in range(count):
        for one in all_of_them if n % 2 == 0 else all_of_them[::-1]:
            result = await one.turn()
            require_initialised(await bench.stage.nodes(), one.name)
            results[one.name].append(result)
            say(f"round {n + 1} of {count}, {one.name}: {result.whole:.1f} s from its start")
    return results


async def run(arguments: argparse.Namespace, assets: Path) -> None:
    """Measure and print."""
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        program = built(folder)
        async with rounds(assets, folder, arguments.nodes, arguments.workers) as bench:
            results = await measure(
                bench, program, arguments.rounds, with_defaults=not arguments.best_only
            )
    report(arguments, results)


# ---- the report --------------------------------------------------------------------------------


def report(arguments: argparse.Namespace, results: Mapping[str, Sequence[Result]]) -> None:
    """Print the table; write the numbers to a file when one is named."""
    caption = (
        "p50, p99: of a node; CPU s: the client's, then API server's and etcd's; MiB: peak RSS"
    )
    table = Table(
        title=f"{arguments.nodes} nodes, medians",
        caption=caption,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column(no_wrap=True)
    for head in ("whole", *HEADS):
        table.add_column(head, justify="right", no_wrap=True)
    for name, rows in results.items():
        whole = f"{statistics.median(r.whole for r in rows):.2f}"
        table.add_row(name, whole, *columns(arguments.nodes, rows))
    console = Console()
    console.print(table)
    products = results["product"]
    for name, rows in results.items():
        if rows is not products:
            ratios = [r.whole / p.whole for r, p in zip(rows, products, strict=True)]
            console.print(f"{name} / product, from start: {summary(ratios)}")
    if arguments.json:
        numbers = {
            "nodes": arguments.nodes,
            "results": {name: [asdict(r) for r in rows] for name, rows in results.items()},
        }
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=32, help="of the product")
    parser.add_argument(
        "--best-only", action="store_true", help="leave out the peer's defaults, which take long"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    conduct(parser, run)


if __name__ == "__main__":
    main()
