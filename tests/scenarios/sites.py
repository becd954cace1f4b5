"""Many engines behind proxies of their own, and one program that works for all of them.

Each engine is a site: its VMs, its Nodes and the fault that it suffers. What happens to one is
no business of the others, so that all faults can be suffered at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import trustme

from provider.app import App
from provider.config import Config
from provider.kube.access import load_access
from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import EngineSpec
from tests.kube.admin import Admin
from tests.kube.product import PASSWORD, eventually, scenario
from tests.scenarios.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec
    from tests.kube.admin import Object
    from tests.kube.control_plane import ControlPlane


class Site:
    """One engine, reached through `proxy`; `name` begins the names of its VMs and Nodes."""

    def __init__(self, name: str, folder: Path, vms: Iterable[VmSpec]) -> None:
        self.name = name
        self.engine = SimulatedEngine(
            scenario(vms).model_copy(update={"engine": EngineSpec(instance_id=str(uuid4()))})
        )
        self.proxy: Proxy
        self.has_tls = False
        self._folder = folder / name
        self._authority = trustme.CA()

    def vm(self, role: str) -> Vm:
        """The VM of this part of the site."""
        return self.engine.world.vm(f"{self.name}-{role}")

    def hide(self, role: str) -> Vm:
        """Take this VM out of the engine; `show` puts it back."""
        machine = self.vm(role)
        self.engine.world.forget(machine)
        return machine

    def show(self, machine: Vm) -> None:
        """Put a VM into the engine."""
        machine.is_removed = False
        self.engine.world.vms[machine.id] = machine

    @property
    def listings(self) -> int:
        """How many lists of VMs the engine has answered, well or not."""
        return self.engine.requests.counts["GET /vms"]

    @property
    def requests(self) -> int:
        """How many requests and connections have come, answered or not."""
        return self.engine.requests.counts.total() + self.proxy.connections

    async def open(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Start engine and proxy; what the configuration says of the engine."""
        await asyncio.to_thread(self._prepare)
        context = None
        if self.has_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._authority.issue_cert("127.0.0.1").configure_cert(context)
        url = await self.engine.start(ssl_context=context)
        stack.push_async_callback(self.engine.stop)
        parts = urlsplit(url)
        assert parts.port
        self.proxy = await stack.enter_async_context(Proxy(parts.port))
        return {
            "name": self.name,
            "url": f"{parts.scheme}://127.0.0.1:{self.proxy.port}{parts.path}",
            "username": "reader@internal",
            "password_file": self._folder / "password",
            "ca_file": self._folder / "ca.pem" if self.has_tls else None,
        }

    def trust(self, authority: trustme.CA | None = None) -> None:
        """Let the program trust this authority, or again the engine's own."""
        (authority or self._authority).cert_pem.write_to_path(str(self._folder / "ca.pem"))

    def _prepare(self) -> None:
        self._folder.mkdir()
        (self._folder / "password").write_text(PASSWORD, encoding="utf-8")
        self.trust()


class Sites:
    """The program at work for all `sites`, from `start` to the end of `async with`."""

    def __init__(
        self, cluster: ControlPlane, kubeconfig: Path, sites: Iterable[Site], **sections: Any
    ) -> None:
        self.all = {site.name: site for site in sites}
        self.app: App
        self._admin_of = cluster
        self._kubeconfig = kubeconfig
        self._sections = sections
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Engines, proxies and an administrator are there; the program is not started."""
        async with AsyncExitStack() as stack:
            self.admin = await stack.enter_async_context(Admin(self._admin_of))
            self._engines = [await site.open(stack) for site in self.all.values()]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        await self._stack.aclose()

    async def start(self) -> None:
        """Start the program."""
        config = Config(engines=self._engines, **self._sections)
        self.app = App(config, await load_access(self._kubeconfig), insecure_http=True)
        self._running = asyncio.create_task(self.app.run())

    def require_running(self) -> None:
        """Raise what ended the program, if something did: it is never started again."""
        if self._running and self._running.done():
            self._running.result()

    async def node_when(self, name: str, is_so: Any, what: str, *, within: float) -> Object:
        """The Node once it is so; AssertionError says `what` never came."""

        async def look() -> Object | None:
            self.require_running()
            node = await self.admin.node(name)
            return node if node and is_so(node) else None

        return await eventually(look, f"{name}: {what}", within=within)

    async def gone(self, name: str, *, within: float) -> None:
        """Return when there is no such Node."""

        async def look() -> bool:
            self.require_running()
            return await self.admin.node(name) is None

        await eventually(look, f"{name} is deleted", within=within)

    async def report(self, name: str, status: str) -> Object:
        """What the kubelet, or for it kube-controller-manager, says of Ready; the Node after."""
        condition = {"type": "Ready", "status": status}
        patch = {"status": {"conditions": [condition]}}
        return await self.admin.patch_node(name, patch, subresource="status")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of this series over all labels but these."""
        samples = (s for family in self.app.metrics.registry.collect() for s in family.samples)
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )
