"""The whole program in this process, between simulated engines and a simulated cluster."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trustme
from aiohttp import ClientSession
from structlog.testing import capture_logs

from provider.app import App, _together
from provider.config import Config
from provider.errors import LeaseLost, ProviderError
from provider.kube.access import load_access
from provider.simulator.cluster import Refusal, SimulatedCluster
from tests.controllers.lab import until
from tests.ovirt.lab import running, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.ovirt.lab import Lab as EngineLab

LOGOUT = "POST /services/sso-logout"
UNLISTED = "[-]informer: nodes not listed yet\n"
ALL_OK = "[+]informer ok\n[+]engine east ok\nok\n"


class Running:
    """An app at work, what it works on, and where its port is."""

    def __init__(self, app: App, cluster: SimulatedCluster, engine: EngineLab) -> None:
        self.app = app
        self.cluster = cluster
        self.engine = engine
        self.url = ""

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of its answer."""
        async with ClientSession(self.url) as client, client.get(path) as reply:
            return reply.status, await reply.text()

    async def until_ready(self, text: str) -> None:
        """Return when `/readyz` says this."""
        async with asyncio.timeout(20):
            while (await self.get("/readyz"))[1] != text:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.05)


async def new_app(
    folder: Path,
    engine: EngineLab,
    cluster: SimulatedCluster,
    *,
    insecure_http: bool = True,
    **sections: Any,
) -> App:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig(), encoding="utf-8")
    server = {"server": {"bind": "127.0.0.1:0"}}
    config = Config(engines=(engine.engine,), **(server | sections))
    return App(config, await load_access(kubeconfig), insecure_http=insecure_http)


@asynccontextmanager
async def simulators(folder: Path) -> AsyncIterator[tuple[EngineLab, SimulatedCluster]]:
    """An engine with one VM, and a cluster with one node of it."""
    async with running(folder, vm("w")) as engine, AsyncExitStack() as stack:
        cluster = SimulatedCluster()
        await cluster.start()
        stack.push_async_callback(cluster.stop)
        cluster.kubelet("w", system_uuid=engine.world.vm("w").id)
        yield engine, cluster


@asynccontextmanager
async def working(
    engine: EngineLab, cluster: SimulatedCluster, folder: Path, **sections: Any
) -> AsyncIterator[Running]:
    """The app at work; its shutdown is part of the test."""
    app = await new_app(folder, engine, cluster, **sections)
    with capture_logs() as logs:
        task = asyncio.create_task(app.run())
        await until(lambda: task.done() or any(one["event"] == "started" for one in logs))
    if task.done():
        task.result()
    one = Running(app, cluster, engine)
    port = next(log["port"] for log in logs if log["event"] == "started")
    one.url = f"http://127.0.0.1:{port}"
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_it_initialises_what_is_there_and_serves_its_metrics(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster), working(engine, cluster, tmp_path) as on:
        await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))
        await on.until_ready(ALL_OK)
        status, text = await on.get("/metrics")

    assert status == 200
    assert 'ovirt_ccm_nodes{state="initialised"} 1.0' in text
    assert 'ovirt_ccm_instances{engine="east",status="up",zone="blue"} 1.0' in text
    assert 'ovirt_ccm_engine_up{engine="east"} 1.0' in text


async def test_it_is_ready_when_all_was_asked_once_whatever_the_engine_answered(
    tmp_path: Path,
) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        engine.faults.availability = "down"
        cluster.faults.freeze()
        async with working(engine, cluster, tmp_path) as on:
            await on.until_ready(f"{UNLISTED}[+]engine east ok\nnot ready\n")
            cluster.faults.thaw()
            await on.until_ready(ALL_OK)


