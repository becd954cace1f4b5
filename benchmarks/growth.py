"""How time, memory and requests grow with the cluster; a table and plots in Markdown.

For each size a join beside the bare loop (`join.py`) and the polls after it (`steady.py`), each as
a process of its own. What must stay flat: the ratio to the bare loop, the memory that a further
node needs, and the requests to the engine a node.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
SIZES = (500, 1000, 2000, 5000, 10_000, 20_000)
ROUNDS_OF = 6000  # nodes in all rounds of a size: short joins differ more from each other


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one size."""

    nodes: int
    join: dict[str, Any]
    steady: dict[str, Any]
    smaller: Point | None = None

    @property
    def seconds(self) -> float:
        """Of the product's join, the median."""
        return statistics.median(float(r["seconds"]) for r in self.join["product"])

    @property
    def memory(self) -> float:
        """The most memory that the product had, in MiB."""
        return max(float(r["rss"]) for r in (self.steady, *self.join["product"]))

    @property
    def growth(self) -> float | None:
        """The KiB that each node more than at the smaller size has taken."""
        if self.smaller is None:
            return None
        more = self.memory - self.smaller.memory
        return 1024 * more / (self.nodes - self.smaller.nodes)

    @property
    def worst_change(self) -> float:
        """The slowest of the changes, in seconds."""
        return float(self.steady["changes"][-1])


COLUMNS: dict[str, Callable[[Point], str]] = {
    "nodes": lambda p: f"{p.nodes:,}",
    "join, s": lambda p: f"{p.seconds:.1f}",
    "to bare loop, time": lambda p: f"{p.join['ratio']:.2f}",
    "to bare loop, all CPU": lambda p: f"{p.join['cpu_ratio']:.2f}",
    "memory, MiB": lambda p: f"{p.memory:.0f}",
    "KiB a further node": lambda p: "" if p.growth is None else f"{p.growth:.0f}",
    "engine requests a poll": lambda p: f"{p.steady['requests_a_poll']:.0f}",
    "requests a 1,000 nodes": lambda p: f"{1000 * p.steady['requests_a_poll'] / p.nodes:.1f}",
    "slowest change, s": lambda p: f"{p.worst_change:.1f}",
    "first node, s": lambda p: f"{p.steady['first_node']:.1f}",
}


def measured(folder: Path, nodes: int, smaller: Point | None) -> Point:
    """The numbers of one size; SystemExit when one of the two fails."""
    rounds = min(max(ROUNDS_OF // nodes, 1), 5)
    join = numbers("join.py", folder, "--nodes", str(nodes), "--rounds", str(rounds))
    few = ("--polls", "2", "--changes", "5", "--at-once")
    steady = numbers("steady.py", folder, "--nodes", str(nodes), *few)
    return Point(nodes, join, steady, smaller)


def numbers(script: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """What a benchmark has written."""
    file = folder / "numbers.json"
    command = (sys.executable, str(HERE / script), *arguments, "--json", str(file))
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - ours
    if done.returncode:
        sys.exit(f"{script} {' '.join(arguments)} failed")
    read: dict[str, Any] = json.loads(file.read_text())
    return read


# ---- the report --------------------------------------------------------------------------------


def table(points: Sequence[Point]) -> str:
    """All numbers."""
    rows = [tuple(cell(point) for cell in COLUMNS.values()) for point in points]
    lines = [tuple(COLUMNS), ("---:",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(points: Sequence[Point], title: str, value: Callable[[Point], float]) -> str:
    """One curve over the number of nodes."""
    values = [value(point) for point in points]
    sizes = ", ".join(f'"{point.nodes}"' for point in points)
    heights = ", ".join(f"{one:.2f}" for one in values)
    return (
        "```mermaid\nxychart-beta\n"
        f'    title "{title}"\n'
        f'    x-axis "nodes" [{sizes}]\n'
        f"    y-axis 0 --> {1.2 * max(values):.2f}\n"
        f"    line [{heights}]\n```"
    )


def report(points: Sequence[Point]) -> str:
    """The table and the plots."""
    plots = (
        plot(points, "time of a join to that of the bare loop", lambda p: float(p.join["ratio"])),
        plot(points, "memory, MiB", lambda p: p.memory),
        plot(
            points,
            "requests to the engine a poll and 1,000 nodes",
            lambda p: 1000 * p.steady["requests_a_poll"] / p.nodes,
        ),
    )
    return "\n\n".join((table(points), *plots))


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    points: list[Point] = []
    try:
        with TemporaryDirectory() as folder:
            for nodes in sorted(set(arguments.sizes)):
                points.append(measured(Path(folder), nodes, points[-1] if points else None))
                print(table(points), file=sys.stderr, flush=True)  # a later size may fail
    except KeyboardInterrupt:
        sys.exit(130)
    print(report(points))


if __name__ == "__main__":
    main()
