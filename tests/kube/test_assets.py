"""Finding and building the control plane's programs; a stand-in plays the Go compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kube.assets import PACKAGES, AssetsError, build, cache_folder, find

_GO = """#!/bin/sh
[ "$1" = env ] && { echo go1.26.9; exit; }
while [ "$1" != -o ]; do shift; done
echo "$3" >>"$GO_CALLS"
[ "$3" != "$GO_FAILS_ON" ] || { echo "cannot find module" >&2; exit 1; }
sleep 0.05
printf '#!/bin/sh\\n' >"$2"; chmod +x "$2"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages that the stand-in was asked to build, a line each."""
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(_GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("GO_FAILS_ON", "")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "calls"


def test_a_named_folder_goes_before_the_cache(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    for name in PACKAGES:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assert find() == tmp_path


def test_a_missing_program_is_named_with_the_remedy(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(AssetsError, match=r"lacks etcd, kube-.*\n.*make kube-assets.*KUBE=off"):
        find()
    with pytest.raises(AssetsError, match="KUBEBUILDER_ASSETS"):
        build()


def test_every_program_is_built_once(calls: Path) -> None:
    folder = build()

    assert find() == build() == folder == cache_folder() / "bin"
    assert calls.read_text().split() == list(PACKAGES.values())


def test_a_build_goes_on_where_it_stopped(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GO_FAILS_ON", PACKAGES["kubectl"])
    with pytest.raises(AssetsError, match=r"(?s)kubectl failed.*cannot find module.*KUBE=off"):
        build()
    calls.unlink()

    monkeypatch.setenv("GO_FAILS_ON", "")
    build()

    assert calls.read_text().split() == [PACKAGES["kubectl"]]


def test_two_builds_at_once_share_the_work(calls: Path) -> None:
    command = [sys.executable, "-m", "tests.kube.assets"]
    builds = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    outcomes = [process.communicate() for process in builds]

    assert [process.returncode for process in builds] == [0, 0]
    assert {folder for folder, _ in outcomes} == {f"{find()}\n"}
    assert calls.read_text().split() == list(PACKAGES.values())
    assert "kubectl (5 of 5): built" in "".join(progress for _, progress in outcomes)