async def test_it_is_not_ready_before_an_engine_has_answered(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        engine.faults.availability = "starting"
        async with working(engine, cluster, tmp_path) as on:
            await on.until_ready("[+]informer ok\n[-]engine east: not asked yet\nnot ready\n")
            status, _ = await on.get("/readyz")
            engine.faults.availability = "up"
            await on.until_ready(ALL_OK)

    assert status == 503


async def test_it_logs_out_and_closes_its_port_at_the_end(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        async with working(engine, cluster, tmp_path) as on:
            await on.until_ready(ALL_OK)
            assert engine.counts[LOGOUT] == 0

        assert engine.counts[LOGOUT] == 1
        with pytest.raises(OSError, match="Cannot connect"):
            await on.get("/livez")


async def test_an_api_server_that_refuses_everything_does_not_end_it(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        refusal = cluster.faults.inject(Refusal(403, "Forbidden"), times=None)
        async with working(engine, cluster, tmp_path) as on:
            await until(lambda: len(cluster.requests) >= 2)
            assert (await on.get("/livez"))[0] == 200
            cluster.faults.remove(refusal)
            await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))


@pytest.mark.parametrize("enabled", [True, False], ids=["elected", "alone"])
async def test_it_writes_with_and_without_an_election(tmp_path: Path, *, enabled: bool) -> None:
    election = {"enabled": enabled}
    async with simulators(tmp_path) as (engine, cluster):
        async with working(engine, cluster, tmp_path, leader_election=election) as on:
            await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))
            status = 'leader_election_master_status{name="ovirt-cloud-controller-manager"} 1.0'
            assert status in (await on.get("/metrics"))[1]

        leases = {one.method for one in cluster.requests if "/leases" in one.path}
        assert ("POST" in leases) is enabled


async def test_a_standby_is_ready_and_writes_only_when_the_leader_has_ended(
    tmp_path: Path,
) -> None:
    async with simulators(tmp_path) as (engine, cluster), AsyncExitStack() as leading:
        await leading.enter_async_context(working(engine, cluster, tmp_path))
        await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))
        async with working(engine, cluster, tmp_path) as standby:
            await standby.until_ready(ALL_OK)
            cluster.nodes.delete("w")
            cluster.kubelet("w", system_uuid=engine.world.vm("w").id)
            await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))
            assert "reconciles_total{" not in (await standby.get("/metrics"))[1]

            await leading.aclose()
            cluster.nodes.delete("w")
            cluster.kubelet("w", system_uuid=engine.world.vm("w").id)
            await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))
            assert "reconciles_total{" in (await standby.get("/metrics"))[1]


@pytest.mark.looptime
async def test_a_lost_lease_ends_it_and_it_logs_out(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        app = await new_app(tmp_path, engine, cluster)
        task = asyncio.create_task(app.run())
        await until(lambda: cluster.nodes.get("w")["spec"].get("providerID"))

        cluster.faults.freeze()
        with pytest.raises(LeaseLost):
            async with asyncio.timeout(60):
                await task

        assert engine.counts[LOGOUT] == 1


async def test_a_port_in_use_ends_it_before_anything_is_asked(tmp_path: Path) -> None:
    async with simulators(tmp_path) as (engine, cluster):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            bind = f"127.0.0.1:{taken.getsockname()[1]}"
            app = await new_app(tmp_path, engine, cluster, server={"bind": bind})

            with pytest.raises(ProviderError, match="cannot serve on"):
                await app.run()

        assert len(cluster.requests) == 0
        assert engine.logins == 0


@pytest.mark.looptime
async def test_a_certificate_that_does_not_fit_its_key_is_said_as_event_and_metric(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    files = {"certificate_file": tmp_path / "tls.crt", "key_file": tmp_path / "tls.key"}
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(files["certificate_file"]))
    leaf.private_key_pem.write_to_path(str(files["key_file"]))
    server = {"bind": "127.0.0.1:0", **files}
    async with (
        simulators(tmp_path) as (engine, cluster),
        working(engine, cluster, tmp_path, insecure_http=False, server=server) as on,
    ):
        other = authority.issue_cert("127.0.0.1").cert_chain_pems[0]
        other.write_to_path(str(files["certificate_file"]))
        await until(lambda: messages(cluster, "FileUnusable"))
        labels = {"file": "serving_certificate", "engine": ""}
        failing = on.app.metrics.registry.get_sample_value("ovirt_ccm_reload_failing", labels)

    assert "key values mismatch" in messages(cluster, "FileUnusable")[0]
    assert failing == 1


def messages(cluster: SimulatedCluster, reason: str) -> list[str]:
    return [one["message"] for one in cluster.events() if one["reason"] == reason]


async def test_a_part_that_ends_as_if_cancelled_ends_the_program() -> None:
    async def lost() -> NoReturn:
        raise asyncio.CancelledError

    async def lasting() -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ExceptionGroup) as raised:
        await _together(lost(), lasting())

    assert "has ended by itself" in str(raised.value.exceptions)
