"""What a client did to Nodes, by the API server's audit log and by /proc: the same for any."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.kube.audit import AuditEntry
    from tests.kube.control_plane import ControlPlane

NAME = re.compile(rb'"resource":"nodes","name":"([^"]+)"')
LOOK = 0.02  # seconds between two looks at a process


@dataclass(frozen=True, slots=True)
class Result:
    """One round of a client; seconds, MiB.

    `seconds` are from its first write to its last one's answer, `whole` from its start to that.
    """

    seconds: float
    whole: float
    lead: float | None
    writes: int
    requests: int
    p50: float
    p99: float
    cpu: float
    server_cpu: float
    rss: float


class Stuck(Exception):
    """A client has ended, or writes nothing any more, before all was written."""


class Watch:
    """The CPU seconds of some processes over time."""

    def __init__(self, *pids: int) -> None:
        self._folders = [Path(f"/proc/{pid}") for pid in pids]
        self._samples: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Sample until cancelled, or until one of them ends."""
        with contextlib.suppress(OSError):
            while True:
                self._samples.append((time.time(), sum(map(cpu_seconds, self._folders))))
                await asyncio.sleep(LOOK)

    def cpu(self, began: float, ended: float) -> float:
        """Their CPU seconds between two moments of the wall clock."""
        return self._at(ended) - self._at(began)

    @property
    def peak_rss(self) -> float:
        """The most memory that each of them had so far, in MiB and summed."""
        return sum(map(peak_rss, self._folders))

    def _at(self, moment: float) -> float:
        return next((cpu for then, cpu in self._samples if then >= moment), self._samples[-1][1])


def cpu_seconds(process: Path) -> float:
    """What it has used so far, by its folder in /proc."""
    user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_rss(process: Path) -> float:
    """The most memory that it had so far, in MiB, by its folder in /proc."""
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


class Clock:
    """What one client did since now, by the audit log."""

    def __init__(
        self, cluster: ControlPlane, user_agent: str, nodes: int, patience: float
    ) -> None:
        """`patience` are the seconds without a write after which it is stuck."""
        self._cluster = cluster
        self._user_agent = user_agent
        self._since = cluster.audit_position()
        self._started = datetime.now(UTC)
        self._nodes = nodes
        self._patience = patience

    async def all_written(self, is_running: Callable[[], bool]) -> None:
        """Return when each node was written twice; Stuck when no write comes any more."""
        agent = f'"userAgent":"{self._user_agent}'.encode()
        wanted = (agent, b'"resource":"nodes"', b'"code":200')
        writes: Counter[bytes] = Counter()
        left, heard = self._nodes, time.monotonic()
        with (self._cluster.folder / "audit.log").open("rb") as log:
            log.seek(self._since)
            while left > 0:
                lines = log.read().splitlines(keepends=True)
                if lines and not lines[-1].endswith(b"\n"):
                    log.seek(-len(lines.pop()), 1)
                found = [line for line in lines if all(part in line for part in wanted)]
                writes.update(filter(None, map(changed_node, found)))
                left = self._nodes - sum(count >= 2 for count in writes.values())
                heard = time.monotonic() if found else heard
                if time.monotonic() - heard > self._patience or not is_running():
                    raise Stuck(f"{self._user_agent}: {left} nodes were never written twice")
                await asyncio.sleep(0.1)

    def result(self, client: Watch, server: Watch) -> Result:
        """What it took."""
        entries = self._cluster.audit(user_agent=self._user_agent, since=self._since)
        writes = [e for e in entries if e.resource == "nodes" and e.is_write]
        began = min(e.received for e in writes)
        ended = max(e.answered for e in writes)
        lists = [e.answered for e in entries if e.verb == "list" and e.received < began]
        window = began.timestamp(), ended.timestamp()
        took = sorted(per_node(writes))
        return Result(
            seconds=(ended - began).total_seconds(),
            whole=(ended - self._started).total_seconds(),
            lead=(began - min(lists)).total_seconds() if lists else None,
            writes=len(writes),
            requests=sum(began <= e.received and e.answered <= ended for e in entries),
            p50=took[len(took) // 2],
            p99=took[len(took) * 99 // 100],
            cpu=client.cpu(*window),
            server_cpu=server.cpu(*window),
            rss=client.peak_rss,
        )


def changed_node(line: bytes) -> bytes:
    """The node that a line of the audit log says was changed; empty for a reading."""
    is_change = b'"verb":"patch"' in line or b'"verb":"update"' in line
    found = NAME.search(line) if is_change else None
    return found[1] if found else b""


def per_node(writes: Sequence[AuditEntry]) -> Iterator[float]:
    """For each node the seconds from its first write's arrival to its last one's answer."""
    by_name: dict[str, list[AuditEntry]] = {}
    for write in writes:
        by_name.setdefault(write.name, []).append(write)
    for entries in by_name.values():
        ended = max(e.answered for e in entries)
        yield (ended - min(e.received for e in entries)).total_seconds()
