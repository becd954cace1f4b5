"""The command line as such: usage, exit statuses, streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from provider.cli import COMMANDS, main
from provider.commands import options
from provider.config import DEFAULT_PATH
from tests.commands.conftest import SCRIPT, ended, make_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import MakeLab

__all__ = ["make_lab"]  # a fixture of the commands, used here too


def run(*command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_help_names_every_command() -> None:
    end = run(SCRIPT, "--help")

    assert end.returncode == 0
    assert all(f"  {name} " in end.stdout for name in COMMANDS)


def test_the_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from provider.cli import main; main(['--help']);"
        "print(sorted({'aiohttp', 'kubernetes', 'pydantic', 'rich'} & sys.modules.keys()))"
    )

    end = run(sys.executable, "-c", code)

    assert end.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: ovirt-ccm {command}" in capsys.readouterr().out


def test_the_module_is_the_script() -> None:
    script = run(SCRIPT, "--version")
    module = run(sys.executable, "-m", "provider", "--version")

    assert script.stdout == module.stdout
    assert script.stdout.startswith("ovirt-ccm ")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fly"],
        ["check", "--output", "xml"],
        ["tag"],
        ["--nonsense", "check"],
        ["simulate", "--engine-port", "65536"],
    ],
)
def test_wrong_usage_is_2_and_said_on_standard_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(argv)

    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert "\nerror: " in said.err


def test_a_missing_configuration_names_the_option() -> None:
    end = run(SCRIPT, "instances", "--config", "/nonexistent/config.yaml")

    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith("error: /nonexistent/config.yaml")
    assert "--config FILE" in end.stderr
    assert "Traceback" not in end.stderr


def test_common_options_may_stand_before_the_command() -> None:
    end = run(SCRIPT, "--config", "/nonexistent/config.yaml", "instances")

    assert end.stderr.startswith("error: /nonexistent/config.yaml")


def test_the_default_configuration_is_the_documented_one() -> None:
    assert options.DEFAULT_CONFIG == DEFAULT_PATH


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    end = run("sh", "-c", f"{SCRIPT} config schema | head -n 1")

    assert (end.stdout, end.stderr) == ("{\n", "")


def test_a_reader_that_has_gone_is_no_wrong_usage() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)

    with os.fdopen(ours, "wb") as closed:
        end = subprocess.run(
            [SCRIPT, "config", "schema"], stdout=closed, stderr=subprocess.PIPE, check=False
        )

    assert (end.returncode, end.stderr) == (1, b"")


async def test_ctrl_c_ends_a_command_quietly_with_130(make_lab: MakeLab) -> None:
    is_asked = asyncio.Event()

    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        with contextlib.closing(writer):
            await asyncio.sleep(60)

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        lab = await make_lab()
        lab.configure(engine={"url": f"http://127.0.0.1:{port}/ovirt-engine"})
        process = await lab.start("instances")
        await is_asked.wait()

        process.send_signal(signal.SIGINT)
        end = await ended(process)

    assert (end.status, end.out, end.err) == (130, "", "")


def test_colours_stay_away_from_a_file() -> None:
    environment = os.environ | {"TERM": "xterm-256color"}
    end = subprocess.run(
        [SCRIPT, "config", "schema"], env=environment, capture_output=True, check=True
    )

    assert b"\x1b" not in end.stdout
