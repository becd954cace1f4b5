"""VMs, engine, clock and nodes walk at random; the laws of deletion and marks hold throughout.

The real inventory and controllers work between a simulated engine and a simulated cluster, in
virtual time.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import looptime
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.controllers.lab import until, working
from tests.ovirt.lab import many

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from provider.simulator.cluster import Kubelet
    from provider.simulator.machine import Vm
    from tests.controllers.lab import Lab

NAMES = ("w0", "w1", "w2")
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_READING = 10.0  # seconds that a reading of the engine may be old when it is acted on
STATUSES = ("down", "down", "down", "suspended", "unknown", "not_responding", "paused", "up", None)
ILLS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"refuse_tokens": True},
    {"forbidden": True},
    {"database": "away"},
    {"database": "stale"},
    {"availability": "down"},
    {"availability": "stopping"},
    {"availability": "starting"},
    {"status": 404},
    {"status": 404, "paths": "/api/vms/"},
    {"status": 500, "paths": "/api/vms/"},
    {"empty_lists": True},
    {"hidden_vms": {"w0", "w1"}},
    {"emptied_vms": {"w0", "w1"}},
    {"fails_follow": True},
    {"body": "truncated"},
    {"drop_connection": True},
)


class Lives(RuleBasedStateMachine):
    """The world, what has truly happened in it, and what must follow."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(processors=[_drop])
        self.loop = looptime.new_event_loop(start=0)
        self.stack = AsyncExitStack()
        self.lab: Lab
        self.kubelets: dict[str, Kubelet] = {}
        self.machines: dict[str, Vm] = {}
        self.removed: set[str] = set()  # VMs that the engine has truly lost
        self.ready: set[str] = set()
        self.left_down: dict[str, float] = {}  # when a VM was down last, in the loop's time
        self.out: set[str] = set()  # nodes that were out of service when they were looked at

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # ---- the world ---------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        world = working(
            Path(folder),
            many(len(NAMES)),
            out_of_service={"enabled": True},
            intervals={"poll": "10s"},
        )
        self.lab = await self.stack.enter_async_context(world)
        for name in NAMES:
            self.machines[name] = self.lab.vm(name)
            self.kubelets[name] = self.lab.cluster.kubelet(name, system_uuid=self.lab.vm(name).id)
        await until(lambda: all(self.lab.is_initialised(name) for name in NAMES))
        for name in NAMES:
            self.kubelets[name].ready()
        self.ready = set(NAMES)
        await asyncio.sleep(1)

    def teardown(self) -> None:
        try:
            if self.kubelets:
                self.after_a_quiet_while_the_marks_are_true()
            self.do(self.stack.aclose())
        finally:
            self.loop.close()
            structlog.reset_defaults()

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def machines_vanish(self, names: set[str]) -> None:
        for name in names - self.removed:
            self.removed.add(name)
            self.lab.engine.world.forget(self.machines[name])
            self.a_kubelet_speaks(name, is_ready=False)
        self.do(self._watched(120.0))

    @rule(name=st.sampled_from(NAMES), status=st.sampled_from(STATUSES))
    def a_machine_stops(self, name: str, status: str | None) -> None:
        self.a_vm_changes(name, status)
        self.a_kubelet_speaks(name, is_ready=False)
        self.do(self._watched(60.0))

    @rule()
    def all_machines_start(self) -> None:
        for name in NAMES:
            self.a_vm_changes(name, "up")
            self.a_kubelet_speaks(name, is_ready=True)
        self.do(self._watched(20.0))

    @rule(name=st.sampled_from(NAMES), status=st.sampled_from(STATUSES))
    def a_vm_changes(self, name: str, status: str | None) -> None:
        if name not in self.removed:
            if self.machines[name].status == "down":
                self.left_down[name] = self.loop.time()
            self.machines[name].set_status(status)

    @rule(name=st.sampled_from(NAMES), is_ready=st.booleans())
    def a_kubelet_speaks(self, name: str, *, is_ready: bool) -> None:
        if is_ready:
            self.kubelets[name].ready()
            self.ready.add(name)
        else:
            self.kubelets[name].stop()
            self.ready.discard(name)

    @rule(name=st.sampled_from(NAMES), is_tagged=st.booleans())
    def a_tag_comes_or_goes(self, name: str, *, is_tagged: bool) -> None:
        change = self.machines[name].attach if is_tagged else self.machines[name].detach
        change("docker-host")

    @rule(ill=st.sampled_from(ILLS))
    def the_engine_changes(self, ill: dict[str, Any]) -> None:
        self.lab.engine.faults.reset()
        for switch, value in ill.items():
            setattr(self.lab.engine.faults, switch, value)

    @rule(seconds=st.sampled_from([1.0, 12.0, 35.0, 120.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.do(self._watched(seconds))

    @rule()
    def the_program_restarts(self) -> None:
        self.do(self.lab.restart())

    async def _watched(self, seconds: float) -> None:
        """Let time go by, and look at what is true all the while."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            await asyncio.sleep(0.5)
            self.nothing_is_lost_without_proof()
            self.nothing_is_out_of_service_unless_down()

    # ---- the laws ------------------------------------------------------------------------------

    def left(self) -> set[str]:
        return {node["metadata"]["name"] for node in self.lab.cluster.nodes}

    def taints(self, name: str) -> set[str]:
        return {taint["key"] for taint in self.lab.node(name)["spec"].get("taints") or ()}

    @invariant()
    def nothing_is_lost_without_proof(self) -> None:
        if self.kubelets:
            assert set(NAMES) - self.left() <= self.removed

    @invariant()
    def nothing_is_out_of_service_unless_down(self) -> None:
        if not self.kubelets:
            return
        out = {name for name in self.left() if OUT_OF_SERVICE in self.taints(name)}
        for name in out - self.out:
            was_down = self.loop.time() - self.left_down.get(name, -1000.0) < _READING
            assert self.machines[name].status == "down" or was_down
        self.out = out

    @invariant()
    def one_of_three_goes_within_the_hour(self) -> None:
        if self.kubelets:
            assert len(self.left()) >= len(NAMES) - 1

    @precondition(lambda self: self.kubelets)
    @rule()
    def after_a_quiet_while_the_marks_are_true(self) -> None:
        self.lab.engine.faults.reset()
        self.do(asyncio.sleep(400))
        out = 0
        for name in self.left():
            taints, status = self.taints(name), self.machines[name].status
            is_selected = name not in self.removed and self.machines[name].tags
            is_ready = name in self.ready
            assert not is_ready or not taints & {SHUTDOWN, OUT_OF_SERVICE}
            if is_selected and status != "down":
                assert OUT_OF_SERVICE not in taints
            if is_selected and status in ("down", "suspended") and not is_ready:
                assert SHUTDOWN in taints
            out += OUT_OF_SERVICE in taints
        assert out <= 1


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
