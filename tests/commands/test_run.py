"""`run` as a process: when it ends, and when it does not."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import ended, until
from tests.ovirt.lab import many

if TYPE_CHECKING:
    from tests.commands.conftest import Lab, MakeLab


def is_initialised(lab: Lab, name: str) -> bool:
    return name in lab.cluster.nodes and "providerID" in lab.cluster.nodes.get(name)["spec"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_works_until_a_signal_and_ends_cleanly(
    make_lab: MakeLab, number: signal.Signals
) -> None:
    lab = await make_lab(many(1))
    process = await lab.start("run")
    await until(lambda: is_initialised(lab, "w0"))

    process.send_signal(number)
    end = await ended(process)

    assert (end.status, end.out) == (0, "")
    assert "stopped" in end.err
    assert lab.engine.requests.counts["POST /services/sso-logout"] == 1


async def test_it_stays_up_when_the_engine_refuses_the_password(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.password_file.write_text("wrong", encoding="utf-8")
    lab.engine.faults.refusal_seconds = 0
    process = await lab.start("run")
    await until(lambda: any("events" in one for one in lab.writes()))

    process.send_signal(signal.SIGTERM)
    end = await ended(process)

    assert end.status == 0
    assert "refuses the log-in" in end.err


async def test_a_wrong_file_ends_it_with_2(make_lab: MakeLab) -> None:
    lab = await make_lab()
    lab.configure(limits={"workers": 0})

    end = await ended(await lab.start("run"))

    assert end.status == 2
    assert end.err.startswith("error: ")
    assert "limits.workers" in end.err


async def test_a_kubeconfig_that_cannot_be_used_ends_it_with_1(make_lab: MakeLab) -> None:
    lab = await make_lab()
    lab.kubeconfig.unlink()

    end = await ended(await lab.start("run"))

    assert end.status == 1
    assert end.err.count("\n") == 1
    assert "There is no such file." in end.err


async def test_a_port_in_use_ends_it_with_1(make_lab: MakeLab) -> None:
    lab = await make_lab()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        lab.configure(server={"bind": f"127.0.0.1:{taken.getsockname()[1]}"})

        end = await ended(await lab.start("run"))

    assert end.status == 1
    assert "error: cannot serve on 127.0.0.1:" in end.err
    assert "Traceback" not in end.err


async def test_an_engine_that_is_not_verified_is_warned_of(make_lab: MakeLab) -> None:
    lab = await make_lab()
    lab.configure(engine={"insecure": True})
    process = await lab.start("run")
    await until(lambda: len(lab.cluster.requests) > 0)

    process.send_signal(signal.SIGTERM)
    end = await ended(process)

    assert "anybody on the way can read the password" in end.err


async def test_plain_http_for_other_machines_is_refused(make_lab: MakeLab) -> None:
    lab = await make_lab()
    lab.configure(server={"bind": "0.0.0.0:0"})

    end = await ended(await lab.start("run", "--insecure-http"))

    assert end.status == 1
    assert "error: cannot serve plain HTTP on 0.0.0.0:0" in end.err
    assert "Leave --insecure-http out" in end.err


def test_memory_of_one_listing_serves_the_next() -> None:
    program = """
import resource, zlib
from provider.commands.run import keep_memory

keep_memory()
packed = zlib.compress(bytes(5_000_000))
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pages = [zlib.decompressobj().decompress(packed, 1 << 29) for _ in range(4)]
    assert sum(map(len, pages)) == 20_000_000
    del pages
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, later = map(int, done.stdout.split())

    assert first > 4_000  # pages of 4 KiB
    assert later < 400
