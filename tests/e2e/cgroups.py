"""A control group a node, in both versions of the kernel's interface."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_UNIFIED = ("cpu", "cpuset", "io", "memory", "pids")
_ENDED_WITHIN = 20.0  # seconds


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
    """Remove every group whose name starts so, with all below it.

    Their processes have been told to end and get some seconds for it.
    """
    end = time.monotonic() + _ENDED_WITHIN
    while _remove_once(prefix) and time.monotonic() < end:
        time.sleep(0.1)


def _remove_once(prefix: str) -> bool:
    """Whether any is left."""
    roots = [_MOUNT] if is_unified() else [path for path in _MOUNT.iterdir() if path.is_dir()]
    groups = [group for root in roots for group in root.glob(f"{prefix}*")]
    for group in groups:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    return any(group.exists() for group in groups)


def _enable(path: Path) -> None:
    for controller in _UNIFIED:
        with contextlib.suppress(OSError):
            (path / "cgroup.subtree_control").write_text(f"+{controller}")
