"""Passwords and CA files that are renewed, and two replicas that are refused, on one engine."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trustme
from structlog.testing import capture_logs

from provider.config import Intervals
from provider.errors import EngineUntrusted, LoginRefused
from provider.ovirt.events import EventFeed
from provider.ovirt.rotation import PasswordWatch
from provider.ovirt.transport import Trust
from tests.controllers.lab import until
from tests.ovirt.lab import PASSWORD, running, vm
from tests.ovirt.test_client import Secured, ask

if TYPE_CHECKING:
    from pathlib import Path

    from provider.ovirt.inventory import Inventory
    from tests.ovirt.lab import Lab

HOURS = 3600
KEPT = "a changed file cannot be used; what it held before stays"


async def replica(lab: Lab, stack: AsyncExitStack, *, is_leader: bool) -> Inventory:
    """All that asks the engine in a replica, at work."""
    client = await stack.enter_async_context(lab.client())
    inventory = lab.inventory(client)
    if not is_leader:
        inventory.stand_by()
    feed = EventFeed(client, inventory, Intervals(), lab.metrics)
    for part in (inventory, feed, PasswordWatch(client, inventory)):
        task = asyncio.create_task(part.run())
        stack.push_async_callback(asyncio.gather, task, return_exceptions=True)
        stack.callback(task.cancel)
    return inventory


# ---- passwords ---------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_two_replicas_with_a_wrong_password_try_it_fewer_than_five_times_in_two_hours(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w")) as lab, AsyncExitStack() as stack:
        lab.password_file.write_text("wrong")
        leader = await replica(lab, stack, is_leader=True)
        standby = await replica(lab, stack, is_leader=False)

        await asyncio.sleep(2 * HOURS)
        assert lab.logins == 4  # the leader at once, after 10 and after 70 minutes
        await asyncio.sleep(3 * HOURS)
        assert lab.logins <= 7
        assert isinstance(leader.last_error, LoginRefused)
        assert isinstance(standby.last_error, LoginRefused)


@pytest.mark.looptime
async def test_a_new_leader_goes_on_with_the_tries_of_the_old_one(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w")) as lab, AsyncExitStack() as stack:
        lab.password_file.write_text("wrong")
        standby = await replica(lab, stack, is_leader=False)
        async with AsyncExitStack() as old:
            await replica(lab, old, is_leader=True)
            await asyncio.sleep(HOURS)
        standby.lead()
        await asyncio.sleep(HOURS)

        assert lab.logins == 4


@pytest.mark.looptime
async def test_a_changed_password_is_tried_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w")) as lab, AsyncExitStack() as stack:
        lab.password_file.write_text("wrong")
        inventory = await replica(lab, stack, is_leader=True)
        await asyncio.sleep(HOURS)
        began = asyncio.get_running_loop().time()

        lab.password_file.write_text(PASSWORD)
        await until(lambda: inventory.snapshot)

        assert asyncio.get_running_loop().time() - began < 6


@pytest.mark.looptime
async def test_a_password_file_that_appears_is_read_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w")) as lab, AsyncExitStack() as stack:
        lab.password_file.unlink()
        inventory = await replica(lab, stack, is_leader=True)
        await asyncio.sleep(HOURS)
        assert lab.logins == 0
        began = asyncio.get_running_loop().time()

        lab.password_file.write_text(PASSWORD)
        await until(lambda: inventory.snapshot)

        assert asyncio.get_running_loop().time() - began < 6


@pytest.mark.looptime
async def test_a_password_that_is_changed_on_both_sides_is_used_for_the_next_log_in(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w")) as lab, lab.client() as client:
        await ask(client)
        lab.world.user("reader@internal").password = "new"
        lab.password_file.write_text("new")
        await ask(client)
        assert lab.logins == 1

        lab.simulator.accounts.forget_everybody()

        assert (await ask(client)).status == 200
        assert lab.logins == 2


@pytest.mark.looptime
@pytest.mark.parametrize("content", ["", "\n", None])
async def test_a_password_file_that_cannot_be_used_leaves_the_password_before(
    tmp_path: Path, content: str | None
) -> None:
    async with running(tmp_path, vm("w")) as lab, lab.client() as client:
        await ask(client)
        file = lab.password_file
        file.unlink() if content is None else file.write_text(content)
        _, reload = client.reloads
        lab.simulator.accounts.forget_everybody()

        assert (await ask(client)).status == 200
        assert lab.logins == 2
        assert str(file) in reload.problem

        file.write_text(PASSWORD)
        lab.simulator.accounts.forget_everybody()
        await ask(client)
        assert reload.problem == ""


# ---- CA files ----------------------------------------------------------------------------------


async def test_a_new_ca_is_trusted_on_new_connections(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    async with lab.client(ca_file=secured.ca_file) as client:
        await ask(client)
        new = trustme.CA()
        new.issue_cert("127.0.0.1").configure_cert(secured.context)
        new.cert_pem.write_to_path(str(secured.ca_file))

        assert (await ask(client)).status == 200
        secured.authority.issue_cert("127.0.0.1").configure_cert(secured.context)
    async with lab.client(ca_file=secured.ca_file) as client:
        with pytest.raises(EngineUntrusted):
            await ask(client)
    await secured.simulator.stop()


@pytest.mark.parametrize("content", ["", "no certificate", None])
async def test_a_ca_file_that_cannot_be_used_leaves_the_one_before(
    tmp_path: Path, content: str | None
) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    file = secured.ca_file
    async with lab.client(ca_file=file) as client:
        await ask(client)
        good = file.read_text()
        with capture_logs() as logs:
            file.unlink() if content is None else file.write_text(content)
            await ask(client)
            assert (await ask(client)).status == 200
        reload, _ = client.reloads
        assert "ca.pem cannot be used" in reload.problem

        file.write_text(good)
        await ask(client)
        assert reload.problem == ""
    await secured.simulator.stop()

    assert [(one["event"], one["engine"]) for one in logs] == [(KEPT, "east")]


async def test_an_engine_without_tls_needs_no_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as lab:
        monkeypatch.setattr(ssl, "create_default_context", None)
        assert Trust(lab.engine).context() is False
