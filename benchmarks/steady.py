"""A cluster at rest, and one change in it: what the product costs, and how soon it follows.

The product starts beside tainted nodes and initialises them. Then nothing happens for some polls:
requests to the engine, writes to the API server and CPU seconds a poll are counted. The CPU is
compared with a bare loop that reads the same pages into msgspec's structs (`_bare_poll.py`), the
least that a poll can cost. The events of the engine's log, read once a second, are told apart: a
minute of them is in the table, and the CPU of a poll holds those that fall into it. Ten polls are
as long as `intervals.resync`, so that each node is looked at again once in them.

Then VMs migrate one by one, at random moments, with the product's intervals at their defaults. The
time of a change is from the engine's own event of the end of the migration to the answer of the
API server to the write that says so on the Node.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import ssl
import statistics
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import aiohttp
from _clock import Clock, Watch, cpu_seconds, peak_rss
from _join import CONSOLE_SCRIPT, Rounds, client, conduct, rounds, say
from _servers import reader
from _stage import MIGRATION, OPERATOR, PASSWORD, USER
from rich import box
from rich.console import Console
from rich.table import Table

from provider.config import Intervals, Limits, Selection
from provider.ovirt.reads import FOLLOW
from provider.ovirt.selection import search_text
from tests.kube.product import USER_AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.kube.audit import AuditEntry

BARE_POLL = Path(__file__).with_name("_bare_poll.py")
LISTINGS = "ovirt_ccm_snapshot_duration_seconds_count"
REQUESTS = "ovirt_ccm_engine_requests_total"
QUIET = 5.0  # seconds without a write
PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that was measured; seconds, MiB."""

    nodes: int
    first_node: float
    polls: int
    requests_a_poll: float
    pages: int
    events_a_minute: float
    writes: int
    cpu_a_poll: float
    bare_cpu: float
    rss: float
    changes: Sequence[float]


class Product:
    """The running product, as its metrics, its process and the audit log tell of it."""

    def __init__(self, bench: Rounds, process: Path, port: int, token: str) -> None:
        self._bench = bench
        self._process = process
        self._url = f"https://127.0.0.1:{port}/metrics"
        self._token = token

    async def metrics(self) -> dict[str, float]:
        """All series as they are now."""
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {self._token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self._url, headers=headers, ssl=trust, raise_for_status=True) as reply,
        ):
            lines = (await reply.text()).splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        return cpu_seconds(self._process)

    @property
    def rss(self) -> float:
        """The most memory that it had."""
        return peak_rss(self._process)


def total(metrics: Mapping[str, float], name: str, *without: str) -> float:
    """The sum of a metric's series whose labels hold none of `without`."""
    return sum(
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == name and not any(word in series for word in without)
    )


# ---- at rest -----------------------------------------------------------------------------------


async def until_quiet(bench: Rounds) -> None:
    """Return when nothing has been written for a while: Events of a join go out slowly."""
    is_quiet = False
    while not is_quiet:
        position = bench.cluster.audit_position()
        await asyncio.sleep(QUIET)
        is_quiet = not written(bench, position)


def written(bench: Rounds, since: int) -> list[AuditEntry]:
    """What the product has written since then, but for its Lease."""
    entries = bench.cluster.audit(user_agent=USER_AGENT, since=since)
    return [e for e in entries if e.is_write and e.resource in ("nodes", "events")]


async def at_rest(bench: Rounds, product: Product, polls: int) -> dict[str, Any]:
    """What so many polls cost."""
    say(f"{polls} polls at rest")
    position = bench.cluster.audit_position()
    before, cpu, began = await product.metrics(), product.cpu(), datetime.now(UTC)
    listed = 0.0
    while listed < polls:  # a look at the metrics costs CPU too: there are few
        await asyncio.sleep(polls * Intervals().poll.total_seconds())
        after, used = await product.metrics(), product.cpu() - cpu
        listed = total(after, LISTINGS) - total(before, LISTINGS)
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    events = 'verb="events"'
    all_requests = total(after, REQUESTS) - total(before, REQUESTS)
    polled = total(after, REQUESTS, events) - total(before, REQUESTS, events)
    return {
        "polls": int(listed),
        "requests_a_poll": polled / listed,
        "events_a_minute": (all_requests - polled) / minutes,
        "writes": len(written(bench, position)),
        "cpu_a_poll": used / listed,
    }


