"""`demo` and `simulate`, as their user runs them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import SCRIPT, ended, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import MakeLab


def test_the_demo_tells_what_happens_line_by_line_when_piped() -> None:
    result = subprocess.run(
        [SCRIPT, "demo", "--seconds", "8"], capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"engine +VM worker-0 was started", result.stdout)
    assert re.search(r"controller +node initialised: node gpu-0", result.stdout)
    assert "\x1b" not in result.stdout
    assert result.stdout.endswith("The demo has ended; nothing of it is left.\n")


def test_the_demo_shows_a_table_on_a_terminal_and_ends_with_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "150", "LINES": "45"}
    demo = subprocess.Popen(
        [SCRIPT, "demo"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        picture = read_until(ours, b"initialised")
        assert b"worker-0" in picture
        demo.send_signal(signal.SIGINT)
        rest = read_until(ours, b"nothing of it is left")
        assert b"Traceback" not in rest
        assert demo.wait(20) == 0
    finally:
        demo.kill()
        demo.wait()
        os.close(ours)


def test_on_a_small_terminal_all_hosts_and_what_happens_fit() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    demo = subprocess.Popen(
        [SCRIPT, "demo"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        picture = read_until(ours, b"VM worker-1 started").decode()
        last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture).rpartition("oVirt engine")[2]

        assert all(f"worker-{n} " in last for n in range(6))
        assert re.search(r"gpu-1 +up +hv-gpu +initialised +\w+ +gpu +10\.8\.0\.41", last)
        assert re.match(r" up .* initialised +Ctrl-C ends it", last)
        assert re.search(r"kubectl --kubeconfig \S+ get nodes", last)
        assert len(last.splitlines()) < 24
    finally:
        demo.send_signal(signal.SIGINT)
        read_until(ours, b"nothing of it is left")
        demo.wait(20)
        os.close(ours)


def read_until(descriptor: int, text: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + 40
    while text not in seen:
        assert time.monotonic() < end, seen[-2000:]
        seen += os.read(descriptor, 65536)
    return seen


async def test_the_demo_takes_its_nodes_from_a_real_cluster_when_it_ends(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab()
    demo = await lab.start("demo")
    await until(lambda: "gpu-0" in lab.cluster.nodes)

    demo.send_signal(signal.SIGINT)
    result = await ended(demo)

    assert (result.status, result.err) == (0, "")
    assert "node registered: node gpu-0" in result.out
    assert list(lab.cluster.nodes) == []


async def test_the_demo_keeps_off_nodes_of_a_real_cluster_that_have_its_names(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab()
    lab.cluster.kubelet("worker-0", system_uuid="5a1d0000-0000-4000-8000-000000000001")

    result = await ended(await lab.start("demo"))

    assert result.status == 1
    assert "called like VMs of the demo: worker-0. Take a cluster without them" in result.err


def test_simulate_says_how_to_use_it_and_ends_with_sigterm(tmp_path: Path) -> None:
    simulation = subprocess.Popen(
        [SCRIPT, "simulate", "--directory", tmp_path / "lab"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert simulation.stdout is not None
        said = ""
        while "Ctrl-C ends it." not in said:
            said += simulation.stdout.readline()
        options = f"--config {tmp_path}/lab/config.yaml --kubeconfig {tmp_path}/lab/kubeconfig"
        assert f"ovirt-ccm check {options}" in said
        checked = subprocess.run(
            [SCRIPT, "check", *options.split()], capture_output=True, text=True, check=False
        )
        assert "gpu-0" in checked.stdout
    finally:
        simulation.terminate()
        assert simulation.wait(20) == 0
        simulation.stdout.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("vms: [{name: x}]", "vms"), ("a: [", "a: [")],
)
def test_a_wrong_scenario_is_one_clear_error(
    content: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "world.yaml"
    if content:
        path.write_text(content, "utf-8")

    result = subprocess.run(
        [SCRIPT, "simulate", "--scenario", path], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {path}")
    assert "Traceback" not in result.stderr
