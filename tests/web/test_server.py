"""Probes and metrics over HTTP."""

import pytest

from provider.errors import ProviderError
from provider.metrics import Metrics
from provider.web.health import Check
from tests.web.served import served, server_of


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
async def test_a_living_process_says_so_though_it_is_not_ready(path: str) -> None:
    unready = Check("engine east", lambda: "not asked yet")
    async with served(unready) as (client, _), client.get(path) as reply:
        assert (reply.status, await reply.text()) == (200, "ok\n")


async def test_liveness_says_what_has_failed() -> None:
    late = Check("leaderElection", lambda: "the lease ended 21 s ago")
    async with served(liveness=(late,)) as (client, _), client.get("/livez") as reply:
        assert reply.status == 503
        assert await reply.text() == "[-]leaderElection: the lease ended 21 s ago\nnot alive\n"


async def test_readiness_says_what_is_missing() -> None:
    checks = (Check("informer", lambda: None), Check("engine east", lambda: "not asked yet"))
    async with served(*checks) as (client, _), client.get("/readyz") as reply:
        assert reply.status == 503
        assert await reply.text() == "[+]informer ok\n[-]engine east: not asked yet\nnot ready\n"


async def test_it_is_ready_when_nothing_is_missing() -> None:
    ready = Check("informer", lambda: None)
    async with served(ready) as (client, _), client.get("/readyz") as reply:
        assert (reply.status, await reply.text()) == (200, "[+]informer ok\nok\n")


async def test_metrics_are_refreshed_before_they_are_rendered() -> None:
    metrics = Metrics()
    aged = served(metrics=metrics, refresh=lambda: metrics.queue_depth.set(7))
    async with aged as (client, _), client.get("/metrics") as reply:
        text = await reply.text()

    assert reply.content_type == "text/plain"
    assert "ovirt_ccm_queue_depth 7.0" in text
    assert "ovirt_ccm_build_info{" in text


async def test_other_paths_and_methods_are_refused() -> None:
    async with served() as (client, _):
        async with client.get("/") as reply:
            assert reply.status == 404
        async with client.post("/metrics") as reply:
            assert reply.status == 405


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with served() as (_, first):
        second = server_of(bind=f"127.0.0.1:{first.port}")
        with pytest.raises(
            ProviderError, match=r"on 127\.0\.0\.1:\d+: Address already in use\. Set server\.bind"
        ):
            await second.__aenter__()
