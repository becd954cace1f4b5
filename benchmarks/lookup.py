"""Looking VMs up over HTTPS: the guarded product against a bare aiohttp handler.

The product is as it is installed (`ovirt-ccm run`), with a simulated engine of 5,000 VMs and a
real API server that says who a token is and what it may do. It makes no Nodes. The bare handler
has the product's own answers in a dict, and knows nothing of tokens, logs, metrics or validators.
Both are processes of their own with the same certificate, and get the same requests from the same
connections. They take turns, for the machine may be busy with other things: ratios mean something,
numbers alone less.

- Full load: each connection asks again at once, each time for another VM. The ratio of the times
  is what users see; that of the CPU seconds a request moves less when others use the machine. The
  product's hold all that it does at the same time, such as reading its engine every 30 s.
- Half load: as many requests a second as are half of the product's full load, whether they are
  answered or not. A request's time begins when it is due. Once with the product as it is
  installed, which lists its engine every 30 s, and once while it lists it as often as it may.
- All VMs in one request, compressed; the first is the one for which it is made.

Each server has the machine's first processor to itself, and all else shares the others: an engine
that makes 65 MB of JSON beside them is elsewhere in the real world. It gets only the time that
nobody else wants.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import multiprocessing
import os
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _clock import peak_rss
from _servers import BUSY_CONFIG, Bench, Result, Served, configure, leave_a_processor, reader
from _stage import simulated_engine
from rich import box
from rich.console import Console
from rich.table import Table

from tests.kube.assets import AssetsError, find
from tests.kube.control_plane import ControlPlane
from tests.kube.product import grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROFILED = Path(__file__).with_name("_profiled.py")
CONSOLE_SCRIPT = Path(sys.executable).with_name("ovirt-ccm")
WARMING = 1.0  # seconds
LISTINGS = "ovirt_ccm_snapshot_duration_seconds_count"
IDLE = 19  # the niceness of whoever takes only what nobody else wants


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


# ---- measuring ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that was measured; of pairs the first is the product's. `all_vms` are seconds.

    `half` is the product's, `busy` while it lists its engine all the time; beside each how often
    it has done so.
    """

    full: list[tuple[Result, Result]]
    half: tuple[Result, int]
    busy: tuple[Result, int]
    bare_half: Result
    all_vms: list[float]
    size: int
    rss: float


def measure(bench: Bench, arguments: argparse.Namespace) -> Numbers:
    """Full load in turns, half load, and all VMs."""
    seconds = arguments.half_load
    with contextlib.ExitStack() as stack:
        product = stack.enter_context(bench.product(CONSOLE_SCRIPT))
        with bench.bare_server(product) as bare:
            for served in (product, bare):
                served.turn(WARMING)
            full = [*turns(product, bare, arguments.rounds, arguments.seconds)]
            rate = statistics.median(ours.rate for ours, _ in full) / 2
            say(f"half load: {rate:.0f} requests a second")
            theirs = bare.turn(seconds / 3, rate)
        half = polled_turn(bench, product, 2 * seconds, rate)
        say("all VMs in one request")
        took, size = all_vms(bench, product, arguments.rounds)
        stack.close()
        say("half load while the engine is listed all the time")
        product = stack.enter_context(bench.product(CONSOLE_SCRIPT, config=BUSY_CONFIG))
        product.turn(WARMING)
        busy = polled_turn(bench, product, seconds, rate)
        return Numbers(full, half, busy, theirs, took, size, peak_rss(product.process))


def polled_turn(bench: Bench, product: Served, seconds: float, rate: float) -> tuple[Result, int]:
    """What it did under this load, and how often it listed its engine meanwhile."""
    before = listings(bench, product)
    return product.turn(seconds, rate), listings(bench, product) - before


def turns(
    product: Served, bare: Served, rounds: int, seconds: float
) -> Iterator[tuple[Result, Result]]:
    """Full load, round by round."""
    for n in range(rounds):
        if n % 2:
            theirs, ours = bare.turn(seconds), product.turn(seconds)
        else:
            ours, theirs = product.turn(seconds), bare.turn(seconds)
        say(f"round {n + 1} of {rounds}: {ours.rate:.0f} to {theirs.rate:.0f} requests a second")
        yield ours, theirs


