"""What a control plane needs before it starts: ports, certificates, tokens, kubeconfigs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
from typing import TYPE_CHECKING

from tests.kube import audit
from tests.kube.pki import Authority, signing_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = "127.0.0.1"
SERVICE = "10.96.0.1"
"""The cluster IP of the service "kubernetes", under which pods know the API server."""
ADMIN_TOKEN = "admin-token"
"""Bearer token of a member of system:masters."""
USER_TOKEN = "user-token"
"""Bearer token of a user without any right."""

# Below the range from which Linux takes the ports of outgoing connections: a server that is
# started again must find its port free.
_PORTS = range(20000, 32000)
_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Layout:
    """The files and ports of one control plane, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etcd_port, self.peer_port, self.api_port, self.kcm_port, self.scheduler_port = (
            _free_ports(5)
        )
        self.ca = Authority(folder, "ca")
        self.front_proxy_ca = Authority(folder, "front-proxy-ca")
        hosts = (HOST, "localhost", SERVICE, *_SERVICE_NAMES)
        self.api_server = self.ca.issue("apiserver", "kube-apiserver", hosts=hosts)
        self.kubelet_client = self.ca.issue("kubelet-client", "kubelet-client", ["system:masters"])
        self.front_proxy = self.front_proxy_ca.issue("front-proxy", "front-proxy-client")
        self.service_accounts = signing_key(folder, "service-accounts")
        self.tokens = folder / "tokens.csv"
        self.tokens.write_text(
            f'{ADMIN_TOKEN},token-admin,1,"system:masters"\n{USER_TOKEN},token-user,2,"nobodies"\n'
        )
        self.audit_policy = folder / "audit-policy.yaml"
        self.audit_policy.write_text(audit.POLICY)
        self.audit_log = folder / "audit.log"
        self.audit_log.touch()

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://{HOST}:{self.api_port}"

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for this user and groups."""
        pair = self.ca.issue(_file_name("client", user), user, groups)
        return self._kubeconfig(
            user, {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        )

    def kubeconfig_with(self, token: str) -> Path:
        """A kubeconfig with a bearer token."""
        return self._kubeconfig(token, {"token": token})

    def _kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.ca.pair.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path = self.folder / f"{_file_name('kubeconfig', name)}.yaml"
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)
        return path


def _file_name(kind: str, name: str) -> str:
    """One a name: tokens are long, begin alike, and users may hold any character."""
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            port = random.choice(_PORTS)  # noqa: S311 - no secret
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                found.append(port)
        return found
