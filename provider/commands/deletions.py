"""`deletions`: which nodes are held whose VM is gone, and why; `deletions allow` lets them go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.commands import options, terminal
from provider.commands.gather import Listings, configuration, list_engines, list_nodes
from provider.controllers.deletion import LATCHED
from provider.decisions.budget import (
    Budget,
    Record,
    RecordUnreadable,
    budget,
    format_record,
    lift,
    parse_record,
)
from provider.decisions.identity import Absent, find_instance
from provider.decisions.lifecycle import Evidence, Hold, Policy, judge
from provider.errors import ProviderError
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.ledger import Ledger
from provider.metrics import Metrics
from provider.model import Level

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from provider.config import Config
    from provider.decisions.identity import Directory
    from provider.model import Node

_UNPROVEN = "the running controller has not proven yet that its VM is gone"


class NothingAllowed(ProviderError):
    """Which nodes are to be let go is not known."""


class Held(Struct, frozen=True):
    """A node that is not ready and whose VM no listing has, and why it is still there."""

    node: Node
    instance_id: str
    reason: str


class State(Struct, frozen=True):
    """All that can be said of deletions now; `trouble` when the record cannot be understood."""

    record: Record
    budget: Budget
    held: tuple[Held, ...]
    trouble: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and the form of the result."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("allow",),
        help="lift the latch and let the nodes go that are held now",
    )
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="let only these go")
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is held, or let it go; 1 when an engine could not be asked."""
    terminal.log_warnings()
    config = configuration(arguments)
    return asyncio.run(_run(config, arguments))


async def _run(config: Config, arguments: argparse.Namespace) -> int:
    with terminal.progress("asking the cluster and the engines"):
        nodes, text, listings = await _gather(config, arguments.kubeconfig)
    state = _state(config, nodes, text, listings.directory(config))
    if arguments.action:
        chosen = _chosen(state, nodes, arguments.nodes, listings)
        await _allow(config, arguments.kubeconfig, chosen)
    elif arguments.output == "json":
        terminal.print_json(as_json(state))
    else:
        _print(state)
    for error in listings.errors:
        terminal.complain(error)
    return 1 if listings.errors and not arguments.nodes else 0


async def _gather(
    config: Config, kubeconfig: Path | None
) -> tuple[dict[str, Node], str, Listings]:
    access = await load_access(kubeconfig)
    async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
        nodes, text = await list_nodes(api), await Ledger(api).read()
    return nodes, text, await list_engines(config)


def _state(config: Config, nodes: Mapping[str, Node], text: str, known: Directory) -> State:
    try:
        record, trouble = parse_record(text), ""
    except RecordUnreadable as error:
        record, trouble = Record(), f"the record of deletions cannot be understood: {error}"
    managed = sum(node.is_ours for node in nodes.values())
    room = budget(record, managed, config.deletion.budget, datetime.now(UTC))
    held = tuple(_held(config, nodes.values(), known, record, trouble))
    return State(record, room, held, trouble)


def _held(
    config: Config, nodes: Collection[Node], known: Directory, record: Record, trouble: str
) -> Iterator[Held]:
    policy = Policy(config.deletion, config.out_of_service)
    for node in nodes:
        match = find_instance(node, known)
        if not node.is_ours or node.is_ready or not isinstance(match, Absent):
            continue
        is_latched = record.latched is not None and node.uid not in record.allowed
        obstacle = trouble or (LATCHED if is_latched else "")
        proven = Evidence(absences=config.deletion.confirmations, obstacle=obstacle)
        verdict = judge(node, match, proven, policy, 0.0)
        is_said = isinstance(verdict, Hold) and verdict.level is Level.WARNING
        reason = verdict.reason if is_said or config.deletion.mode == "off" else _UNPROVEN
        if match.instance_id:
            yield Held(node, match.instance_id, reason)


# ---- letting go -------------------------------------------------------------------------------


def _chosen(
    state: State, nodes: Mapping[str, Node], names: Collection[str], listings: Listings
) -> dict[str, str]:
    """The nodes to let go, names by uid; ProviderError when they cannot be told."""
    if names:
        if unknown := [name for name in names if name not in nodes]:
            message = f"the cluster has no node {terminal.words(unknown)}."
            raise NothingAllowed(
                message, remedy="`ovirt-ccm deletions` lists those that are held."
            )
        return {nodes[name].uid: name for name in names}
    if listings.errors:
        message = "which nodes are held is not known while an engine cannot be asked."
        raise NothingAllowed(f"{message} {listings.errors[0]}", remedy="Or name the nodes.")
    return {held.node.uid: held.node.name for held in state.held}


async def _allow(config: Config, kubeconfig: Path | None, chosen: Mapping[str, str]) -> None:
    access = await load_access(kubeconfig)
    async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
        await Ledger(api).update(lambda text: format_record(lift(_readable(text), chosen)))
    console = terminal.output()
    console.print("The latch is lifted: nodes whose VM is gone are deleted within the budget.")
    if chosen:
        names = terminal.words(sorted(chosen.values()))
        console.print(terminal.cell(f"Beside the budget may go, once proven: {names}"))


def _readable(text: str) -> Record:
    """The record; an empty one in place of one that nobody can read."""
    try:
        return parse_record(text)
    except RecordUnreadable:
        return Record()


# ---- showing ----------------------------------------------------------------------------------


def as_json(state: State) -> dict[str, Any]:
    """The state for scripts."""
    return {
        "latched": state.record.latched.isoformat() if state.record.latched else None,
        "trouble": state.trouble,
        "budget": {"limit": state.budget.limit, "used": state.budget.used},
        "deletions": [
            {"node": one.node, "uid": one.uid, "at": one.at.isoformat()}
            for one in state.record.deletions
        ],
        "held": [
            {
                "node": held.node.name,
                "uid": held.node.uid,
                "instance": held.instance_id,
                "reason": held.reason,
            }
            for held in state.held
        ],
    }


def _print(state: State) -> None:
    console = terminal.output()
    room = f"{state.budget.used} of {state.budget.limit} deletions of this hour are used"
    if state.trouble:
        console.print(terminal.cell(state.trouble), style="red")
    if state.record.latched:
        since = f"{state.record.latched:%Y-%m-%d %H:%M} UTC"
        console.print(f"Nothing is deleted since {since}; {room}.", style="red")
    else:
        console.print(f"Deletions are allowed; {room}.")
    if not state.held:
        console.print("No node is held.")
        return
    grid = terminal.table("NODE", "VM", "WHY IT IS STILL THERE")
    for held in state.held:
        grid.add_row(terminal.cell(held.node.name), held.instance_id, terminal.cell(held.reason))
    console.print(grid)
    if state.record.latched or state.trouble:
        console.print("\n`ovirt-ccm deletions allow [NODE…]` lets them go.", style="dim")
