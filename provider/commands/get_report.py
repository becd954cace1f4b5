"""How `get` shows the documents of the lookup API to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from provider.commands import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provider.web.documents import (
        Exists,
        InstanceAnswer,
        InstanceList,
        InstanceRow,
        Metadata,
        NodeItem,
        NodeList,
        Shutdown,
        ZoneCounts,
        ZoneList,
    )

    Columns = Mapping[str, Callable[[Any], object]]

# On a narrower terminal a table of all columns cannot be read.
_WIDE = 140


def status_of(row: InstanceRow) -> str:
    """The VM's status in words."""
    return f"unreadable: {row.unreadable}" if row.unreadable else row.status or "-"


def addresses_of(row: InstanceRow) -> str:
    """The addresses that a node of the VM has, in order."""
    return terminal.words(one.address for one in row.addresses)


_INSTANCES: Columns = {
    "NAME": lambda row: row.name,
    "ID": lambda row: row.id,
    "STATUS": status_of,
    "NODE": lambda row: row.node,
    "ZONE": lambda row: row.zone,
    "HOST": lambda row: row.host,
    "CLUSTER": lambda row: row.cluster,
    "ADDRESSES": addresses_of,
    "TAGS": lambda row: terminal.words(row.tags),
}
_NODES: Columns = {
    "NAME": lambda row: row.name,
    "READY": lambda row: {True: "yes", False: "no", None: "not known"}[row.ready],
    "MANAGED": lambda row: "yes" if row.managed else "no",
    "VM": lambda row: row.instance.name if row.instance else row.match,
    "VERDICT": lambda row: row.verdict.kind,
    "ENGINE": lambda row: row.instance.engine if row.instance else None,
    "RULE": lambda row: row.rule,
    "WOULD BE WRITTEN": lambda row: "; ".join(row.drift),
    "WHY": lambda row: row.reason or row.verdict.reason,
}
_ZONES: Columns = {
    "REGION": lambda row: row.region,
    "ZONE": lambda row: row.zone,
    "VMS": lambda row: str(row.instances),
    "NODES": lambda row: str(row.nodes),
    "RUNNING": lambda row: str(row.statuses.running),
    "CHANGING": lambda row: str(row.statuses.changing),
    "STOPPED": lambda row: str(row.statuses.stopped),
    "PAUSED": lambda row: str(row.statuses.paused),
    "UNKNOWN": lambda row: str(row.statuses.unknown),
}


def print_instances(answer: InstanceList) -> None:
    """Print a line a VM."""
    narrow = ("NAME", "STATUS", "NODE", "ZONE", "ADDRESSES")
    print_table(answer.instances, _INSTANCES, narrow, "No VM fits.")


def print_nodes(answer: NodeList) -> None:
    """Print a line a Node."""
    narrow = ("NAME", "READY", "MANAGED", "VM", "VERDICT")
    print_table(answer.nodes, _NODES, narrow, "The cluster has no Node.")


def print_zones(answer: ZoneList) -> None:
    """Print a line a zone."""
    print_table(answer.zones, _ZONES, tuple(_ZONES), "No VM is selected.")


def print_table(
    rows: Iterable[InstanceRow | NodeItem | ZoneCounts],
    columns: Columns,
    narrow: tuple[str, ...],
    otherwise: str,
) -> None:
    """Print a line a row: on a narrow terminal only those columns; without rows `otherwise`."""
    console = terminal.output()
    if not rows:
        console.print(otherwise)
        return
    shown = tuple(columns) if console.width >= _WIDE else narrow
    grid = terminal.table(*shown)
    for row in rows:
        grid.add_row(*(terminal.cell(str(columns[name](row) or "-")) for name in shown))
    console.print(grid)
    if len(shown) < len(columns):
        console.print("\nA wider terminal and --output json show all columns.", style="dim")


def print_leading(*, is_leading: bool) -> None:
    """Say whose words these are: only the leader asks the engine for proof."""
    if not is_leading:
        console = terminal.output()
        console.print("\nThis replica does not lead: the leader may know more.", style="dim")


# ---- one thing ---------------------------------------------------------------------------------


def print_instance(vm: InstanceAnswer) -> None:
    """Print what is known of one VM."""
    print_facts(
        {
            "name": vm.name,
            "id": vm.id,
            "engine": vm.engine,
            "status": status_of(vm),
            "node": vm.node or f"none; it would be called {vm.node_name or '-'}",
            "managed": "yes" if vm.managed else "no",
            "providerID": vm.provider_id,
            "instance type": vm.instance_type,
            "zone": vm.zone,
            "region": vm.region,
            "cluster": vm.cluster,
            "data centre": vm.data_center,
            "host": vm.host,
            "tags": terminal.words(vm.tags),
            "addresses": terminal.words(f"{a.type} {a.address}" for a in vm.addresses),
            "FQDN": vm.fqdn,
            "CPUs": vm.cpus,
            "memory": f"{vm.memory / (1 << 30):g} GiB",
            "up since": vm.started and f"{vm.started:%Y-%m-%d %H:%M:%S} UTC (the engine's clock)",
            "as of": _moment(vm),
        }
    )


def print_metadata(metadata: Metadata) -> None:
    """Print what a node of the VM carries."""
    print_facts(
        {
            "providerID": metadata.provider_id,
            "instance type": metadata.instance_type,
            "zone": metadata.zone,
            "region": metadata.region,
            "addresses": terminal.words(
                f"{one.type} {one.address}" for one in metadata.node_addresses
            ),
            **{f"label {key}": value for key, value in metadata.additional_labels.items()},
            "as of": _moment(metadata),
        }
    )


def print_exists(answer: Exists) -> None:
    """Print true or false, and whether it is one of those that the tag selects."""
    if answer.exists and not answer.selected:
        terminal.output().print("true (it exists, and is not selected)")
    else:
        terminal.output().print("true" if answer.exists else "false")


def print_shutdown(answer: Shutdown) -> None:
    """Print true or false, and the status behind it."""
    terminal.output().print(f"{'true' if answer.shutdown else 'false'} ({answer.status})")


def print_facts(facts: Mapping[str, object]) -> None:
    """Print a name and a value a line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="dim"), terminal.cell(str(value or "-")))
    terminal.output().print(grid)


def _moment(answer: InstanceAnswer | Metadata) -> str:
    return f"{answer.as_of:%Y-%m-%d %H:%M:%S} UTC"
