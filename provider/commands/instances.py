"""`instances`: the selected VMs of all engines, as a table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.commands import options, terminal
from provider.commands.gather import Listings, configuration, list_engines
from provider.decisions.identity import node_name
from provider.decisions.metadata import describe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from provider.config import Config
    from provider.model import Instance, Snapshot, Unreadable

# On a narrower terminal a table of all columns cannot be read.
_WIDE = 140
_COLUMNS = {
    "name": "NAME",
    "id": "ID",
    "status": "STATUS",
    "node": "NODE NAME",
    "zone": "ZONE",
    "host": "HOST",
    "cluster": "CLUSTER",
    "addresses": "ADDRESSES",
    "tags": "TAGS",
}
_NARROW = ("name", "status", "node", "zone", "addresses")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The form of the result."""
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 1 when an engine could not be asked, the others are shown all the same."""
    terminal.log_warnings()
    config = configuration(arguments)
    with terminal.progress("asking the engines"):
        listings = asyncio.run(list_engines(config))
    rows = sorted(_rows(listings, config), key=lambda row: (row["name"], row["id"]))
    if arguments.output == "json":
        terminal.print_json(rows)
    else:
        _print(rows, is_complete=not listings.errors)
    for error in listings.errors:
        terminal.complain(error)
    return 1 if listings.errors else 0


def _rows(listings: Listings, config: Config) -> Iterator[dict[str, Any]]:
    for snapshot in listings.snapshots:
        for instance in snapshot.instances.values():
            yield _row(instance, snapshot, config)
        for unreadable in snapshot.unreadable.values():
            yield _unreadable(unreadable, snapshot)


def _row(instance: Instance, snapshot: Snapshot, config: Config) -> dict[str, Any]:
    metadata = describe(instance, snapshot, config)
    return {
        "engine": instance.engine,
        "name": instance.name,
        "id": instance.id,
        "status": instance.status,
        "node": node_name(instance).name,
        "zone": metadata.zone,
        "region": metadata.region,
        "host": instance.host,
        "cluster": instance.cluster.name if instance.cluster else None,
        "data_center": instance.data_center,
        "addresses": [{"type": a.type, "address": a.address} for a in metadata.addresses],
        "tags": sorted(tag.name for tag in instance.tags),
    }


def _unreadable(instance: Unreadable, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "engine": snapshot.engine,
        "name": instance.name or "",
        "id": instance.id,
        "unreadable": instance.reason,
    }


def _print(rows: list[dict[str, Any]], *, is_complete: bool) -> None:
    console = terminal.output()
    if not rows:
        if is_complete:
            console.print("No VM is selected.")
        return
    columns = tuple(_COLUMNS) if console.width >= _WIDE else _NARROW
    grid = terminal.table(*(_COLUMNS[column] for column in columns))
    for row in rows:
        grid.add_row(*(terminal.cell(_text(row, column)) for column in columns))
    console.print(grid)
    if columns == _NARROW:
        console.print("\nA wider terminal and --output json show all columns.", style="dim")


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    match column:
        case "status" if "unreadable" in row:
            return f"unreadable: {row['unreadable']}"
        case "addresses":
            return terminal.words(address["address"] for address in value or ()) or "-"
        case "tags":
            return terminal.words(value or ())
    return str(value or "-")
