"""Replicas of the product as processes of the console script, each a user of its own.

The audit log then tells whose a request was.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import yaml

from provider.simulator.engine import SimulatedEngine
from tests.kube.admin import RefusedError
from tests.kube.product import PASSWORD, eventually, grant_to_group, scenario

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from types import TracebackType

    from provider.simulator.scenario import VmSpec
    from tests.kube.admin import Admin
    from tests.kube.audit import AuditEntry
    from tests.kube.control_plane import ControlPlane

SCRIPT = Path(sys.executable).with_name("ovirt-ccm")
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ovirt-cloud-controller-manager"

_GROUP = "replicas"
_DURATION = 15.0  # seconds of the lease


class Replica:
    """One process; `log` is what it says."""

    def __init__(self, user: str, kubeconfig: Path, config: Path, log: Path) -> None:
        self.user = user
        self.log = log
        self._arguments = "run", "--config", str(config), "--kubeconfig", str(kubeconfig)
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start it."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                SCRIPT, *self._arguments, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """Its number, which its identity in the Lease names too."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, within 20 s."""
        async with asyncio.timeout(20):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it whatever it does."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def has_said(self, text: str) -> bool:
        """Whether it has logged this."""
        return text in self.log.read_text("utf-8")


class Replicas:
    """Three of them on one control plane, with an engine of these VMs; ended with `async with`."""

    def __init__(
        self, cluster: ControlPlane, admin: Admin, folder: Path, vms: Iterable[VmSpec]
    ) -> None:
        self._cluster = cluster
        self._admin = admin
        self._folder = folder
        self._config = folder / "config.yaml"
        self.engine = SimulatedEngine(scenario(vms))
        self._since = 0
        self.all: list[Replica] = []

    async def __aenter__(self) -> Self:
        """Return when one leads and the others watch."""
        await asyncio.to_thread(grant_to_group, self._cluster, _GROUP)
        self._config.write_text(yaml.safe_dump(await self._configuration()), encoding="utf-8")
        self._since = self._cluster.audit_position()
        for number in range(3):
            user = f"replica-{number}"
            access = self._cluster.kubeconfig_for(user, [_GROUP])
            replica = Replica(user, access, self._config, self._folder / f"{user}.log")
            await replica.start()
            self.all.append(replica)
        await eventually(self._are_settled, "one leads, two stand by")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for replica in self.all:
            await replica.kill()
        await self.engine.stop()
        await self._admin.call("DELETE", LEASE)
        if error:
            error.add_note("\n".join(replica.log.read_text("utf-8") for replica in self.all))

    async def leader(self) -> Replica | None:
        """Whose name is in the Lease; None when there is none."""
        try:
            lease = await self._admin.call("GET", LEASE)
        except RefusedError:
            return None
        holder = lease["spec"].get("holderIdentity") or ""
        return next((one for one in self.all if f"_{one.pid}_" in holder), None)

    async def takeover(self, old: Replica) -> tuple[Replica, float]:
        """The next leader, and after how many seconds from now it had the Lease."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def look() -> Replica | None:
            leader = await self.leader()
            return leader if leader is not old else None

        new = await eventually(look, "another has taken the lease")
        return new, loop.time() - began

    async def command(self, *words: str) -> str:
        """What this command of an administrator prints."""
        options = "--config", str(self._config), "--kubeconfig", str(self._cluster.kubeconfig)
        process = await asyncio.create_subprocess_exec(
            SCRIPT, *words, *options, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        return said.decode()

    def writes(self, replica: Replica | None = None) -> list[AuditEntry]:
        """The writes of this replica, or of all, as they came in; a review writes nothing."""
        users = {one.user for one in ([replica] if replica else self.all)}
        entries = self._cluster.audit(since=self._since)
        ours = [entry for entry in entries if entry.user in users and entry.is_write]
        writes = (entry for entry in ours if not entry.resource.endswith("reviews"))
        return sorted(writes, key=lambda entry: entry.received)

    def require_one_writer(self) -> None:
        """AssertionError when a write came in while its sender had no lease."""
        holder, renewed = "", None
        for entry in self.writes():
            if entry.resource == "leases":
                if entry.is_success:
                    holder, renewed = entry.user, entry.received
            elif "/kube-system/" not in entry.uri:
                assert renewed, f"nobody had the lease: {entry}"
                assert entry.user == holder, f"{holder} had the lease: {entry}"
                age = (entry.received - renewed).total_seconds()
                assert age < _DURATION, f"the lease had ended: {entry}"

    async def _configuration(self) -> dict[str, object]:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        engine = {
            "url": await self.engine.start(),
            "username": "reader@internal",
            "password_file": str(password),
        }
        return {
            "engines": [engine],
            "intervals": {"poll": "1s", "wanted": "500ms", "resync": "1s"},
            "registration": {"mode": "adopt"},
            "server": {"bind": "127.0.0.1:0"},
        }

    async def _are_settled(self) -> bool:
        standing_by = [replica for replica in self.all if replica.has_said("standing by")]
        return await self.leader() is not None and len(standing_by) == 2
