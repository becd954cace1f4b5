"""`get changes`: what a running controller comes to know, a line a change, until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

import msgspec

from provider.commands import options, terminal
from provider.commands.get_report import addresses_of, status_of
from provider.commands.server import ServerClient
from provider.commands.server_errors import ServerError
from provider.web.documents import EngineState, InstanceRow, NodeRow

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from provider.commands.server import Server, ServerEvent

KINDS = ("instance", "node", "engine")
# Between two tries when the stream ended: another replica may be at work meanwhile.
_FIRST_PAUSE = 1.0  # seconds, doubled up to
_LAST_PAUSE = 30.0
# Trying again mends none of these.
_FINAL = frozenset({400, 401, 403, 404})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kinds of rows are told of."""
    parser.add_argument(
        "--kind",
        choices=KINDS,
        action="append",
        default=[],
        help="only changes of this kind; may be given more than once",
    )


def run(server: Server | None, arguments: argparse.Namespace) -> NoReturn:
    """Print what there is, then each change as it comes; goes on where a stream ended."""
    if server is None:
        message = "changes are told by a running controller only."
        raise options.UsageError(message, remedy="Give --server URL.")
    show = _as_json if arguments.output == "json" else _as_line
    asyncio.run(_follow(server, arguments.kind, show))
    raise AssertionError  # it follows for ever


async def _follow(
    server: Server, kinds: Iterable[str], show: Callable[[ServerEvent], str]
) -> NoReturn:
    """Print events for ever; ServerError when there never were any, or for a lost right."""
    console = terminal.output()
    params = [("kind", kind) for kind in kinds]
    last = ""
    pause = 0.0
    while True:
        try:
            async with ServerClient(server) as client:
                async for event in client.events("/v1/changes", params, last):
                    last, pause = event.id, _FIRST_PAUSE
                    console.out(show(event), highlight=False)
        except ServerError as error:
            if not pause or error.status in _FINAL:
                raise
            terminal.complain(error)
        pause = pause or _FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)


def _as_json(event: ServerEvent) -> str:
    """One line: id, event and data."""
    told = {"id": event.id, "event": event.event, "data": msgspec.Raw(event.data.encode())}
    return msgspec.json.encode(told).decode()


def _as_line(event: ServerEvent) -> str:
    try:
        words = _words(event)
    except msgspec.DecodeError:  # of another version: better raw than not at all
        words = event.data
    return f"{event.event:17} {words}".rstrip()


def _words(event: ServerEvent) -> str:
    match event.event:
        case "instance":
            vm = msgspec.json.decode(event.data, type=InstanceRow)
            return f"{vm.name:24} {status_of(vm):16} {vm.zone or '-':16} {addresses_of(vm)}"
        case "node":
            node = msgspec.json.decode(event.data, type=NodeRow)
            readiness = {True: "ready", False: "not ready", None: "silent"}[node.ready]
            what = f"VM {node.instance.name}" if node.instance else node.reason or node.match
            return f"{node.name:24} {readiness:16} {what}"
        case "engine":
            engine = msgspec.json.decode(event.data, type=EngineState)
            state = "is listed" if engine.as_of else "is being asked"
            return f"{engine.name:24} {engine.error or state}"
        case "reset":
            return "all that is known follows"
        case "synced":
            return "that was all; changes follow"
    return event.data
