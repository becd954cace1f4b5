"""What the demo shows: VMs and their nodes side by side, and what happens below."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from provider.commands.terminal import output, table
from provider.kube.informer import NodeInformer
from provider.metrics import Metrics
from provider.model import LABEL_INSTANCE_TYPE, LABEL_ZONE, AddressType

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

    from rich.table import Table

    from provider.kube.api import KubeApi
    from provider.model import Node
    from provider.simulator.lab import Lab
    from provider.simulator.machine import Vm

_FRAME = 0.25  # seconds
_LINES = 10
# Below this width all columns do not fit a line, and 12 nodes of several lines no screen.
_WIDE = 130
_COLUMNS = ("VM", "STATUS", "HOST", "NODE", "STATE", "READY", "ZONE", "TYPE", "ADDRESSES")
_NARROW = ("VM", "STATUS", "HOST", "STATE", "READY", "ZONE", "ADDRESS")

_VM_COLOURS = {"up": "green", "down": "dim", "migrating": "magenta", "unknown": "red"}


class View:
    """A live table on a terminal; elsewhere a line for each thing that happens."""

    def __init__(self, lab: Lab, api: KubeApi, kubeconfig: Path) -> None:
        self._lab = lab
        self._kubeconfig = kubeconfig
        self._informer = NodeInformer(api, Metrics())
        self._console = output()
        self._happened: deque[Text] = deque(maxlen=_LINES)
        self._last_event = 0
        self._started = 0.0

    async def run(self) -> NoReturn:
        """Show until cancelled."""
        self._started = asyncio.get_running_loop().time()
        self._listen()
        watching = asyncio.create_task(self._informer.run())
        try:
            if self._console.is_terminal:
                await self._live()
            await self._lines()
        finally:
            if not self._console.is_terminal:
                self._print_lines()
            watching.cancel()
            await asyncio.wait((watching,))

    async def _live(self) -> NoReturn:
        with Live(console=self._console, auto_refresh=False, transient=False) as live:
            while True:
                self._note_engine_events()
                live.update(self._picture(), refresh=True)
                await asyncio.sleep(_FRAME)

    async def _lines(self) -> NoReturn:
        while True:
            self._print_lines()
            await asyncio.sleep(_FRAME)

    def _print_lines(self) -> None:
        self._note_engine_events()
        while self._happened:
            self._console.print(self._happened.popleft(), soft_wrap=True)

    # ---- what happened ---------------------------------------------------------------------

    def _listen(self) -> None:
        """Take the controller's log lines instead of letting them disturb the picture."""
        logging.getLogger().addHandler(logging.NullHandler())
        structlog.configure(
            processors=[structlog.processors.add_log_level, self._note_log],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        )

    def _note_log(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> NoReturn:
        level, text = event.pop("level"), event.pop("event")
        facts = [f"{key} {_short(value)}" for key, value in event.items() if value not in ("", [])]
        style = "yellow" if level == "warning" else "red" if level == "error" else "cyan"
        self._note("controller", f"{text}: {', '.join(facts)}", style)
        raise structlog.DropEvent

    def _note_engine_events(self) -> None:
        new = [e for e in self._lab.engine.world.events.newest_first() if e.id > self._last_event]
        for event in reversed(new):
            self._last_event = event.id
            if "logged" not in event.description:
                style = "default" if event.severity == "normal" else "red"
                self._note("engine", event.description, style)

    def _note(self, who: str, what: str, style: str) -> None:
        elapsed = asyncio.get_running_loop().time() - self._started
        line = Text(f"{elapsed:5.0f} s  ", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(f"{who:<11}", style="bold")
        line.append(what, style=style)
        self._happened.append(line)

    # ---- the picture -----------------------------------------------------------------------

    def _picture(self) -> Group:
        grid = self._table()
        # Header, head of the table, blank line, borders, footer, and the line of the cursor.
        lines = min(_LINES, max(1, self._console.height - grid.row_count - 7))
        return Group(
            self._header(),
            grid,
            Text(),
            Panel(
                Group(*list(self._happened)[-lines:]),
                title="what happens",
                title_align="left",
                height=lines + 2,
                border_style="dim",
            ),
            Text(f"kubectl --kubeconfig {self._kubeconfig} get nodes", style="dim", no_wrap=True),
        )

    def _header(self) -> Text:
        availability = str(self._lab.engine.faults.availability)
        nodes = self._informer.nodes.values()
        done = sum(1 for node in nodes if node.is_ours and not node.is_uninitialized)
        line = Text("oVirt engine ", style="bold")
        line.append(availability, style="green" if availability == "up" else "bold red")
        line.append("     Kubernetes ", style="bold")
        line.append(f"{len(self._informer.nodes)} nodes, {done} initialised")
        line.append("     Ctrl-C ends it", style="dim")
        return line

    def _table(self) -> Table:
        columns = _COLUMNS if self._console.width >= _WIDE else _NARROW
        grid = table(*columns)
        for column in grid.columns:
            column.no_wrap, column.overflow = True, "ellipsis"
        for vm in self._docker_hosts():
            node = self._informer.nodes.get(vm.name)
            cells = _vm_cells(vm) | (_node_cells(node) if node else {})
            grid.add_row(*(cells.get(column, "") for column in columns))
        return grid

    def _docker_hosts(self) -> Iterator[Vm]:
        for vm in self._lab.engine.world.vms.values():
            if any(tag.name.startswith(self._lab.tag) for tag in vm.tags):
                yield vm


def _vm_cells(vm: Vm) -> dict[str, str | Text]:
    status = str(vm.status)
    return {
        "VM": vm.name,
        "STATUS": Text(status, style=_VM_COLOURS.get(status, "yellow")),
        "HOST": vm.host.name if vm.host else "",
    }


def _node_cells(node: Node) -> dict[str, str | Text]:
    addresses = [a.address for a in node.addresses if a.type == AddressType.INTERNAL_IP]
    return {
        "NODE": node.name,
        "STATE": Text("uninitialised", style="yellow")
        if node.is_uninitialized
        else Text("initialised", style="green"),
        "READY": _readiness(node),
        "ZONE": node.labels.get(LABEL_ZONE, ""),
        "TYPE": node.labels.get(LABEL_INSTANCE_TYPE, ""),
        "ADDRESS": next(iter(addresses), ""),
        "ADDRESSES": " ".join(addresses),
    }


def _readiness(node: Node) -> Text:
    if not node.kubelet_version:
        return Text("no kubelet", style="dim")
    words = {True: Text("ready", style="green"), False: Text("no", style="yellow")}
    return words[node.is_ready] if node.is_ready is not None else Text("unknown", style="red")


def _short(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value)
