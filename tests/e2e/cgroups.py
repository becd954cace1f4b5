"""A control group a node, in both versions of the kernel's interface."""

from __future__ import annotations

import contextlib
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_UNIFIED = ("cpu", "cpuset", "io", "memory", "pids")


def is_unified() -> bool:
    """Whether this machine has version 2 alone."""
    return (_MOUNT / "cgroup.controllers").exists()


def create(name: str) -> None:
    """A group of this name for a kubelet to put its pods under."""
    if is_unified():
        _enable(_MOUNT)
        (_MOUNT / name).mkdir(exist_ok=True)
        _enable(_MOUNT / name)
        return
    for controller in _NEEDED:
        if (_MOUNT / controller).is_dir():
            (_MOUNT / controller / name).mkdir(exist_ok=True)
    # A new group of this controller has nothing, and takes no process until it has.
    for file in ("cpuset.cpus", "cpuset.mems"):
        value = (_MOUNT / "cpuset" / file).read_text()
        (_MOUNT / "cpuset" / name / file).write_text(value)


def remove(prefix: str) -> None:
    """Remove every group whose name starts so, with all below it; their processes have ended."""
    roots = [_MOUNT] if is_unified() else [path for path in _MOUNT.iterdir() if path.is_dir()]
    for root in roots:
        for group in root.glob(f"{prefix}*"):
            for path in sorted(group.rglob("*"), reverse=True):
                if path.is_dir():
                    _remove(path)
            _remove(group)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def _enable(path: Path) -> None:
    for controller in _UNIFIED:
        with contextlib.suppress(OSError):
            (path / "cgroup.subtree_control").write_text(f"+{controller}")
