"""Nodes live and die only by proof, whatever the engine or the API server does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.model import ANNOTATION_HOLD, ANNOTATION_OUT_OF_SERVICE
from provider.simulator.cluster import BadGateway, Conflict, GatewayTimeout, Refusal
from tests.controllers.lab import until, working
from tests.ovirt.lab import many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from provider.simulator.cluster import Kubelet
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec
    from tests.controllers.lab import Lab

pytestmark = pytest.mark.looptime

SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
LEDGER = "ccm.ovirt.org/deletions"
LEASE = "kube-system", "ovirt-cloud-controller-manager"
LONG = 240.0  # seconds in which a controller that errs would have erred


class Herd:
    """Nodes of ours that are initialised and ready, and their kubelets."""

    def __init__(self, lab: Lab, kubelets: dict[str, Kubelet]) -> None:
        self.lab = lab
        self.kubelets = kubelets

    def lose(self, *names: str) -> None:
        """These VMs are removed, and their kubelets fall silent."""
        for name in names:
            self.lab.engine.world.forget(self.lab.vm(name))
            self.kubelets[name].stop()

    def power_off(self, *names: str) -> None:
        """These VMs go down, and their kubelets fall silent."""
        for name in names:
            self.lab.vm(name).stop()
            self.kubelets[name].stop()

    def taints(self, name: str) -> set[str]:
        """The keys of the node's taints."""
        return {taint["key"] for taint in self.lab.node(name)["spec"].get("taints") or ()}

    @property
    def left(self) -> set[str]:
        """The nodes that there are."""
        return {node["metadata"]["name"] for node in self.lab.cluster.nodes}

    @property
    def record(self) -> Any:
        """What the Lease says of deletions."""
        return json.loads(self.lab.cluster.lease(*LEASE)["metadata"]["annotations"][LEDGER])

    @property
    def is_latched(self) -> bool:
        """Whether the Lease says that nothing more may be deleted."""
        return self.deletes > 0 and self.record["latched"] is not None

    @property
    def deletes(self) -> int:
        """How many deletions were sent, whatever came of them."""
        return len(self.lab.writes("DELETE"))


@asynccontextmanager
async def herd(
    folder: Path, *vms: VmSpec, names: Sequence[str] = ("w0", "w1"), **sections: Any
) -> AsyncIterator[Herd]:
    """Two nodes, or those of these names, after the first listings that know them."""
    async with working(folder, *(vms or (many(len(names)),)), **sections) as lab:
        kubelets = {name: lab.cluster.kubelet(name, system_uuid=lab.vm(name).id) for name in names}
        await until(lambda: all(lab.is_initialised(name) for name in names))
        for kubelet in kubelets.values():
            kubelet.ready()
        await asyncio.sleep(5)
        yield Herd(lab, kubelets)


# ---- deletion ---------------------------------------------------------------------------------


async def test_a_node_whose_vm_was_removed_is_deleted(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})

        assert nodes.deletes == 1
        assert nodes.lab.metric("deletions_total", result="deleted") == 1
        [entry] = nodes.record["deletions"]
        assert entry["node"] == "w0"
        assert nodes.record["latched"] is None
        await until(lambda: nodes.lab.events("DeletingNode"))


async def test_the_record_comes_before_the_deletion_and_the_proof_right_before_it(
    tmp_path: Path,
) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})
        [(deleted, _)] = nodes.lab.writes("DELETE")
        recorded = nodes.lab.writes("POST", "/leases") + nodes.lab.writes("PATCH", "/leases")

        assert recorded
        assert all(at <= deleted for at, _ in recorded)


async def test_three_listings_must_lack_the_vm_first(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        await until(lambda: (nodes.lab.inventory.age or 0.0) < 1)
        gone = asyncio.get_running_loop().time()
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})

        assert asyncio.get_running_loop().time() - gone > 3 * 27 - 1


async def test_a_ready_node_is_never_deleted(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.engine.world.forget(nodes.lab.vm("w0"))
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}


