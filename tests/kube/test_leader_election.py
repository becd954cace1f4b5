"""Three replicas on a real API server: who takes over when, and that never two write."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kube.product import eventually, is_initialised, vm
from tests.kube.replicas import Replicas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kube.admin import Admin
    from tests.kube.control_plane import ControlPlane

_COUNT = 300
_PLENTY = 200  # nodes: more than can be initialised while a signal is sent
_RELEASED = 3.0  # seconds
_EXPIRED = 20.0


class Nodes:
    """Nodes of the test, made when it says so."""

    def __init__(self, admin: Admin, prefix: str) -> None:
        self._admin = admin
        self._prefix = prefix
        self._made = 0

    async def make(self, count: int) -> None:
        """So many more, tainted as their kubelets do."""
        names = [f"{self._prefix}{n}" for n in range(self._made, self._made + count)]
        self._made += count
        await asyncio.gather(*(self._admin.create_node(name) for name in names))

    async def count_initialised(self) -> int:
        """How many have lost their taint."""
        return sum(map(is_initialised, await self._admin.nodes(self._prefix)))

    async def are_initialised(self) -> bool:
        """Whether all have."""
        return await self.count_initialised() == self._made


@pytest.fixture
def nodes(admin: Admin, node_prefix: str) -> Nodes:
    return Nodes(admin, node_prefix)


@pytest.fixture
async def replicas(
    control_plane: ControlPlane, admin: Admin, node_prefix: str, tmp_path: Path
) -> AsyncIterator[Replicas]:
    machines = vm(f"{node_prefix}{{n}}", "10.9.1.1", count=_COUNT)
    async with Replicas(control_plane, admin, tmp_path, [machines]) as replicas:
        yield replicas


async def test_an_upgrade_is_no_pause(replicas: Replicas, nodes: Nodes) -> None:
    old = await replicas.leader()
    assert old
    making = asyncio.create_task(nodes.make(_PLENTY))
    await eventually(nodes.count_initialised, "work has begun")

    old.send(signal.SIGTERM)
    new, seconds = await replicas.takeover(old)
    await making
    await eventually(nodes.are_initialised, "the new leader does the rest")

    assert seconds <= _RELEASED
    assert await old.ended() == 0
    released = [entry for entry in replicas.writes(old) if entry.resource == "leases"][-1]
    later = [e for e in replicas.writes(old) if e.received > released.received]
    assert [entry.resource for entry in later] == ["events"]  # that it leads no longer
    assert new.has_said("leading")
    replicas.require_one_writer()


async def test_a_leader_that_stops_or_dies_is_replaced_and_writes_nothing_more(
    replicas: Replicas, nodes: Nodes
) -> None:
    stopped = await replicas.leader()
    assert stopped
    making = asyncio.create_task(nodes.make(_PLENTY))
    await eventually(nodes.count_initialised, "work has begun")

    stopped.send(signal.SIGSTOP)
    killed, seconds = await replicas.takeover(stopped)
    await making
    assert not stopped.has_said("lease lost")
    assert seconds <= _EXPIRED

    written = len(replicas.writes(stopped))
    await nodes.make(20)
    stopped.send(signal.SIGCONT)
    assert await stopped.ended() == 1
    await eventually(nodes.are_initialised, "the new leader does the rest")
    assert stopped.has_said("error: this process leads no longer")
    later = replicas.writes(stopped)[written:]
    # The Event that it leads no longer, and perhaps a try to release what is another's now.
    assert {(entry.resource, entry.code) for entry in later} <= {("events", 201), ("leases", 409)}
    assert all("/kube-system/" in entry.uri for entry in later)

    killed.send(signal.SIGKILL)
    await killed.ended()
    last, seconds = await replicas.takeover(killed)
    await nodes.make(20)
    await eventually(nodes.are_initialised, "the last one does the rest")
    assert seconds <= _EXPIRED
    assert last not in (stopped, killed)
    replicas.require_one_writer()
