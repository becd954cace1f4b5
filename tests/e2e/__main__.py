"""`python -m tests.e2e`: prepare, tell the story in namespaces of its own, clean up.

Exit status 0 when all was as it must be, 1 when not, 2 when the machine lacks something, 130
after Ctrl-C. The logs of the last run stay in build/e2e.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import cgroups, image, kubelet, machine
from tests.e2e.report import StoryError, note, step, title
from tests.kube import assets

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROJECT = Path(__file__).parents[2]
_LOGS = _PROJECT / "build" / "e2e"
# Its first process takes everything along: containers, kubelets, the control plane, networks.
_APART = "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"


def main() -> int:
    """The exit status."""
    if reason := machine.missing():
        sys.stderr.write(f"e2e: {reason}\n")
        return 2
    start = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _folder() as folder:
            status = _run(folder)
    except (StoryError, assets.AssetsError) as error:
        sys.stderr.write(f"e2e: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("e2e: interrupted; everything that it made is gone\n")
        return 130
    seconds = time.monotonic() - start
    title(f"{'All as it must be' if status == 0 else 'FAILED'}, {seconds:.0f} s; logs: {_LOGS}")
    return status


def _run(folder: Path) -> int:
    title("Prepare")
    with step("the control plane's programs"):
        programs = assets.build()
    with step("the kubelet"):
        program = kubelet.build()
    archive = folder / "images.tar"
    with step("the image, built as `make image` does"):
        image.build(archive)
    note(f"{archive.stat().st_size / 1e6:.0f} MB")
    shutil.rmtree(_LOGS, ignore_errors=True)
    _LOGS.mkdir(parents=True)
    arguments = [programs, program, archive, folder, _LOGS, _PROJECT, folder.name]
    command = [*_APART, sys.executable, "-m", "tests.e2e.apart", *map(str, arguments)]
    # Whatever it leaves behind is in our folder; it ends with its standard input, and so with us.
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, cwd=_PROJECT, env=environment, stdin=subprocess.PIPE)
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of this run, on a disk: containerd lays file systems over one another there.

    With it go the control groups, and those of a run that was killed.
    """
    parent = Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - mkdtemp names it
    folder = Path(tempfile.mkdtemp(prefix=f"ovirt-ccm-e2e-{os.getpid()}-", dir=parent))
    try:
        _sweep(parent, folder)
        yield folder
    finally:
        cgroups.remove(folder.name)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, ours: Path) -> None:
    for folder in parent.glob("ovirt-ccm-e2e-*"):
        pid = folder.name.split("-")[3]
        if folder != ours and not Path(f"/proc/{pid}").exists():
            cgroups.remove(folder.name)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
