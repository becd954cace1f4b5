"""The whole product at work on a real API server: the real App and a simulated engine.

    async with Product(cluster, grant(cluster), folder, [vm("w1")]) as product:
        await admin.create_node("w1")
        node = await product.initialised("w1")

The product has the rights of its manifests and no others, so that a missing verb shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from provider.app import App
from provider.config import Config
from provider.kube.access import load_access
from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import (
    ClusterSpec,
    DataCenterSpec,
    Durations,
    HostSpec,
    NicSpec,
    Scenario,
    TagSpec,
    UserSpec,
    VmSpec,
)
from tests.kube.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from provider.simulator.machine import Vm
    from tests.kube.admin import Object
    from tests.kube.audit import AuditEntry
    from tests.kube.control_plane import ControlPlane

_ACCOUNT = "ovirt-cloud-controller-manager"
USER = f"system:serviceaccount:kube-system:{_ACCOUNT}"
USER_AGENT = "ovirt-ccm/"
PASSWORD = "geheim-ü"
RBAC = Path(__file__).parents[2] / "manifests/rbac.yaml"
"""The rights of the product as it is shipped."""

_LOOK = 0.1  # seconds between two looks at what a test waits for
_PATIENCE = 60.0  # seconds; a busy machine needs many where one is usual

_Answer = TypeVar("_Answer")


async def eventually(
    probe: Callable[[], Awaitable[_Answer | None]], what: str, *, within: float = _PATIENCE
) -> _Answer:
    """The first answer of `probe` that is something; AssertionError says `what` never came."""
    try:
        async with asyncio.timeout(within):
            while True:
                if answer := await probe():
                    return answer
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        raise AssertionError(f"not within {within:.0f} s: {what}") from None


# ---- rights ------------------------------------------------------------------------------------


def grant(cluster: ControlPlane) -> Path:
    """A kubeconfig of the product's service account, which may do what the manifests grant."""
    cluster.kubectl("apply", "-f", str(RBAC))
    token = cluster.kubectl("create", "token", _ACCOUNT, "-n=kube-system", "--duration=1h")
    return cluster.kubeconfig_with(token.strip())


