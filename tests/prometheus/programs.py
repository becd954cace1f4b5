"""Prometheus and promtool: those on PATH, else Debian's, unpacked once a machine.

`python -m tests.prometheus.programs` fetches them and prints their places; nothing is installed
and no service starts. Tests only look (`find`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.programs import ProgramsError, cache, main

PROGRAMS = ("prometheus", "promtool")

_BINARIES = Path("usr/bin")  # inside the package


def find() -> dict[str, Path]:
    """Where each program is. ProgramsError when one is missing."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(_folder() / _BINARIES)))
    found = {name: shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        remedy = "Fetch them (Debian): make prometheus-programs. Or install Prometheus on PATH."
        raise ProgramsError(f"{' and '.join(missing)} cannot be found. {remedy}")
    return {name: Path(place) for name, place in found.items() if place}


def fetch() -> dict[str, Path]:
    """Where each program is, once those that were missing have been fetched."""
    with contextlib.suppress(ProgramsError):
        return find()
    folder = _folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        _download(Path(work))
        package = next(Path(work).glob("*.deb"))
        unpacked = Path(work) / "unpacked"
        _run("dpkg-deb", "--extract", str(package), str(unpacked))
        # A folder gets its name only when it is complete; another may have been quicker.
        with contextlib.suppress(OSError):
            unpacked.replace(folder)
    return find()


def _folder() -> Path:
    return cache() / "prometheus"


def _download(folder: Path) -> None:
    """Have Debian's package in the folder; a new machine may know no packages yet."""
    command = ("apt-get", "-qq", "download", "prometheus")
    try:
        _run(*command, cwd=folder)
    except ProgramsError:
        as_root = () if os.getuid() == 0 else ("sudo", "-n")
        _run(*as_root, "apt-get", "-qq", "update")
        _run(*command, cwd=folder)


def _run(*command: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProgramsError(
            f"Prometheus cannot be had from Debian: {error}. Install it on PATH."
        ) from None
    if done.returncode:
        raise ProgramsError(
            f"Prometheus cannot be had from Debian:\n{done.stderr.strip()}\nInstall it on PATH."
        )


if __name__ == "__main__":
    sys.exit(main("prometheus-programs", fetch))
