"""A machine with containerd and a kubelet, made of namespaces; it can lose its power."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e import cgroups
from tests.e2e.image import PAUSE
from tests.e2e.machine import cni
from tests.e2e.report import StoryError
from tests.e2e.shell import ip

if TYPE_CHECKING:
    from collections.abc import Mapping

BRIDGE = "nodes"
"""The network that all nodes are on, with this address of the control plane's side."""
GATEWAY = "10.99.0.1"

_INIT = Path(__file__).with_name("node.sh")
_UNSHARE = (
    "unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip
_BOOT_WITHIN = 20.0  # seconds until the first process has its namespaces


@dataclass(frozen=True)
class Machine:
    """What a node is made of: name, address, the VM's id as system UUID, folders, programs."""

    name: str
    ip: str
    uuid: str
    state: Path
    logs: Path
    kubelet: Path
    images: Path
    cgroup: str


class Node:
    """One node; what it has written stays over power failures."""

    def __init__(self, machine: Machine, bootstrap: Mapping[str, Any], ca_file: Path) -> None:
        self.machine = machine
        self._bootstrap = bootstrap
        self._ca_file = ca_file
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Power on; return when its network is up, long before its kubelet is."""
        machine = self.machine
        await asyncio.to_thread(self._prepare)
        environment = {
            **os.environ,
            "NAME": machine.name,
            "IP": machine.ip,
            "STATE": str(machine.state),
            "LOGS": str(machine.logs),
            "KUBELET": str(machine.kubelet),
            "IMAGES": str(machine.images),
        }
        with (machine.logs / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_UNSHARE, str(_INIT), env=environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        await self._connect(self._process.pid)

    async def power_off(self) -> None:
        """End everything on it at once; nothing when it is off."""
        process, self._process = self._process, None
        if process is None:
            return
        # The first process takes all others of its namespace along; its parent waits for that.
        for pid in await asyncio.to_thread(_children, process.pid) or [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()
        # What a power failure leaves of a real machine: its disk.
        await asyncio.to_thread(cgroups.remove, self.machine.cgroup)

    def give_pod_network(self) -> None:
        """Do what the pod network of a cluster does on a node: configure it."""
        subnet = f"10.250.{self.machine.ip.rpartition('.')[2]}.0/24"
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugin = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": ipam}
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}
        folder = self.machine.state / "cni"
        folder.mkdir(parents=True, exist_ok=True)
        # As the installers of pod networks do, and as containerd watches for: renamed in place.
        new = folder / "new"
        new.write_text(json.dumps(network))
        new.replace(folder / "pods.conflist")

    def _prepare(self) -> None:
        machine = self.machine
        for folder in (machine.state / "cni", machine.logs):
            folder.mkdir(parents=True, exist_ok=True)
        cgroups.create(machine.cgroup)
        (machine.state / "uuid").write_text(f"{machine.uuid}\n")
        (machine.state / "bootstrap.json").write_text(json.dumps(self._bootstrap))
        kubelet = _kubelet(machine.cgroup, self._ca_file)
        (machine.state / "kubelet.json").write_text(json.dumps(kubelet))
        containerd = _CONTAINERD.format(root=machine.state / "containerd", pause=PAUSE, cni=cni())
        (machine.state / "containerd.toml").write_text(containerd)

    async def _connect(self, pid: int) -> None:
        """Put a cable between its network namespace and the bridge."""
        machine = self.machine
        await _has_its_own_network(pid)
        cable = f"v-{machine.name}"
        await ip(f"link add {cable} type veth peer name eth0 netns {pid}")
        await ip(f"link set {cable} master {BRIDGE} up")
        await ip("link set lo up", inside=pid)
        await ip("link set eth0 up", inside=pid)
        await ip(f"addr add {machine.ip}/24 dev eth0", inside=pid)
        await ip(f"route add default via {GATEWAY}", inside=pid)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return []


async def _has_its_own_network(pid: int) -> None:
    ours = os.readlink("/proc/self/ns/net")
    try:
        async with asyncio.timeout(_BOOT_WITHIN):
            while os.readlink(f"/proc/{pid}/ns/net") == ours:  # noqa: ASYNC110 - a kernel's news
                await asyncio.sleep(0.02)
    except (OSError, TimeoutError):
        raise StoryError("a node did not get its namespaces; see node.log") from None


def _kubelet(cgroup: str, ca_file: Path) -> Mapping[str, Any]:
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {
            "x509": {"clientCAFile": str(ca_file)},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # A container may lack the right to raise either.
        "oomScoreAdj": 0,
        "maxOpenFiles": min(most_files, 1_000_000),
        # Heard from every two seconds, so that a dead one is missed after ten.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    }


_CONTAINERD = """\
version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