def grant_to_group(cluster: ControlPlane, group: str) -> None:
    """Give users of this group the same rights: whose a request was is then in the audit log."""
    grant(cluster)
    rbac = "rbac.authorization.k8s.io"
    bindings = [
        {
            "apiVersion": f"{rbac}/v1",
            "kind": f"{kind}Binding",
            "metadata": {"name": group, "namespace": "kube-system" if kind == "Role" else None},
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": _ACCOUNT},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}],
        }
        for kind in ("ClusterRole", "Role")
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": bindings})
    cluster.kubectl("apply", "-f", "-", stdin=manifest)


# ---- the engine --------------------------------------------------------------------------------


def vm(name: str, *ips: str, **facts: Any) -> VmSpec:
    """A Docker host that is up on hv-1 of the cluster blue, whose guest reports `ips`."""
    defaults: dict[str, Any] = {
        "cluster": "blue",
        "host": "hv-1",
        "tags": ("docker-host",),
        "nics": (NicSpec(addresses=tuple(ip_address(ip) for ip in ips or ("10.1.0.1",))),),
    }
    return VmSpec(name=name, **(defaults | facts))


def scenario(vms: Iterable[VmSpec]) -> Scenario:
    return Scenario(
        users=(UserSpec(name="reader@internal", password=PASSWORD, role="ReadOnlyAdmin"),),
        data_centers=(DataCenterSpec(name="paris"), DataCenterSpec(name="rome")),
        clusters=(
            ClusterSpec(name="blue", data_center="paris"),
            ClusterSpec(name="red", data_center="rome"),
        ),
        hosts=(
            HostSpec(name="hv-1", cluster="blue"),
            HostSpec(name="hv-2", cluster="blue"),
            HostSpec(name="hv-3", cluster="red"),
        ),
        tags=(TagSpec(name="docker-host"),),
        vms=tuple(vms),
        durations=Durations.model_validate({"migration": "3s", "reboot": "2s"}),
    )


# ---- the product -------------------------------------------------------------------------------


class Product:
    """Runs in the test's loop from `async with` to its end.

    It only initialises nodes, and looks at everything twice a second, unless `sections` of the
    configuration say otherwise.
    """

    def __init__(
        self,
        cluster: ControlPlane,
        kubeconfig: Path,
        folder: Path,
        vms: Iterable[VmSpec],
        *,
        insecure_http: bool = True,
        **sections: Any,
    ) -> None:
        self.engine = SimulatedEngine(scenario(vms))
        self.app: App
        self._cluster = cluster
        self._kubeconfig = kubeconfig
        self._password_file = folder / "password"
        self._insecure_http = insecure_http
        self._sections: dict[str, Any] = {
            "intervals": {"poll": "500ms", "wanted": "250ms", "resync": "500ms"},
            "registration": {"mode": "adopt"},
            # It would end with an outage of the API server, and lease requests would be counted.
            "leader_election": {"enabled": False},
            "server": {"bind": "127.0.0.1:0"},
            **sections,
        }
        self.may_be_refused = False
        """Whether 403 is an answer: of an API server that has just started, before it has read
        the roles."""
        self._since = cluster.audit_position()
        self._admin: Admin
        self._running: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._admin = Admin(self._cluster)
        url = await self.engine.start()
        await asyncio.to_thread(self._password_file.write_text, PASSWORD, encoding="utf-8")
        east = {
            "name": "east",
            "url": url,
            "username": "reader@internal",
            "password_file": self._password_file,
        }
        config = Config(engines=[east], **self._sections)
        access = await load_access(self._kubeconfig)
        self.app = App(config, access, insecure_http=self._insecure_http)
        self._running = asyncio.create_task(self.app.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        await self._admin.__aexit__(kind, error, trace)
        await self.engine.stop()
        if error is None and not self.may_be_refused:
            assert self.requests(code="403") == 0, "its role lacks a right"

    def vm(self, name: str) -> Vm:
        """The VM of this name."""
        return self.engine.world.vm(name)

    # ---- what it did -----------------------------------------------------------------------

    async def initialised(self, name: str) -> Object:
        """The Node once it has lost the taint of uninitialised nodes."""
        return await self.node_when(name, is_initialised)

    async def node_when(self, name: str, is_so: Callable[[Object], bool]) -> Object:
        """The Node once it is so."""

        async def look() -> Object | None:
            self.require_running()
            node = await self._admin.node(name)
            return node if node and is_so(node) else None

        return await eventually(look, f"node {name}: {getattr(is_so, '__name__', is_so)}")

    async def event(self, name: str, reason: str) -> Object:
        """The first Event of this reason on the Node."""

        async def look() -> Object | None:
            self.require_running()
            events = await self._admin.events(name)
            return next((event for event in events if event["reason"] == reason), None)

        return await eventually(look, f"event {reason} on {name}")

    async def periods(self, count: int) -> None:
        """Return when the engine has been listed and every node looked at so many times."""
        nodes = len(await self._admin.nodes())
        listings, looks = self._listings, self.reconciles()

        async def is_over() -> bool:
            self.require_running()
            is_listed = self._listings > listings + count
            return is_listed and self.reconciles() >= looks + count * nodes

        await eventually(is_over, f"{count} periods are over")

    def require_running(self) -> None:
        """Raise what ended the product, if something did."""
        if self._running.done():
            self._running.result()

    def writes(self, prefix: str = "") -> list[AuditEntry]:
        """Its writes to Nodes whose names start so, oldest first, refused ones included."""
        entries = self._cluster.audit(user=USER, name_prefix=prefix, since=self._since)
        return [entry for entry in entries if entry.is_write and entry.resource == "nodes"]

    def changes(self, prefix: str = "") -> list[AuditEntry]:
        """Its writes to Nodes that were taken: another writer may come first."""
        return [write for write in self.writes(prefix) if write.is_success]

    def reconciles(self, result: str = "") -> float:
        """How many looks at nodes had this result, or all."""
        return self.metric("ovirt_ccm_reconciles_total", **({"result": result} if result else {}))

    def requests(self, **labels: str) -> float:
        """How many requests to the API server it counted under these labels."""
        return self.metric("ovirt_ccm_api_requests_total", **labels)

    def instances(self, **labels: str) -> float:
        """How many VMs it knows under these labels."""
        return self.metric("ovirt_ccm_instances", **labels)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of this series over all labels but these."""
        samples = (s for family in self.app.metrics.registry.collect() for s in family.samples)
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    @property
    def _listings(self) -> int:
        return self.engine.requests.counts["GET /vms"]


# ---- what a Node looks like --------------------------------------------------------------------


def taint_keys(node: Object) -> set[str]:
    """The keys of its taints."""
    return {taint["key"] for taint in node["spec"].get("taints", ())}


def is_initialised(node: Object) -> bool:
    """Whether it lacks the taint of uninitialised nodes."""
    return "node.cloudprovider.kubernetes.io/uninitialized" not in taint_keys(node)


def addresses(node: Object, kind: str = "InternalIP") -> list[str]:
    """Its addresses of this type, in order."""
    found = node["status"].get("addresses", ())
    return [address["address"] for address in found if address["type"] == kind]


def is_settled(node: Object) -> bool:
    """Whether kube-controller-manager has done all that it does to a new node of a test.

    A pod network and its time to live for caches. The taint that admission set it removes from
    a node without Ready condition, for no kubelet is there to write one.
    """
    is_unspoken = "Ready" not in {c["type"] for c in node["status"].get("conditions", [])}
    keeps_taint = is_unspoken and "node.kubernetes.io/not-ready" in taint_keys(node)
    has_ttl = "node.alpha.kubernetes.io/ttl" in node["metadata"].get("annotations", {})
    return is_initialised(node) and has_ttl and "podCIDR" in node["spec"] and not keeps_taint
