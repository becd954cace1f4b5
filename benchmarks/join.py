"""Initialising many nodes on a real API server: the product against a bare aiohttp loop.

The nodes are there first, tainted and about as big as a kubelet's. Then one of the two starts:
the product as it is installed (`ovirt-ccm run`, everything at its default but the port), with a
simulated engine in another process; or a loop that sends the same two writes a node, with the same
bodies, and knows nothing else (`_bare_loop.py`). Both have the same rights and the same number of
workers. They take turns, for the machine may be busy with other things: of two that ran one after
the other the ratio means something, the seconds alone do not.

The clock is the API server's audit log, for both: from the arrival of the first write to a Node to
the answer to the last. So neither pays for starting Python, and the product pays for all that it
does beside its writes while it makes them: it reads its own changes from the watch, looks at each
node again, logs a line a node and sends Events. What it does before (list nodes and VMs, and look
at the nodes for the first time) is told apart as `lead`: from the answer to its first listing of
nodes to its first write, the engine's answer included. The time of a node is that from its first
write's arrival to its last one's answer. CPU is the client process's within the clock.

API server and etcd run on the same machine, so its processors are what a join waits for: the ratio
of all CPU seconds, the client's and theirs, says the same as that of the times. Both move when
others use the machine, for a busy neighbour makes a CPU second do less: it takes many pairs.

The loop takes the API server's usual answers, which are whole Nodes. With `--brief` another one
takes its turn as well, which asks for the metadata alone, as the product does: what is left of the
ratio then is what the product does beside its writes.

The bodies are those of a product's round that is not counted: what it made of a node is written
again by the loop, through the product's own codec. After each round all nodes must look alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _bare_loop import USER_AGENT as BARE_USER_AGENT
from _join import CONSOLE_SCRIPT, HEADS, Rounds, columns, conduct, look, rounds, say, summary
from msgspec.structs import replace
from rich import box
from rich.console import Console
from rich.table import Table

from provider.kube.api import METADATA
from provider.kube.encode import main_write, status_write
from provider.model import TAINT_UNINITIALIZED, NodePatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _clock import Result

    from provider.model import Node

PRODUCT, LOOP, BRIEF_LOOP = "product", "bare loop", "brief loop"
BARE_LOOP = Path(__file__).with_name("_bare_loop.py")
PROFILED = Path(__file__).with_name("_profiled.py")


# ---- what is written ---------------------------------------------------------------------------


def bodies(before: Node, after: Node) -> list[tuple[str, str, str]]:
    """The two writes that make of the one node what the product has made of the other."""
    patch = NodePatch(
        addresses=after.addresses,
        labels=dict(after.labels.items() - before.labels.items()),
        annotations=dict(after.annotations.items() - before.annotations.items()),
        provider_id=after.provider_id,
        taints=tuple(t for t in before.taints if t.key != TAINT_UNINITIALIZED),
    )
    status = status_write(before, patch)
    main = main_write(replace(before, addresses=after.addresses), patch)
    path = f"/api/v1/nodes/{before.name}"
    return [
        (f"{path}/status", status.content_type, json.dumps(status.body)),
        (path, main.content_type, json.dumps(main.body)),
    ]


# ---- the two -----------------------------------------------------------------------------------


async def bare_loop(bench: Rounds, model: Mapping[str, Node], accept: str) -> Result:
    """A round of the bare loop, which makes of all nodes what they are in `model`."""
    await bench.stage.set_up()
    before = await bench.stage.nodes()
    task = {
        "kubeconfig": str(bench.kubeconfig),
        "workers": bench.workers,
        "accept": accept,
        "nodes": [bodies(before[name], model[name]) for name in model],
    }
    line = json.dumps(task).encode() + b"\n"
    return await bench.measured(BARE_USER_AGENT, sys.executable, BARE_LOOP, stdin=line)


async def measure(bench: Rounds, count: int, *, has_brief: bool) -> dict[str, list[Result]]:
    """The results of the product and of each loop, round by round."""
    say("a round of the product that is not counted")
    await bench.product(CONSOLE_SCRIPT)
    model = await bench.stage.nodes()
    turns = {
        PRODUCT: partial(bench.product, CONSOLE_SCRIPT),
        LOOP: partial(bare_loop, bench, model, "application/json"),
    }
    if has_brief:
        turns[BRIEF_LOOP] = partial(bare_loop, bench, model, METADATA)
    results: dict[str, list[Result]] = {name: [] for name in turns}
    for n in range(count):
        for name in turns if n % 2 == 0 else reversed(turns):
            result = await turns[name]()
            results[name].append(result)
            require_alike(await bench.stage.nodes(), model, name)
            say(f"round {n + 1} of {count}, {name}: {result.seconds:.2f} s")
    return results


def require_alike(nodes: Mapping[str, Node], model: Mapping[str, Node], name: str) -> None:
    """SystemExit when a node is not what it is in `model`, or is not initialised."""
    for node in nodes.values():
        if node.is_uninitialized or look(node) != look(model[node.name]):
            sys.exit(f"{name}: node {node.name} is not as it should be: {look(node)}")


async def run(arguments: argparse.Namespace, assets: Path) -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        async with rounds(
            assets, Path(folder), arguments.nodes, arguments.workers, kcm=arguments.kcm
        ) as bench:
            results = await measure(bench, arguments.rounds, has_brief=arguments.brief)
            if arguments.profile:
                say("a round of the product that is profiled and not counted")
                await bench.product(sys.executable, PROFILED, arguments.profile)
    report(arguments, results)


# ---- the report --------------------------------------------------------------------------------


def ratios(
    products: Sequence[Result], loops: Sequence[Result], value: Callable[[Result], float]
) -> list[float]:
    """The product's to the loop's, round by round."""
    return [value(p) / value(b) for p, b in zip(products, loops, strict=True)]


def seconds(result: Result) -> float:
    """From the first write to the last."""
    return result.seconds


def all_cpu(result: Result) -> float:
    """CPU seconds of client, API server and etcd."""
    return result.cpu + result.server_cpu


def report(arguments: argparse.Namespace, results: Mapping[str, Sequence[Result]]) -> None:
    """Print the table; write the numbers to a file when one is named."""
    products = results[PRODUCT]
    title = f"{arguments.nodes} nodes, {arguments.workers} workers, medians"
    caption = (
        "p50, p99: of a node; CPU s: the client's, then API server's and etcd's; MiB: peak RSS"
    )
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for name, rows in results.items():
        table.add_row(name, *columns(arguments.nodes, rows))
    console = Console()
    console.print(table)
    for name, loops in results.items():
        if name != PRODUCT:
            console.print(f"product / {name}:")
            console.print(f"  seconds  {summary(ratios(products, loops, seconds))}")
            console.print(f"  all CPU  {summary(ratios(products, loops, all_cpu))}")
    leads = [result.lead for result in products if result.lead is not None]
    console.print(f"seconds before the product's first write: {summary(leads)}")
    if arguments.json:
        numbers = {
            "nodes": arguments.nodes,
            "workers": arguments.workers,
            "kcm": arguments.kcm,
            "ratio": statistics.median(ratios(products, results[LOOP], seconds)),
            "cpu_ratio": statistics.median(ratios(products, results[LOOP], all_cpu)),
            "product": [asdict(result) for result in products],
            "bare_loop": [asdict(result) for result in results[LOOP]],
        }
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=32, help="of the product and of the loop")
    parser.add_argument("--brief", action="store_true", help="also a loop with short answers")
    parser.add_argument("--kcm", action="store_true", help="with kube-controller-manager")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="where to write a profile of the product"
    )
    conduct(parser, run)


if __name__ == "__main__":
    main()
