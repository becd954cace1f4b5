"""All benchmarks one after another; what they print becomes the blocks of RESULTS.md.

The text around the blocks is written by hand. A block is replaced whole; `--only` renews some of
them, such as `--only decode peer`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"

PARTS: dict[str, tuple[str, ...]] = {
    "decode": ("decode.py",),
    "join": ("join.py", "--nodes", "5000", "--rounds", "7", "--brief"),
    "steady": ("steady.py", "--nodes", "5000"),
    "lookup": ("lookup.py",),
    "growth": ("growth.py",),
    "peer": ("peer.py", "--nodes", "1000", "--rounds", "1"),
    "peer-best": ("peer.py", "--nodes", "5000", "--best-only", "--rounds", "5"),
}
"""The blocks, and the commands that they are the output of."""

MARKDOWN = frozenset({"growth"})
"""Blocks that are Markdown already; others are shown as they are printed."""


def machine() -> str:
    """What it was measured on, and when."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} processors, {memory} GiB;"
        f" Linux {platform.release()}, Python {platform.python_version()};"
        f" {datetime.now(UTC):%Y-%m-%d}"
    )


def output(name: str) -> str:
    """What the benchmark prints, as Markdown; SystemExit when it fails."""
    script, *arguments = PARTS[name]
    print(f"== {name}", file=sys.stderr, flush=True)
    done = subprocess.run(  # noqa: S603 - our own
        (sys.executable, str(HERE / script), *arguments),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed")
    if name in MARKDOWN:
        return done.stdout.strip()
    lines = (line.rstrip() for line in done.stdout.strip("\n").splitlines())
    return "```\n" + "\n".join(lines) + "\n```"


def replaced(text: str, name: str, block: str) -> str:
    """`text` with another block of this name."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{RESULTS.name} has no block {name}")
    return f"{before}{begin}\n{block}\n{end}{after}"


def main() -> None:
    """Measure, and write each block when it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    for name in parser.parse_args().only:
        command = " ".join(PARTS[name])
        block = f"`benchmarks/{command}` on {machine()}\n\n{output(name)}"
        RESULTS.write_text(replaced(RESULTS.read_text(), name, block))


if __name__ == "__main__":
    main()
