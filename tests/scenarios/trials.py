"""Programs behind proxies of their own in front of the API server, and what they must not lose."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.kube.product import eventually, grant_to_group, is_initialised, vm
from tests.scenarios.proxy import Proxy
from tests.scenarios.sites import Site, Sites

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from tests.kube.admin import Admin
    from tests.kube.audit import AuditEntry
    from tests.kube.control_plane import ControlPlane

COUNT = 5
"""Nodes of each role in a trial."""
RECOVERS = 60.0

_QUIET = 1.5  # seconds without a write, once all is right
_GROUP = "scenarios"
# Nodes are looked at again at their changes only: what the watch loses is lost.
_SETTINGS: dict[str, Any] = {
    "intervals": {"poll": "500ms", "wanted": "500ms", "events": "500ms", "resync": "5m"},
    "limits": {"kube_timeout": "2s"},
    "registration": {"mode": "adopt"},
    "leader_election": {"enabled": False},
    "server": {"bind": "127.0.0.1:0"},
}


def prepare(cluster: ControlPlane) -> None:
    """Give the users of trials the rights of the product."""
    grant_to_group(cluster, _GROUP)


class Trial:
    """One program behind one proxy, whose user in the audit log is `name`."""

    def __init__(self, name: str, cluster: ControlPlane, sites: Sites, proxy: Proxy) -> None:
        self.name = name
        self.cluster = cluster
        self.proxy = proxy
        self._sites = sites
        self._site = sites.all[name]
        self._since = 0
        self._connections = 0

    @classmethod
    async def start(
        cls, name: str, cluster: ControlPlane, folder: Path, stack: AsyncExitStack, **sections: Any
    ) -> Self:
        """One that is under way until the end of `stack`."""
        proxy = await stack.enter_async_context(Proxy(urlsplit(cluster.url).port or 0))
        access = folder / f"{name}.yaml"
        original = cluster.kubeconfig_for(name, [_GROUP])
        there = f"https://127.0.0.1:{proxy.port}"
        access.write_text(original.read_text("utf-8").replace(cluster.url, there), "utf-8")
        roles = [f"{role}{n}" for role in ("known", "new") for n in range(COUNT)]
        site = Site(
            name, folder, [vm(f"{name}-{role}", f"10.1.1.{n + 1}") for n, role in enumerate(roles)]
        )
        settings = _SETTINGS | sections
        sites = await stack.enter_async_context(Sites(cluster, access, [site], **settings))
        await sites.start()
        return cls(name, cluster, sites, proxy)

    @property
    def admin(self) -> Admin:
        """An administrator, who is not behind the proxy."""
        return self._sites.admin

    async def settle(self) -> None:
        """Half of the Nodes are there and initialised; what comes now is counted."""
        await self.create("known")
        await self._initialised("known")
        self._since, self._connections = self.cluster.audit_position(), self.proxy.connections

    async def create(self, role: str) -> None:
        """The Nodes of this role, as their kubelets make them."""
        for n in range(COUNT):
            machine = self._site.vm(f"{role}{n}")
            await self.admin.create_node(machine.name, system_uuid=machine.id)

    def migrate(self) -> None:
        """A change of the engine for each Node that is known."""
        for n in range(COUNT):
            self._site.vm(f"known{n}").migrate("hv-2")

    async def recover(self) -> None:
        """All that was created and changed is on the Nodes, and soon nothing more is written.

        A write whose answer was lost is made once more, when the Node may be right already.
        """
        await self._initialised("new")
        await asyncio.gather(*(self._moved(f"known{n}") for n in range(COUNT)))

        async def is_quiet() -> bool:
            before = self.requests("patch")
            await asyncio.sleep(_QUIET)
            return self.requests("patch") == before

        await eventually(is_quiet, f"{self.name}: nothing more is written", within=3 * _QUIET)

    def requests(self, verb: str = "", code: int = 0) -> list[AuditEntry]:
        """What it has asked for since it had settled, and what with this verb and answer."""
        return [
            entry
            for entry in self.cluster.audit(user=self.name, since=self._since)
            if verb in ("", entry.verb) and code in (0, entry.code)
        ]

    async def answered(self, verb: str, *codes: int) -> None:
        """Return when the API server has given one of these answers to such a request."""

        async def look() -> bool:
            return any(self.requests(verb, code) for code in codes)

        await eventually(look, f"{self.name}: {verb} is answered with {codes}")

    def require_calm(self, programs: int) -> None:
        """A node at a time is tried again ever more rarely: a busy loop would try thousands.

        The nodes of all `programs` are looked at.
        """
        nodes = 2 * COUNT * programs
        assert len(self.requests()) <= 8 * nodes
        assert self.proxy.connections - self._connections <= 8 * nodes

    async def counted(self, name: str, **labels: str) -> None:
        """Return when the program has counted something under this name and these labels."""

        async def look() -> bool:
            return self._sites.metric(name, **labels) > 0

        await eventually(look, f"{self.name}: {name} {labels}")

    async def _initialised(self, role: str) -> None:
        names = [self._site.vm(f"{role}{n}").name for n in range(COUNT)]
        waits = (
            self._sites.node_when(name, is_initialised, "is initialised", within=RECOVERS)
            for name in names
        )
        await asyncio.gather(*waits)

    async def _moved(self, role: str) -> None:
        """The change of the engine that came while nothing could be written is on the Node."""

        def is_on_the_new_host(node: dict[str, dict[str, dict[str, str]]]) -> bool:
            return node["metadata"]["labels"].get("ccm.ovirt.org/host") == "hv-2"

        name = self._site.vm(role).name
        await self._sites.node_when(name, is_on_the_new_host, "is on hv-2", within=RECOVERS)