async def bare_cpu(bench: Rounds, times: int) -> float:
    """The CPU seconds of a bare reading of all VMs, the median."""
    search = search_text(Selection(), 1).removesuffix(" page 1")
    task = {
        "url": bench.engine,
        "username": USER,
        "password": PASSWORD,
        "search": search,
        "follow": FOLLOW,
        "page_size": Limits().page_size,
        "times": times + 1,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        BARE_POLL,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    output, _ = await process.communicate(json.dumps(task).encode() + b"\n")
    return statistics.median([float(line) for line in output.split()][1:])


# ---- changes -----------------------------------------------------------------------------------


async def changes(bench: Rounds, count: int) -> list[float]:
    """The seconds from the end of each of so many migrations to the write that says so."""
    say(f"{count} migrations")
    position = bench.cluster.audit_position()
    form = {
        "grant_type": "password",
        "scope": "ovirt-app-api",
        "username": OPERATOR,
        "password": PASSWORD,
    }
    chance = random.Random(1)  # noqa: S311 - the same moments in each run
    async with aiohttp.ClientSession(headers={"Accept": "application/json"}) as session:
        async with session.post(f"{bench.engine}/sso/oauth/token", data=form) as reply:
            token = (await reply.json(content_type=None))["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        session.headers["Filter"] = "false"
        nodes = await bench.stage.nodes()
        for node in chance.sample(sorted(nodes.values(), key=lambda n: n.name), count):
            vm = node.provider_id.removeprefix("ovirt://")
            body = {"host": {"name": "hv-2"}}
            async with session.post(
                f"{bench.engine}/api/vms/{vm}/migrate", json=body, raise_for_status=True
            ):
                pass
            await asyncio.sleep(MIGRATION + chance.uniform(0.2, 2.0))
        await asyncio.sleep(5)
        search = {"search": "type=63", "max": str(count)}
        async with session.get(f"{bench.engine}/api/events", params=search) as reply:
            events = json.loads(await reply.text())["event"]
    ended = {
        name_of(event): int(event["time"]) / 1000 for event in events if event["code"] == "63"
    }
    told = {
        entry.name: entry.answered.timestamp()
        for entry in written(bench, position)
        if entry.resource == "nodes" and entry.code == 200
    }
    missing = ended.keys() - told.keys()
    if len(ended) != count or missing:
        sys.exit(f"{len(ended)} of {count} migrations ended, {len(missing)} never written")
    return sorted(told[name] - ended[name] for name in ended)


def name_of(event: Mapping[str, Any]) -> str:
    """The VM that an event of a migration is of."""
    found = re.search(r"VM: ([^,]+),", event["description"])
    return found[1] if found else ""


# ---- all of it ---------------------------------------------------------------------------------


async def measure(bench: Rounds, arguments: argparse.Namespace) -> Numbers:
    """Start the product beside tainted nodes, and measure one thing after the other."""
    configure(bench.folder)
    token = reader(bench.cluster)
    await bench.stage.set_up()
    log = bench.folder / "client.log"
    clock = Clock(bench.cluster, USER_AGENT, bench.nodes, PATIENCE)
    config = ("--config", bench.folder / "config.yaml", "--kubeconfig", bench.kubeconfig)
    async with client(CONSOLE_SCRIPT, "run", *config, log=log) as process:
        watch = Watch(process.pid)
        async with asyncio.TaskGroup() as tasks:
            sampling = tasks.create_task(watch.run())
            await clock.all_written(lambda: process.returncode is None)
            await asyncio.sleep(0.1)
            sampling.cancel()
        joined = clock.result(watch, watch)
        product = Product(bench, Path(f"/proc/{process.pid}"), port_in(log), token)
        if not arguments.at_once:
            say("waiting until the Events of the join are sent")
            await until_quiet(bench)
        rest = await at_rest(bench, product, arguments.polls)
        took = await changes(bench, arguments.changes)
        rss = product.rss
    return Numbers(
        nodes=bench.nodes,
        first_node=joined.whole - joined.seconds,
        pages=bench.nodes // Limits().page_size + 1,  # the last is not full
        bare_cpu=await bare_cpu(bench, arguments.polls),
        rss=rss,
        changes=took,
        **rest,
    )


def configure(folder: Path) -> None:
    """Have the product say its port in a form that can be read."""
    path = folder / "config.yaml"
    config = json.loads(path.read_text())
    config["logging"] = {"format": "json"}
    path.write_text(json.dumps(config))


def port_in(log: Path) -> int:
    """The port that the product says it serves."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if '"started"' in line)
    return int(next(lines)["port"])


def report(numbers: Numbers, file: Path | None) -> None:
    """Print the table; write the numbers to a file when one is named."""
    took = numbers.changes
    ratio = numbers.cpu_a_poll / numbers.bare_cpu
    rows = {
        "from the start to the first write to a Node": f"{numbers.first_node:.2f} s",
        "requests to the engine a poll": f"{numbers.requests_a_poll:.1f} ({numbers.pages} pages)",
        "looks into the event log a minute": f"{numbers.events_a_minute:.0f}",
        f"writes in {numbers.polls} polls": f"{numbers.writes}",
        "CPU a poll": f"{numbers.cpu_a_poll:.3f} s",
        "CPU of a bare reading": f"{numbers.bare_cpu:.3f} s, ratio {ratio:.2f}",
        "change to Node, p50": f"{took[len(took) // 2]:.2f} s",
        "change to Node, p99": f"{took[len(took) * 99 // 100]:.2f} s, worst {took[-1]:.2f} s",
        "peak memory": f"{numbers.rss:.0f} MiB",
    }
    table = Table(title=f"{numbers.nodes} nodes", box=box.SIMPLE_HEAD, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    if file:
        file.write_text(json.dumps(asdict(numbers), indent=2) + "\n")


async def run(arguments: argparse.Namespace, assets: Path) -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        async with rounds(assets, Path(folder), arguments.nodes, Limits().workers) as bench:
            numbers = await measure(bench, arguments)
    report(numbers, arguments.json)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--polls", type=int, default=10)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument(
        "--at-once",
        action="store_true",
        help="while the Events of the join, 20 a second, are still sent: they count as writes",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    conduct(parser, run)


if __name__ == "__main__":
    main()