def listings(bench: Bench, product: Served) -> int:
    """How often the engine has been listed."""
    metrics = product.pool.ask(bench.request("/metrics"))[2].decode()
    line = next(line for line in metrics.splitlines() if line.startswith(LISTINGS))
    return int(float(line.rpartition(" ")[2]))


def all_vms(bench: Bench, product: Served, times: int) -> tuple[list[float], int]:
    """The seconds that each request for all VMs took, and its bytes."""
    path = f"/v1/instances?limit={len(bench.ids)}"
    request = bench.request(path, "Accept-Encoding: gzip")
    found = []
    for _ in range(times):
        seconds, head, body = product.pool.ask(request)
        count = len(json.loads(gzip.decompress(body))["instances"])
        if "Content-Encoding: gzip" not in head or count != len(bench.ids):
            sys.exit(f"not all VMs, or not compressed: {count}\n{head}")
        found.append(seconds)
    return found, len(body)


# ---- the stage ---------------------------------------------------------------------------------


def run(arguments: argparse.Namespace, assets: Path) -> None:
    """Measure and print."""
    say(f"starting a control plane and an engine with {arguments.vms} VMs")
    leave_a_processor()
    with (
        ControlPlane(assets) as cluster,
        simulated_engine(arguments.vms) as (url, ids),
        TemporaryDirectory() as directory,
    ):
        for child in multiprocessing.active_children():
            os.setpriority(os.PRIO_PROCESS, child.pid or 0, IDLE)
        folder = Path(directory)
        configure(folder, url)
        bench = Bench(
            folder, grant(cluster), tuple(ids.values()), reader(cluster), arguments.connections
        )
        numbers = measure(bench, arguments)
        if arguments.profile:
            say("a turn of the product that is profiled and not counted")
            with bench.product(sys.executable, PROFILED, arguments.profile) as product:
                product.turn(arguments.seconds * 2)
    report(arguments, numbers)


# ---- the report --------------------------------------------------------------------------------


def report(arguments: argparse.Namespace, numbers: Numbers) -> None:
    """Print what was measured; write it to a file when one is named."""
    ours, theirs = zip(*numbers.full, strict=True)
    table = Table(
        title=f"{arguments.vms} VMs, {arguments.connections} connections, medians",
        caption="CPU: the server's, a request",
        box=box.SIMPLE_HEAD,
    )
    table.add_column(no_wrap=True)
    for head in ("req/s", "CPU us", "p50 ms", "p99 ms", "worst ms"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row("product, full load", *columns(ours))
    table.add_row("bare handler, full load", *columns(theirs))
    table.add_row("product, half load", *columns(numbers.half[:1]))
    table.add_row("  listing all the time", *columns(numbers.busy[:1]))
    table.add_row("bare handler, same load", *columns([numbers.bare_half]))
    console = Console()
    console.print(table)
    console.print("product / bare handler, full load:")
    console.print(f"  requests a second    {summary([a.rate / b.rate for a, b in numbers.full])}")
    console.print(f"  1 / CPU of a request {summary([b.cpu / a.cpu for a, b in numbers.full])}")
    listed = f"{numbers.half[1]}, listing all the time {numbers.busy[1]}"
    console.print(f"listings of the engine during the product's half load: {listed}")
    milliseconds = [1000 * one for one in numbers.all_vms]
    console.print(f"all VMs, {numbers.size / 1000:.0f} kB, ms: {summary(milliseconds)}")
    console.print(f"the product's most memory: {numbers.rss:.0f} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(numbers), indent=2) + "\n")


def columns(results: Sequence[Result]) -> Iterator[str]:
    """The cells of a row."""

    def median(value: Callable[[Result], float]) -> float:
        return statistics.median(map(value, results))

    yield f"{median(lambda r: r.rate):.0f}"
    yield f"{1e6 * median(lambda r: r.cpu):.0f}"
    yield f"{1000 * median(lambda r: r.p50):.2f}"
    yield f"{1000 * median(lambda r: r.p99):.2f}"
    yield f"{1000 * median(lambda r: r.worst):.2f}"


def summary(values: Sequence[float]) -> str:
    """The median and all values."""
    return f"{statistics.median(values):.2f}  ({', '.join(f'{value:.2f}' for value in values)})"


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a turn at full load")
    parser.add_argument("--half-load", type=float, default=45.0, help="its seconds")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="500 VMs and a few seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="where to write a profile of the product"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(vms=500, rounds=2, seconds=1.0, half_load=6.0)
    try:
        run(arguments, find())
    except AssetsError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
