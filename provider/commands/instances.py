"""`instances`: the selected VMs of all engines, as a table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from provider.commands import options, server, terminal
from provider.commands.engine_states import complain_of
from provider.commands.gather import Listings, configuration, list_engines
from provider.commands.get_report import addresses_of, print_table, status_of
from provider.commands.questions import Question, ask_server
from provider.web.documents import InstanceList
from provider.web.rows import instance_row

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from provider.commands.get_report import Columns
    from provider.config import Config
    from provider.decisions.identity import Candidate
    from provider.web.documents import InstanceRow

_COLUMNS: Columns = {
    "NAME": lambda row: row.name,
    "ID": lambda row: row.id,
    "STATUS": status_of,
    "NODE NAME": lambda row: row.node_name,
    "ZONE": lambda row: row.zone,
    "HOST": lambda row: row.host,
    "CLUSTER": lambda row: row.cluster,
    "ADDRESSES": addresses_of,
    "TAGS": lambda row: terminal.words(row.tags),
}
_NARROW = ("NAME", "STATUS", "NODE NAME", "ZONE", "ADDRESSES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The form of the result."""
    options.add_output(parser)
    server.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 1 when an engine could not be asked, the others are shown all the same."""
    terminal.log_warnings()
    asked = server.of(arguments)
    if asked:
        with terminal.progress("asking the controller"):
            question = Question(("instances",), InstanceList)
            answer: InstanceList = asyncio.run(ask_server(asked, question))
        status = complain_of(answer.engines)
        _show(answer.instances, arguments, is_complete=not status)
        return status
    config = configuration(arguments)
    with terminal.progress("asking the engines"):
        listings = asyncio.run(list_engines(config))
    rows = sorted(_rows(listings, config), key=lambda row: (row.name, row.id))
    _show(rows, arguments, is_complete=not listings.errors)
    for error in listings.errors:
        terminal.complain(error)
    return 1 if listings.errors else 0


def _rows(listings: Listings, config: Config) -> Iterator[InstanceRow]:
    for snapshot in listings.snapshots:
        members: Iterable[Candidate] = (
            *snapshot.instances.values(),
            *snapshot.unreadable.values(),
        )
        for vm in members:
            yield instance_row(vm, snapshot, None, config).document


def _show(
    rows: Sequence[InstanceRow], arguments: argparse.Namespace, *, is_complete: bool
) -> None:
    if arguments.output == "json":
        terminal.print_json([_as_json(row) for row in rows])
    else:
        _print(rows, is_complete=is_complete)


def _as_json(row: InstanceRow) -> dict[str, Any]:
    shown = {"engine": row.engine, "name": row.name, "id": row.id}
    if row.unreadable:
        return shown | {"unreadable": row.unreadable}
    names = ("status", "zone", "region", "host", "cluster", "data_center", "addresses", "tags")
    facts = msgspec.to_builtins(row)
    return shown | {"node": row.node_name} | {name: facts[name] for name in names}


def _print(rows: Sequence[InstanceRow], *, is_complete: bool) -> None:
    if rows or is_complete:
        print_table(rows, _COLUMNS, _NARROW, "No VM is selected.")
