"""The kubelet, built once a machine from its Go module, of the control plane's version."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.e2e.report import StoryError
from tests.kube import assets

_MODULE = Path(__file__).parent / "kubelet"
_PACKAGE = "k8s.io/kubernetes/cmd/kubelet"


def build() -> Path:
    """The program; about a minute the first time. StoryError when it cannot be built."""
    key = hashlib.sha256((_MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    program = assets.cache_folder().parent / f"kubelet-{key}" / "kubelet"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name("kubelet.new")
    done = subprocess.run(
        [assets.go(), "build", *assets.build_flags(), "-o", str(unfinished), _PACKAGE],
        cwd=_MODULE,
        env=assets.environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StoryError(f"the kubelet cannot be built:\n{done.stderr[-2000:]}")
    unfinished.replace(program)
    return program
