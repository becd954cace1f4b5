"""What an engine and the way to it can suffer: how each begins, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from tests.scenarios.sites import Site

Action = Callable[["Site"], object]

_RESTART = 18.0  # seconds that a restart of an engine takes: it ends when it ends


@dataclass(frozen=True)
class Fault:
    """`begin` and `end` act on a site; what `begin` returns, if awaitable, goes on meanwhile."""

    begin: Action
    end: Action
    has_tls: bool = False
    from_start: bool = False
    """Whether the program finds it so when it starts."""
    is_seen_through: bool = False
    """Whether listings go on all the same, as what they lack is read VM by VM."""


def _knob(**switches: Any) -> Fault:
    def turn(site: Site) -> None:
        for name, value in switches.items():
            setattr(site.engine.faults, name, value)

    return Fault(turn, lambda site: site.engine.faults.reset())


def _wire(**switches: Any) -> Fault:
    """What the proxy does, from now on and to what is open already."""

    def turn(site: Site) -> None:
        for name, value in switches.items():
            setattr(site.proxy, name, value)
        if not site.proxy.swallows and not site.proxy.delay:
            site.proxy.cut()

    return Fault(turn, lambda site: site.proxy.heal())


def _hide(attribute: str) -> Fault:
    def turn(site: Site) -> None:
        setattr(site.engine.faults, attribute, {vm.name for vm in site.engine.world.vms.values()})

    return Fault(turn, lambda site: site.engine.faults.reset(), is_seen_through=True)


def _lose_database(site: Site) -> None:
    faults = site.engine.faults
    faults.database = "away"
    asyncio.get_running_loop().call_later(1.5, setattr, faults, "database", "stale")


def _demote(site: Site) -> None:
    site.engine.world.user("reader@internal").role = "UserRole"


def _promote(site: Site) -> None:
    site.engine.world.user("reader@internal").role = "ReadOnlyAdmin"


def _remove_tag(site: Site) -> None:
    site.engine.world.remove_tag("docker-host")


def _make_tag(site: Site) -> None:
    site.engine.world.add_tag("docker-host")
    for vm in site.engine.world.vms.values():
        vm.attach("docker-host")


def _nothing(site: Site) -> None:
    """It ends by itself."""


FAULTS: dict[str, Fault] = {
    "401": _knob(status=401, paths="/api"),
    "fresh-401": _knob(refuse_tokens=True),
    "403": _knob(forbidden=True),
    "database": Fault(_lose_database, lambda site: site.engine.faults.reset()),
    "500": _knob(status=500),
    "503-pages": _knob(availability="down"),
    "404-pages": _knob(status=404),
    "stopping": _knob(availability="stopping"),
    "hanging": _knob(availability="starting"),
    "start-hanging": Fault(
        lambda site: setattr(site.engine.faults, "availability", "starting"),
        lambda site: site.engine.faults.reset(),
        from_start=True,
    ),
    "start-refused": Fault(
        lambda site: setattr(site.proxy, "resets", True),
        lambda site: site.proxy.heal(),
        from_start=True,
    ),
    "time-out": _wire(delay=20.0),
    "half-open": _wire(swallows=True),
    "throttled": _wire(rate=200),
    "reset": _wire(resets=True),
    "cut-off": _wire(limit=600),
    "tls-alert": Fault(
        _wire(refuses_tls=True).begin, lambda site: site.proxy.heal(), has_tls=True
    ),
    "tls-authority": Fault(
        lambda site: site.trust(trustme.CA()), lambda site: site.trust(), has_tls=True
    ),
    "truncated": _knob(body="truncated"),
    "aborted": _knob(body="aborted"),
    "invalid-json": _knob(body="invalid"),
    "empty-list": replace(_knob(empty_lists=True), is_seen_through=True),
    "shrunken-list": _hide("hidden_vms"),
    "emptied-vms": _hide("emptied_vms"),
    "lost-permission": Fault(_demote, _promote),
    "missing-tag": Fault(_remove_tag, _make_tag),
    "restart": Fault(lambda site: site.engine.begin_restart(_RESTART), _nothing),
}