async def test_a_node_that_comes_back_in_the_last_moment_stays(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        faults = nodes.lab.cluster.faults
        outage = faults.inject(BadGateway(), times=None, path="/leases")
        nodes.lose("w0")
        await until(lambda: nodes.lab.events("DeletionHeld"))
        nodes.kubelets["w0"].ready()
        faults.remove(outage)
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.deletes == 0


def _return(lab: Lab, machine: Vm) -> None:
    lab.engine.world.vms[machine.id] = machine


def _fall_ill(lab: Lab, _machine: Vm) -> None:
    lab.engine.faults.status = 503


@pytest.mark.parametrize("happen", [_return, _fall_ill])
async def test_the_last_proof_decides(happen: Callable[[Lab, Vm], None], tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        machine = nodes.lab.vm("w0")
        nodes.lab.engine.faults.delay = 1.0
        nodes.lab.engine.faults.paths = "/api/vms/"
        nodes.lose("w0")
        await until(lambda: nodes.lab.writes("POST", "/leases"))
        happen(nodes.lab, machine)
        await until(lambda: nodes.lab.metric("deletions_total", result="unproven"))

        assert nodes.left == {"w0", "w1"}
        assert nodes.deletes == 0


async def test_a_held_node_is_kept_and_said_until_it_is_let_go(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.cluster.nodes.patch(
            "w0", {"metadata": {"annotations": {ANNOTATION_HOLD: "true"}}}
        )
        nodes.lose("w0")
        await asyncio.sleep(LONG)
        assert nodes.left == {"w0", "w1"}
        assert len(nodes.lab.events("DeletionHeld")) == 1

        nodes.lab.cluster.nodes.patch("w0", {"metadata": {"annotations": {ANNOTATION_HOLD: None}}})
        await until(lambda: nodes.left == {"w1"})


async def test_a_dry_run_says_it_and_does_nothing(tmp_path: Path) -> None:
    async with herd(tmp_path, deletion={"mode": "dry-run"}) as nodes:
        nodes.lose("w0")
        await asyncio.sleep(LONG)

        assert nodes.deletes == 0
        assert len(nodes.lab.events("DeletionDryRun")) == 1
        assert nodes.lab.metric("deletions_total", result="dry_run") == 1


async def test_nothing_is_deleted_when_that_is_off(tmp_path: Path) -> None:
    async with herd(tmp_path, deletion={"mode": "off"}) as nodes:
        nodes.lose("w0")
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}


@pytest.mark.parametrize(("untagged", "left"), [("keep", {"w0", "w1"}), ("delete", {"w1"})])
async def test_a_vm_that_lost_its_tag_costs_its_node_only_when_told_so(
    untagged: str, left: set[str], tmp_path: Path
) -> None:
    async with herd(tmp_path, deletion={"untagged": untagged}) as nodes:
        nodes.lab.vm("w0").detach("docker-host")
        nodes.kubelets["w0"].stop()
        await asyncio.sleep(LONG)

        assert nodes.left == left


async def test_a_vm_that_gets_its_tag_back_is_a_stranger_to_deletion_again(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.vm("w0").detach("docker-host")
        nodes.kubelets["w0"].stop()
        await asyncio.sleep(LONG)
        nodes.lab.vm("w0").attach("docker-host")
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.lab.metric("lifecycle_nodes", verdict="hold") == 0


async def test_a_failed_deletion_is_said_and_tried_again(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.cluster.faults.inject(
            Refusal(403, "Forbidden"), times=2, methods=["DELETE"], path="/nodes"
        )
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})

        await until(lambda: nodes.lab.events("DeletingNodeFailed"))
        assert len(nodes.record["deletions"]) == 1


async def test_a_node_that_was_written_meanwhile_is_judged_anew(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.cluster.faults.inject(Conflict(), times=2, methods=["DELETE"], path="/nodes")
        nodes.lose("w0")
        await until(lambda: nodes.left == {"w1"})

        assert nodes.deletes == 3
        assert nodes.lab.metric("deletions_total", result="deleted") == 1
        assert not nodes.lab.events("DeletingNodeFailed")


async def test_a_node_that_changes_all_the_time_is_not_deleted_as_it_was(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.cluster.faults.latency = 0.2
        nodes.lose("w0")
        for number in range(1200):
            nodes.lab.cluster.nodes.patch("w0", {"metadata": {"labels": {"busy": str(number)}}})
            await asyncio.sleep(0.1)
        nodes.lab.cluster.faults.latency = 0.0

        await until(lambda: nodes.left == {"w1"})


# ---- the budget -------------------------------------------------------------------------------

TEN = tuple(f"w{n}" for n in range(10))


async def test_a_budget_that_is_exceeded_latches_and_says_so(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN) as nodes:
        nodes.lose(*TEN[:6])
        await asyncio.sleep(LONG)

        assert len(nodes.left) == 9
        assert nodes.record["latched"]
        assert nodes.lab.metric("deletions_latched") == 1
        assert any(
            event["type"] == "Warning" and event["involvedObject"]["kind"] == "Namespace"
            for event in nodes.lab.events("DeletionHeld")
        )


async def test_the_latch_survives_a_restart(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN) as nodes:
        nodes.lose(*TEN[:6])
        await until(lambda: nodes.is_latched)
        await nodes.lab.restart()
        await asyncio.sleep(LONG)

        assert len(nodes.left) == 9
        assert nodes.lab.metric("deletions_latched") == 1


async def test_the_latch_survives_the_lease(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN) as nodes:
        nodes.lose(*TEN[:6])
        await until(lambda: nodes.is_latched)
        nodes.lab.delete_record()
        await asyncio.sleep(LONG)

        assert len(nodes.left) == 9
        assert nodes.is_latched
        assert nodes.lab.metric("deletions_latched") == 1


async def test_the_latch_is_lifted_when_the_vms_return(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN) as nodes:
        lost = [nodes.lab.vm(name) for name in TEN[:6]]
        nodes.lose(*TEN[:6])
        await until(lambda: nodes.is_latched)
        for machine in lost:
            machine.is_removed = False
            nodes.lab.engine.world.vms[machine.id] = machine
        await until(lambda: not nodes.is_latched)

        assert nodes.record["latched"] is None
        await until(lambda: nodes.lab.events("DeletionsResumed"))
        await asyncio.sleep(LONG)
        assert len(nodes.left) == 9


async def test_an_engine_that_was_restored_from_a_backup_costs_no_node(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lose("w0")  # it runs on, and the engine does not know it any more
        nodes.lab.inventory.distrust()
        await asyncio.sleep(LONG)
        await nodes.lab.restart()
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.record["latched"]
        assert nodes.deletes == 0


async def test_a_restored_engine_is_not_forgotten_while_the_record_is_away(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        away = nodes.lab.cluster.faults.inject(BadGateway(), times=None, path="/leases")
        nodes.lose("w0")
        nodes.lab.inventory.distrust()
        await asyncio.sleep(LONG)
        nodes.lab.cluster.faults.remove(away)
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.record["latched"]


async def test_a_latch_that_cannot_be_lifted_is_lifted_later(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.inventory.distrust()
        await until(lambda: nodes.lab.writes("POST", "/leases"))
        away = nodes.lab.cluster.faults.inject(
            BadGateway(), times=None, methods=["PATCH"], path="/leases"
        )
        await asyncio.sleep(LONG)
        assert nodes.record["latched"]
        nodes.lab.cluster.faults.remove(away)

        await until(lambda: nodes.record["latched"] is None)


async def test_a_restored_engine_that_lacks_no_vm_is_trusted_again(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.inventory.distrust()
        await until(lambda: nodes.lab.events("DeletionsResumed"))

        assert nodes.record["latched"] is None


async def test_an_operator_lets_them_go(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN) as nodes:
        nodes.lose(*TEN[:6])
        await until(lambda: nodes.is_latched)
        uids = [nodes.lab.node(name)["metadata"]["uid"] for name in nodes.left & set(TEN[:6])]
        nodes.lab.write_record({**nodes.record, "latched": None, "allowed": uids})
        await until(lambda: nodes.left == set(TEN[6:]))

        assert nodes.record["latched"] is None


BROKEN_RECORDS: dict[str, Callable[[Lab], object]] = {
    "nonsense": lambda lab: lab.write_text("{"),
    "forbidden": lambda lab: lab.cluster.faults.inject(
        Refusal(403, "Forbidden"), times=None, path="/leases"
    ),
    "away": lambda lab: lab.cluster.faults.inject(BadGateway(), times=None, path="/leases"),
    "not writable": lambda lab: lab.cluster.faults.inject(
        Refusal(403, "Forbidden"), times=None, methods=["POST", "PATCH"], path="/leases"
    ),
    "of unknown outcome": lambda lab: lab.cluster.faults.inject(
        GatewayTimeout(is_written=False), times=None, path="/leases"
    ),
}


@pytest.mark.parametrize("how", BROKEN_RECORDS)
async def test_without_a_record_nothing_is_deleted(how: str, tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        BROKEN_RECORDS[how](nodes.lab)
        nodes.lose("w0")
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.deletes == 0


# ---- marks ------------------------------------------------------------------------------------


async def test_a_stopped_vm_marks_its_node_until_it_is_ready(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.power_off("w0")
        await until(lambda: SHUTDOWN in nodes.taints("w0"))
        nodes.lab.vm("w0").start()
        await asyncio.sleep(60)
        assert SHUTDOWN in nodes.taints("w0")
        nodes.kubelets["w0"].ready()
        await until(lambda: not nodes.taints("w0"))

        await until(lambda: nodes.lab.events("NodeUnmarked"))
        assert nodes.lab.metric("lifecycle_marks_total", taint="shutdown", action="add") == 1
        assert nodes.lab.metric("lifecycle_marks_total", taint="shutdown", action="remove") == 1
        assert nodes.deletes == 0


async def test_a_mark_waits_for_no_listing(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.vm("w0").stop()
        await asyncio.sleep(60)
        await until(lambda: (nodes.lab.inventory.age or 0.0) < 1)
        nodes.kubelets["w0"].stop()

        await until(lambda: SHUTDOWN in nodes.taints("w0"), within=8)


@pytest.mark.parametrize("status", ["unknown", "not_responding", "unassigned", "paused", None])
async def test_a_vm_that_may_run_marks_nothing(status: str | None, tmp_path: Path) -> None:
    async with herd(tmp_path, out_of_service={"enabled": True}) as nodes:
        nodes.lab.vm("w0").set_status(status)
        nodes.kubelets["w0"].stop()
        await asyncio.sleep(LONG)

        assert nodes.taints("w0") == {"node.kubernetes.io/unreachable"}
        assert nodes.deletes == 0


async def test_refused_marks_are_tried_less_and_less_often(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        refusal = nodes.lab.cluster.faults.inject(
            Refusal(403, "Forbidden"), times=None, methods=["PATCH"], path="/nodes/w0"
        )
        before = len(nodes.lab.writes("PATCH", "/nodes/w0"))
        nodes.power_off("w0")
        await asyncio.sleep(LONG)
        assert len(nodes.lab.writes("PATCH", "/nodes/w0")) - before < 12

        nodes.lab.cluster.faults.remove(refusal)
        await until(lambda: SHUTDOWN in nodes.taints("w0"), within=LONG)


# ---- out of service ---------------------------------------------------------------------------

OPTED_IN: dict[str, Any] = {"out_of_service": {"enabled": True}}


async def test_a_vm_that_is_down_is_out_of_service_within_a_minute(tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        nodes.power_off("w0")
        await until(lambda: OUT_OF_SERVICE in nodes.taints("w0"), within=45)

        assert ANNOTATION_OUT_OF_SERVICE in nodes.lab.node("w0")["metadata"]["annotations"]
        await until(lambda: nodes.lab.events("NodeOutOfService"))


async def test_it_is_in_service_again_as_soon_as_its_vm_starts(tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        nodes.power_off("w0")
        await until(lambda: OUT_OF_SERVICE in nodes.taints("w0"))
        nodes.lab.vm("w0").start()
        await until(lambda: OUT_OF_SERVICE not in nodes.taints("w0"), within=10)

        assert ANNOTATION_OUT_OF_SERVICE not in nodes.lab.node("w0")["metadata"]["annotations"]


async def test_no_more_nodes_are_out_of_service_than_may_be(tmp_path: Path) -> None:
    async with herd(tmp_path, names=TEN, **OPTED_IN) as nodes:
        nodes.power_off(*TEN[:5])
        await asyncio.sleep(LONG)
        out = [name for name in TEN if OUT_OF_SERVICE in nodes.taints(name)]
        assert len(out) == 1

        nodes.lab.vm(out[0]).start()
        nodes.kubelets[out[0]].ready()
        await asyncio.sleep(LONG)
        later = [name for name in TEN if OUT_OF_SERVICE in nodes.taints(name)]
        assert len(later) == 1
        assert later != out


async def test_the_taint_of_another_takes_a_place_and_stays(tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        foreign = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        nodes.lab.cluster.nodes.patch("w1", {"spec": {"taints": [foreign]}})
        nodes.power_off("w0")
        await asyncio.sleep(LONG)

        assert OUT_OF_SERVICE not in nodes.taints("w0")
        assert OUT_OF_SERVICE in nodes.taints("w1")


async def test_a_vm_that_is_restarted_elsewhere_keeps_its_volumes(tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        nodes.kubelets["w0"].stop()
        for _ in range(20):
            nodes.lab.vm("w0").fail()
            await asyncio.sleep(6)
            nodes.lab.vm("w0").start()
            await asyncio.sleep(6)

        assert nodes.lab.metric("lifecycle_marks_total", taint="out-of-service", action="add") == 0


async def test_an_engine_that_cannot_be_asked_puts_nothing_out_of_service(tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        nodes.lab.vm("w0").stop()
        await asyncio.sleep(35)
        nodes.lab.engine.faults.availability = "down"
        nodes.kubelets["w0"].stop()
        await asyncio.sleep(LONG)
        assert nodes.taints("w0") == {"node.kubernetes.io/unreachable"}

        nodes.lab.engine.faults.availability = "up"
        await until(lambda: OUT_OF_SERVICE in nodes.taints("w0"))


# ---- an engine that is ill --------------------------------------------------------------------


def _restart(lab: Lab) -> None:
    lab.engine.begin_restart(60)


def _lose_tag(lab: Lab) -> None:
    lab.engine.world.remove_tag("docker-host")


def _demote(lab: Lab) -> None:
    lab.engine.world.user("reader@internal").role = "UserRole"


def _knob(**switches: Any) -> Callable[[Lab], None]:
    def turn(lab: Lab) -> None:
        for name, value in switches.items():
            setattr(lab.engine.faults, name, value)

    return turn


ILLS: dict[str, Callable[[Lab], None]] = {
    "401": _knob(status=401, paths="/api"),
    "401 for fresh tokens": _knob(refuse_tokens=True),
    "403": _knob(forbidden=True),
    "database away": _knob(database="away"),
    "database stale": _knob(database="stale"),
    "500": _knob(status=500),
    "503 pages": _knob(availability="down"),
    "404 pages for everything": _knob(status=404),
    "404 pages for VMs": _knob(status=404, paths="/api/vms/"),
    "stopping": _knob(availability="stopping"),
    "hanging": _knob(availability="starting"),
    "slow": _knob(delay=100.0),
    "reset": _knob(drop_connection=True),
    "truncated": _knob(body="truncated"),
    "aborted": _knob(body="aborted"),
    "invalid": _knob(body="invalid"),
    "wrong type": _knob(body="wrong_type"),
    "empty lists": _knob(empty_lists=True),
    "shrunken lists": _knob(hidden_vms={"w0"}),
    "emptied VMs": _knob(emptied_vms={"w0", "w1"}),
    "follow fails": _knob(fails_follow=True),
    "restart": _restart,
    "tag removed": _lose_tag,
    "account demoted": _demote,
}


LASTING = {"tag removed", "account demoted"}


@pytest.mark.parametrize("ill", ILLS)
async def test_an_ill_engine_costs_no_node_and_marks_none(ill: str, tmp_path: Path) -> None:
    async with herd(tmp_path, **OPTED_IN) as nodes:
        lab, kubelet = nodes.lab, nodes.kubelets["w0"]
        ILLS[ill](lab)
        kubelet.stop()
        await asyncio.sleep(LONG)
        await lab.restart()
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
        assert nodes.deletes == 0
        assert nodes.taints("w0") == {"node.kubernetes.io/unreachable"}
        assert not nodes.taints("w1")
        if ill not in LASTING:
            lab.engine.faults.reset()
            nodes.lose("w0")
            await until(lambda: nodes.left == {"w1"}, within=3 * LONG)


async def test_an_engine_that_is_away_is_not_asked_for_single_vms(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        held = {"metadata": {"annotations": {ANNOTATION_HOLD: "true"}}}
        nodes.lab.cluster.nodes.patch("w0", held)
        nodes.lose("w0")
        await until(lambda: nodes.lab.events("DeletionHeld"))
        nodes.lab.engine.faults.status = 503
        nodes.lab.engine.faults.paths = "/api"
        await asyncio.sleep(LONG)
        nodes.lab.engine.requests.clear()
        released = {"metadata": {"annotations": {ANNOTATION_HOLD: None}}}
        nodes.lab.cluster.nodes.patch("w0", released)
        await asyncio.sleep(LONG)

        assert sum(nodes.lab.engine.requests.counts.values()) < LONG / 5
        assert nodes.left == {"w0", "w1"}


async def test_another_engine_at_the_same_address_proves_nothing(tmp_path: Path) -> None:
    async with herd(tmp_path) as nodes:
        nodes.lab.engine.world.instance_id = "another"
        nodes.lab.engine.accounts.forget_everybody()
        nodes.lose("w0")
        await asyncio.sleep(LONG)

        assert nodes.left == {"w0", "w1"}
