"""The product's image and the one that holds a pod's namespaces, as one archive."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.e2e.report import StoryError

PRODUCT = "localhost/ovirt-ccm:latest"
PAUSE = "localhost/ovirt-ccm-pause:latest"
"""Sleeps. Made of the product's own layers: a node needs nothing that it has not got."""

_ROOT = Path(__file__).parents[2]
_PAUSE = f'FROM {PRODUCT}\nENTRYPOINT ["sleep", "infinity"]\nCMD []\n'


def build(archive: Path) -> None:
    """Build both, by `make image` and as it is configured, and save them there."""
    engine = os.environ.get("ENGINE") or shutil.which("podman") or shutil.which("docker") or ""
    _run([str(_ROOT / ".ci" / "image")], _environment())
    _run([engine, "build", "--quiet", "--tag", PAUSE, "-"], _environment(), _PAUSE)
    several = ["--multi-image-archive"] if Path(engine).name == "podman" else []
    _run([engine, "save", *several, "--output", str(archive), PRODUCT, PAUSE], _environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "IMAGE": PRODUCT.partition(":")[0]}


def _run(command: list[str], environment: dict[str, str], text: str = "") -> None:
    done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True)
    if done.returncode:
        raise StoryError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
