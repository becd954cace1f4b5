"""The control plane, reachable for nodes on a bridge as on a cluster's network."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.e2e.node import BRIDGE, GATEWAY
from tests.e2e.shell import ip
from tests.kube.admin import Admin
from tests.kube.control_plane import ControlPlane
from tests.kube.layout import HOST, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

_TOKEN = "abcdef", "0123456789abcdef"
_FLAGS = {
    "kube-apiserver": {
        "enable-bootstrap-token-auth": "true",
        "kubelet-preferred-address-types": "InternalIP",
    },
    # A node that is silent for ten seconds is not ready.
    "kube-controller-manager": {
        "node-monitor-period": "1s",
        "node-monitor-grace-period": "10s",
        "node-startup-grace-period": "30s",
    },
}


class Cluster:
    """A control plane whose API server answers on the service's address, as kube-proxy has it."""

    def __init__(self, assets: Path) -> None:
        self.control_plane = ControlPlane(assets, kcm=True, scheduler=True, flags=_FLAGS)
        self.admin: Admin
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._stack as stack:
            await _lay_network()
            plane = self.control_plane
            await asyncio.to_thread(plane.__enter__)
            stack.callback(plane.__exit__, None, None, None)
            server = await asyncio.start_server(self._forward, SERVICE, 443)
            stack.callback(server.close)
            self.admin = await stack.enter_async_context(Admin(plane))
            await self.apply(_joining())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints, as administrator."""
        return await asyncio.to_thread(self.control_plane.kubectl, *arguments, stdin=stdin)

    async def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Create or change these objects."""
        manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        await self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def bootstrap(self) -> Mapping[str, Any]:
        """The kubeconfig with which a kubelet asks for its own."""
        ca_file = str(self.control_plane.ca_file)
        cluster = {"server": f"https://{SERVICE}", "certificate-authority": ca_file}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": "bootstrap", "user": {"token": ".".join(_TOKEN)}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "bootstrap"}}],
            "current-context": "e2e",
        }

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = urlsplit(self.control_plane.url).port
        # Cancelled at the end, when nobody waits for it.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back_reader, back_writer = await asyncio.open_connection(HOST, port)
            await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _lay_network() -> None:
    await ip("link set lo up")
    await ip(f"link add {BRIDGE} type bridge")
    for address in (f"{GATEWAY}/24", f"{SERVICE}/32"):
        await ip(f"addr add {address} dev {BRIDGE}")
    await ip(f"link set {BRIDGE} up")


def _joining() -> Iterable[Mapping[str, Any]]:
    """What kubeadm sets up for kubelets: a token, and the right to a certificate with it."""
    token, secret = _TOKEN
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": token,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
        },
    }
    roles = {
        "ask": "system:node-bootstrapper",
        "approve": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    }
    for name, role in roles.items():
        yield cluster_role_binding(
            f"kubelets-{name}",
            role,
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": "system:bootstrappers",
            },
        )


def cluster_role_binding(name: str, role: str, subject: Mapping[str, str]) -> dict[str, Any]:
    """The ClusterRoleBinding that gives this subject this ClusterRole."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
