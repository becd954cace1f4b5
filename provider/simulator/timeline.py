"""The timeline of a scenario, played on the engine's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.simulator.engine import SimulatedEngine
    from provider.simulator.machine import Vm
    from provider.simulator.scenario import Step

_FOREVER = float("inf")
_RESTART = 15.0


def play(engine: SimulatedEngine, steps: tuple[Step, ...]) -> None:
    """Arm every step; the clock of the engine's world carries them out."""
    for step in steps:
        engine.world.clock.after(step.at.total_seconds(), _action(engine, step))


def _action(engine: SimulatedEngine, step: Step) -> Callable[[], None]:
    return lambda: _do(engine, step)


def _do(engine: SimulatedEngine, step: Step) -> None:
    seconds = step.for_.total_seconds() if step.for_ else _FOREVER
    world = engine.world
    if step.engine:
        _do_engine(engine, step.engine, seconds)
    elif step.vm:
        _do_vm(world.vm(step.vm), step)
    elif step.tag:
        world.remove_tag(step.tag)
    elif step.user:
        world.user(step.user).role = _text(step)
    elif step.host and step.action == "recover":
        world.recover_host(step.host)
    elif step.host:
        host = step.host
        world.lose_host(host)
        _later(engine, seconds, lambda: world.recover_host(host))


def _later(engine: SimulatedEngine, seconds: float, action: Callable[[], None]) -> None:
    if seconds != _FOREVER:
        engine.world.clock.after(seconds, action)


def _do_engine(engine: SimulatedEngine, action: str, seconds: float) -> None:
    if action == "restart":
        engine.begin_restart(_RESTART if seconds == _FOREVER else seconds)
        return
    name, value, back = {
        "unavailable": ("availability", "down", "up"),
        "starting": ("availability", "starting", "up"),
        "database_away": ("database", "away", "up"),
        "database_stale": ("database", "stale", "up"),
        "empty_lists": ("empty_lists", True, False),
        "refuse_tokens": ("refuse_tokens", True, False),
        "fails_follow": ("fails_follow", True, False),
    }[action]
    setattr(engine.faults, name, value)
    _later(engine, seconds, lambda: setattr(engine.faults, name, back))


def _do_vm(vm: Vm, step: Step) -> None:
    match step.action:
        case "start" | "stop" | "shutdown" | "reboot" | "suspend" | "remove":
            getattr(vm, step.action)()
        case "migrate":
            vm.migrate(_text(step) or None)
        case "status":
            vm.set_status(_text(step) or None)
        case "tag":
            vm.attach(_text(step))
        case "untag":
            vm.detach(_text(step))
        case "rename":
            vm.rename(_text(step))
        case "addresses":
            vm.set_addresses((step.to,) if isinstance(step.to, str) else step.to or ())


def _text(step: Step) -> str:
    return step.to if isinstance(step.to, str) else ""
