"""What this machine must have for real nodes, and how to get it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CNI = Path("/usr/lib/cni"), Path("/opt/cni/bin")
"""Where distributions put the plugins of the pod network."""

_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
_PLUGINS = ("bridge", "host-local", "loopback")


def missing() -> str | None:
    """One sentence that says what is missing and how to get it; None when all is there."""
    if os.geteuid() != 0:
        return "Real nodes need root (namespaces, mounts, cgroups): run it as root, in a VM."
    packages = {name for program, name in _PACKAGES.items() if not shutil.which(program)}
    if cni() is None:
        packages.add("containernetworking-plugins")
    if not (shutil.which("podman") or shutil.which("docker")):
        packages.add("podman")
    if not packages:
        return None
    names = " ".join(sorted(packages))
    return f"Missing: {names}; on Debian: apt-get install --no-install-recommends {names}"


def cni() -> Path | None:
    """The folder that has the plugins that nodes need; None when there is none."""
    found = (path for path in CNI if all((path / name).exists() for name in _PLUGINS))
    return next(found, None)
