"""What has to happen before a recorded request, so that the world is as it was then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from provider.simulator.engine import SimulatedEngine

    Preparation = Callable[[SimulatedEngine, aiohttp.ClientSession], Awaitable[None]]

NEW_VM = "84bfe846-1721-45a3-8231-17145a89b77e"
BLUE = "71c91e89-4fe6-40b0-b549-2fbac845a852"
BLUE_CHILD = "51589c9b-6b3c-4843-b82e-5a2969ab2d16"
DISPLAY = "Cannot run VM. Selected display type is not supported by the operating system."


async def has_new_vm(engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
    world = engine.world
    vm = world.create_vm("new-0", world.cluster("workers"), world.user("admin@internal"))
    del world.vms[vm.id]
    vm.id = NEW_VM
    world.vms[NEW_VM] = vm
    blue = world.add_tag("blue", description="d")
    blue.id = BLUE
    world.add_tag("blue-child", blue, description=None).id = BLUE_CHILD


async def has_tagged_vm(engine: SimulatedEngine, session: aiohttp.ClientSession) -> None:
    await has_new_vm(engine, session)
    engine.world.vm(NEW_VM).attach("blue")


async def refuses_starts(engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
    for vm in engine.world.vms.values():
        vm.start_fault = DISPLAY


async def has_locked_account(_engine: SimulatedEngine, session: aiohttp.ClientSession) -> None:
    form = {
        "grant_type": "password",
        "scope": "ovirt-app-api",
        "username": "user@internal",
        "password": "wrong",
    }
    for _ in range(5):
        await session.post(
            "/ovirt-engine/sso/oauth/token", data=form, headers={"Accept": "application/json"}
        )


async def has_history(engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
    """Events of each kind that is asked for, with ids near the recorded ones."""
    world = engine.world
    admin = world.user("admin@internal")
    world.events._next = 480
    vm = world.create_vm("new-x", world.cluster("workers"), admin)
    vm.attach("docker-host", admin)
    for code in (12, 142, 119):
        refs = {"vm": (vm.name, vm.id), "host": ("hv-a1", world.host("hv-a1").id)}
        world.write_event(code, refs, admin)
    world.vm("worker-01").rename("worker-01", admin)
    world.vm("worker-01").set_status("unknown")
    world.events._next = 495
    vm.rename("new-x", admin)
    vm.remove(admin)
    world.vm("worker-02").attach("late-tag", admin)


async def has_job(engine: SimulatedEngine, session: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {next(iter(engine.accounts.sessions))}"}
    vm = engine.world.vm("st-down")
    await session.post(f"/ovirt-engine/api/vms/{vm.id}/stop", json={}, headers=headers)


async def has_cluster_without_data_center(
    engine: SimulatedEngine, _session: aiohttp.ClientSession
) -> None:
    engine.world.cluster("west").data_center = None
    engine.world.touch()


def fault(**switches: object) -> Preparation:
    async def prepare(engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
        for name, value in switches.items():
            setattr(engine.faults, name, value)

    return prepare


async def has_stale_session(engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
    engine.faults.database = "stale"
    for session in engine.accounts.sessions.values():
        session.is_stale = True


def stopping(status: int) -> Preparation:
    """The mix of a stopping engine, at the turn that gives this status."""

    async def prepare(engine: SimulatedEngine, session: aiohttp.ClientSession) -> None:
        engine.faults.availability = "stopping"
        for _ in range(3):
            async with session.get("/ovirt-engine/services/health") as reply:
                if _after(reply.status) == status:
                    return

    return prepare


def _after(status: int) -> int:
    return {503: 404, 404: 500, 500: 503}[status]


PREPARATIONS: dict[int, Preparation] = {
    111: has_new_vm,
    119: has_new_vm,
    121: has_new_vm,
    122: has_new_vm,
    123: has_tagged_vm,
    124: has_new_vm,
    125: has_new_vm,
    127: has_new_vm,
    138: has_new_vm,
    **dict.fromkeys((130, 131, 137, 166), refuses_starts),
    **dict.fromkeys((97, *range(142, 152), 155, 157, 158), has_history),
    160: stopping(503),
    161: stopping(500),
    162: fault(availability="down"),
    164: fault(database="away"),
    165: fault(database="away"),
    170: has_stale_session,
    171: has_locked_account,
    83: has_job,
    **dict.fromkeys((172, 173, 174), has_cluster_without_data_center),
}
