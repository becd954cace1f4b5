"""The two servers whose lookups are compared, and what they did under load."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme
from _clock import cpu_seconds
from _load import Address, Broken, Pool
from _stage import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.kube.control_plane import ControlPlane

HOST = "127.0.0.1"
ACCOUNT = "reader"
BARE_SERVER = Path(__file__).with_name("_bare_server.py")
SERVER_FILES = ("certificate_file", "key_file")
CONFIG = "config.yaml"
BUSY_CONFIG = "busy.yaml"
POLL = "2s"  # of the busy: it then rests ten times as long as a listing takes
PATIENCE = 120.0  # seconds until the product knows all VMs
PROCESSORS = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Result:
    """A turn of one of the two; seconds."""

    rate: float
    cpu: float
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Served:
    """A server under load: its connections, its folder in /proc, and what it is asked."""

    pool: Pool
    process: Path
    requests: Iterator[bytes]

    def turn(self, seconds: float, rate: float = 0.0) -> Result:
        """What it did in so many seconds of load; without a rate of full load."""
        cpu, began = cpu_seconds(self.process), time.perf_counter()
        took = sorted(self.pool.drive(self.requests, seconds, rate))
        lasted = time.perf_counter() - began
        return Result(
            rate=len(took) / lasted,
            cpu=(cpu_seconds(self.process) - cpu) / len(took),
            p50=took[len(took) // 2],
            p99=took[len(took) * 99 // 100],
            worst=took[-1],
        )


# ---- the two -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """What both have in common."""

    folder: Path
    kubeconfig: Path
    ids: Sequence[str]
    token: str
    connections: int

    def request(self, path: str, *headers: str) -> bytes:
        """A GET with the token."""
        lines = f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {self.token}"
        return "\r\n".join((*lines, *headers, "", "")).encode()

    def lookup(self, instance_id: str) -> bytes:
        """The request for one VM."""
        return self.request(f"/v1/instances/{instance_id}")

    @contextlib.contextmanager
    def product(self, *command: str | Path, config: str = CONFIG) -> Iterator[Served]:
        """The product, once it knows all VMs; SystemExit with its log when it does not serve."""
        files = ("--config", self.folder / config, "--kubeconfig", self.kubeconfig)
        log = self.folder / "product.log"
        try:
            with (
                log.open("wb") as output,
                running(*command, "run", *files, stdout=output, stderr=output) as process,
            ):
                address = self._address(port_in(log, process))
                self._wait_until_listed(address)
                with self._served(process, address) as served:
                    yield served
        except (Broken, OSError) as error:
            sys.exit(f"product: {error}\n{log.read_text()[-2000:]}")

    @contextlib.contextmanager
    def bare_server(self, product: Served) -> Iterator[Served]:
        """The bare handler, which says what the product says."""
        texts = {one: product.pool.ask(self.lookup(one))[2].decode() for one in self.ids}
        files = {name: str(self.folder / name) for name in ("certificate", "key")}
        with running(
            sys.executable, BARE_SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin  # noqa: S101 - for mypy
            assert process.stdout  # noqa: S101 - for mypy
            process.stdin.write(json.dumps({**files, "texts": texts}).encode() + b"\n")
            process.stdin.flush()
            address = self._address(int(process.stdout.readline()))
            with self._served(process, address) as served:
                yield served

    def _address(self, port: int) -> Address:
        return Address(HOST, port, ssl.create_default_context(cafile=self.folder / "ca"))

    @contextlib.contextmanager
    def _served(self, process: subprocess.Popen[bytes], address: Address) -> Iterator[Served]:
        requests = itertools.cycle([*map(self.lookup, self.ids)])
        folder = Path(f"/proc/{process.pid}")
        for thread in (folder / "task").iterdir():
            os.sched_setaffinity(int(thread.name), PROCESSORS[:1])
        with Pool(address, self.connections) as pool:
            yield Served(pool, folder, requests)

    def _wait_until_listed(self, address: Address) -> None:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                with Pool(address, 1) as pool:
                    for one in (self.ids[0], self.ids[-1]):
                        pool.ask(self.lookup(one))
            except Broken:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.5)
            else:
                return


@contextlib.contextmanager
def running(*command: str | Path, **files: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process; asked to end, and waited for, at the end of the block."""
    with subprocess.Popen(command, **files) as process:  # noqa: S603 - our own programs
        try:
            yield process
        finally:
            process.terminate()


def port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that the product says it serves."""
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if '"started"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.1)
    raise Broken("it has ended")


# ---- the stage ---------------------------------------------------------------------------------


def leave_a_processor() -> None:
    """Have this process, and what it starts, use all but the one that is the servers' own."""
    os.sched_setaffinity(0, PROCESSORS[1:] or PROCESSORS)


def configure(folder: Path, url: str) -> None:
    """Write a certificate, and the product's configuration, also one that lists all the time."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(folder / "ca")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate")
    issued.private_key_pem.write_to_path(folder / "key")
    (folder / "password").write_text(PASSWORD)
    engine = {"url": url, "username": USER, "password_file": str(folder / "password")}
    server = {name: str(folder / name.removesuffix("_file")) for name in SERVER_FILES}
    config = {
        "engines": [engine],
        "server": {"bind": f"{HOST}:0", **server},
        "registration": {"mode": "adopt"},
        "logging": {"format": "json"},
    }
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / BUSY_CONFIG).write_text(json.dumps(config | {"intervals": {"poll": POLL}}))


def reader(cluster: ControlPlane) -> str:
    """The token of a service account that may read all that is served, and nothing else."""
    cluster.kubectl("create", "serviceaccount", ACCOUNT)
    rules = [{"nonResourceURLs": ["/v1/*", "/metrics"], "verbs": ["get"]}]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ACCOUNT},
        "rules": rules,
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        ACCOUNT,
        f"--clusterrole={ACCOUNT}",
        f"--serviceaccount=default:{ACCOUNT}",
    )
    return cluster.kubectl("create", "token", ACCOUNT, "--duration=1h").strip()
