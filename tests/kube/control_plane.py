"""A Kubernetes control plane of plain processes on loopback, with RBAC on.

    with ControlPlane(find()) as cluster:
        cluster.kubectl("get", "nodes")

Every method blocks. An asynchronous test, whose loop must go on, calls those that take time
through a thread: `await asyncio.to_thread(cluster.restart, "kube-apiserver")`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kube import audit
from tests.kube.flags import etcd, kube_apiserver, kube_controller_manager, kube_scheduler
from tests.kube.layout import ADMIN_TOKEN, HOST, Layout
from tests.kube.process import Guard, Process, ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_FLAGS: Mapping[str, Callable[[Layout], Mapping[str, str]]] = {
    "etcd": etcd,
    "kube-apiserver": kube_apiserver,
    "kube-controller-manager": kube_controller_manager,
    "kube-scheduler": kube_scheduler,
}
_NAMESPACES = ("default", "kube-system")
_READY_WITHIN = 90.0  # seconds; 3 are usual, a busy machine needs many
_STARTS = 3  # another process may take a port between our look and the program's bind


class KubectlError(Exception):
    """kubectl ended with another status than 0; the text is what it said."""


class ControlPlane:
    """Etcd and kube-apiserver, on request kube-controller-manager and kube-scheduler.

    Started by `with`; ended, with all that it wrote, at the end of the block, or by its guard when
    the test process itself is killed. ProcessError, with the end of the log, when a program does
    not start.
    """

    kubeconfig: Path
    """Of an administrator (user admin, group system:masters), with a client certificate."""
    folder: Path
    """Logs (`NAME.log`), keys and kubeconfigs."""

    def __init__(
        self,
        assets: Path,
        *,
        kcm: bool = False,
        scheduler: bool = False,
        flags: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`flags` replaces or adds some of a program: `{"etcd": {"log-level": "debug"}}`."""
        optional = {"kube-controller-manager": kcm, "kube-scheduler": scheduler}
        self._assets = assets
        self._names = [name for name in _FLAGS if optional.get(name, True)]
        self._flags = flags or {}
        self._processes: dict[str, Process] = {}
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for chance in range(_STARTS):
            try:
                self._open()
            except ProcessError as error:
                if chance == _STARTS - 1 or "address already in use" not in str(error):
                    raise
            else:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return self._layout.url

    @property
    def ca_file(self) -> Path:
        """The authority of every certificate here."""
        return self._layout.ca.pair.certificate

    @property
    def names(self) -> Sequence[str]:
        """The programs that this control plane is made of."""
        return tuple(self._names)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for this user and these groups."""
        return self._layout.kubeconfig_for(user, groups)

    def kubeconfig_with(self, token: str) -> Path:
        """A kubeconfig with a bearer token: ADMIN_TOKEN, USER_TOKEN or a service account's."""
        return self._layout.kubeconfig_with(token)

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        """What kubectl prints; as administrator unless a kubeconfig is given."""
        config = str(kubeconfig or self.kubeconfig)
        fixed = [str(self._assets / "kubectl"), f"--cache-dir={self.folder / 'kubectl-cache'}"]
        done = subprocess.run(
            [*fixed, *arguments],
            input=stdin,
            env={**os.environ, "KUBECONFIG": config},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def pid(self, name: str) -> int:
        """The process id; ProcessError when the program does not run."""
        return self._processes[name].pid

    def is_running(self, name: str) -> bool:
        """True while the process exists, frozen or not."""
        return self._processes[name].is_running

    def freeze(self, name: str) -> None:
        """Let it hang: connections stay open and nothing is answered (SIGSTOP)."""
        self._processes[name].send(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen program go on (SIGCONT)."""
        self._processes[name].send(signal.SIGCONT)

    def stop(self, name: str, seconds: float = 3.0) -> None:
        """End it as an upgrade does: SIGTERM, and SIGKILL when the time is over.

        An API server refuses new connections at once and then waits up to 60 s for open watches.
        """
        self._processes[name].stop(seconds)

    def kill(self, name: str) -> None:
        """End it at once (SIGKILL)."""
        self._processes[name].kill()

    def start(self, name: str) -> None:
        """Start it and return when it is ready; on the port and with the flags that it had."""
        process = self._processes[name]
        process.start()
        process.wait_until(partial(self._is_ready, name), _READY_WITHIN)

    def restart(self, name: str) -> None:
        """Kill it and start it again; after etcd the API server needs up to a minute."""
        self.kill(name)
        self.start(name)

    def ensure_healthy(self) -> None:
        """Return when every program is ready; ProcessError when one has ended."""
        for name in self._names:
            self._processes[name].wait_until(partial(self._is_ready, name), _READY_WITHIN)

    def audit_position(self) -> int:
        """Where the audit log ends now, for `audit(since=...)`."""
        return self._layout.audit_log.stat().st_size

    def audit(
        self, *, user_agent: str = "", user: str = "", name_prefix: str = "", since: int = 0
    ) -> list[audit.AuditEntry]:
        """Requests answered so far, oldest first, whose fields start with what is given.

        `user` is compared whole. Every write is there, and the reads of nodes and leases.
        """
        return [
            entry
            for entry in audit.read(self._layout.audit_log, since)
            if entry.user_agent.startswith(user_agent)
            and user in ("", entry.user)
            and entry.name.startswith(name_prefix)
        ]

    def version(self) -> str:
        """The API server's version, `v1.37.2`."""
        status, body = self._get(self.url, "/version")
        if status != http.HTTPStatus.OK:
            raise ProcessError(f"/version answered {status}")
        return str(json.loads(body)["gitVersion"])

    def _open(self) -> None:
        with contextlib.ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="kube-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            guard = Guard(self.folder)
            stack.callback(guard.dismiss)
            self._layout = Layout(self.folder)
            self.kubeconfig = self._layout.kubeconfig_for("admin", ["system:masters"])
            stack.callback(self._kill_all)
            for name in self._names:
                log = self.folder / f"{name}.log"
                self._processes[name] = Process(self._command(name), log, guard.group)
            for name in self._names:
                self.start(name)
            self._running = stack.pop_all()

    def _kill_all(self) -> None:
        # Clients first: nothing then logs about a server that has gone.
        for process in reversed(self._processes.values()):
            process.kill()

    def _command(self, name: str) -> list[str]:
        flags = {**_FLAGS[name](self._layout), **self._flags.get(name, {})}
        return [str(self._assets / name), *(f"--{key}={value}" for key, value in flags.items())]

    def _is_ready(self, name: str) -> bool:
        match name:
            case "etcd":
                return self._answers(f"http://{HOST}:{self._layout.etcd_port}", "/health")
            case "kube-apiserver":
                paths = (f"/api/v1/namespaces/{namespace}" for namespace in _NAMESPACES)
                return all(self._answers(self.url, path) for path in ("/readyz", *paths))
            case "kube-controller-manager":
                return self._answers(f"https://{HOST}:{self._layout.kcm_port}", "/healthz")
            case _:
                return self._answers(f"https://{HOST}:{self._layout.scheduler_port}", "/healthz")

    def _answers(self, url: str, path: str) -> bool:
        try:
            status, _ = self._get(url, path)
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    def _get(self, url: str, path: str) -> tuple[int, bytes]:
        scheme, _, address = url.partition("://")
        connection = http.client.HTTPConnection(address, timeout=2)
        if scheme == "https":
            context = ssl.create_default_context(cafile=str(self.ca_file))
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            connection = http.client.HTTPSConnection(address, timeout=2, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
            response = connection.getresponse()
            return response.status, response.read()
