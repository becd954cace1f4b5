"""Most VMs vanish: nothing more is deleted than the budget, whoever leads, until told so."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

from tests.kube.admin import RefusedError
from tests.kube.product import eventually, taint_keys, vm
from tests.kube.replicas import LEASE, Replicas

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kube.admin import Admin, Object
    from tests.kube.control_plane import ControlPlane
    from tests.kube.replicas import Replica

_LEDGER = "ccm.ovirt.org/deletions"
_COUNT = 10
_GONE = 6  # of them; the budget is a tenth


async def test_the_latch_outlives_the_leader_that_set_it(
    control_plane: ControlPlane, admin: Admin, node_prefix: str, tmp_path: Path
) -> None:
    names = [f"{node_prefix}{n}" for n in range(_COUNT)]
    machines = vm(f"{node_prefix}{{n}}", "10.9.5.1", count=_COUNT)
    async with Replicas(control_plane, admin, tmp_path, [machines]) as replicas:
        await _join(replicas, admin, names)
        first = await replicas.leader()
        assert first
        for name in names[:_GONE]:
            replicas.engine.world.forget(replicas.engine.world.vm(name))
            await _report(admin, name, "Unknown")
        await eventually(lambda: _is_latched(admin), "the budget is latched")

        first.send(signal.SIGKILL)
        await first.ended()
        second, _ = await replicas.takeover(first)
        await eventually(lambda: _holds(replicas, second), "the next leader holds every node")
        held = await admin.nodes(node_prefix)
        said = await replicas.command("deletions", "allow")
        await eventually(lambda: _has_let_go(admin, node_prefix), "they are let go")
        deletions = [entry for entry in replicas.writes() if entry.verb == "delete"]

    assert len(held) == _COUNT - 1
    assert "The latch is lifted" in said
    assert len(deletions) == _GONE
    assert [entry.user for entry in deletions] == [first.user] + [second.user] * (_GONE - 1)
    replicas.require_one_writer()


async def _join(replicas: Replicas, admin: Admin, names: list[str]) -> None:
    """These nodes are initialised and ready."""
    for name in names:
        await admin.create_node(name, system_uuid=replicas.engine.world.vm(name).id)
        await _report(admin, name, "True")

    async def are_clean() -> bool:
        nodes = [await admin.node(name) for name in names]
        return not any(node is None or taint_keys(node) for node in nodes)

    await eventually(are_clean, "all are initialised")


async def _report(admin: Admin, name: str, status: str) -> None:
    """What the kubelet, or for it kube-controller-manager, says of the node."""
    condition = {"type": "Ready", "status": status}
    await admin.patch_node(name, {"status": {"conditions": [condition]}}, subresource="status")


async def _is_latched(admin: Admin) -> bool:
    try:
        lease: Object = await admin.call("GET", LEASE)
    except RefusedError:
        return False
    record = lease["metadata"].get("annotations", {}).get(_LEDGER, "{}")
    return json.loads(record).get("latched") is not None


async def _holds(replicas: Replicas, leader: Replica) -> bool:
    """Whether it has said of every node that is left without VM that it is held."""
    await asyncio.sleep(0.5)
    events = [
        entry
        for entry in replicas.writes(leader)
        if entry.resource == "events" and "/default/" in entry.uri
    ]
    return len(events) >= _GONE - 1


async def _has_let_go(admin: Admin, prefix: str) -> bool:
    return len(await admin.nodes(prefix)) == _COUNT - _GONE
