"""Probes and metrics over HTTP."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from provider.errors import ProviderError
from provider.metrics import Metrics
from provider.web.health import Check
from tests.kube_client.wire import Request, serving
from tests.kube_client.wire import reply as reply_with
from tests.web.served import ask, protection, served, server_of, trusting


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


async def test_plain_http_is_refused_where_other_machines_could_reach_it() -> None:
    with pytest.raises(
        ProviderError, match=r"every machine could read it\. Leave --insecure-http"
    ):
        await server_of(bind="[::]:0").__aenter__()


async def test_a_port_of_every_address_serves_both_families(tmp_path: Path) -> None:
    async with (
        protection(tmp_path, Metrics()) as safe,
        server_of(bind="[::]:0", protection=safe) as server,
    ):
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, server.port, ssl=trusting())
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.transport.abort()


async def test_without_ipv6_it_serves_the_other_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with (
        protection(tmp_path, Metrics()) as safe,
        server_of(bind="[::]:0", protection=safe) as server,
    ):
        assert (await ask(server.port, trusting())).status == 200


async def test_answers_say_how_they_may_be_used() -> None:
    async with served() as (client, _), client.get("/healthz") as reply:
        headers = reply.headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Server"] == "ovirt-ccm"


async def test_what_a_handler_says_of_its_answer_counts() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "private, no-cache"})

    routes = [web.get("/v1/zones", handler)]
    async with served(routes=routes) as (client, _), client.get("/v1/zones") as reply:
        assert reply.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", ["/metrics", "/v1/nodes/w1", "/no/such/path"])
async def test_all_but_the_probes_is_guarded(path: str, tmp_path: Path) -> None:
    async def handler(_request: web.Request) -> web.Response:
        raise AssertionError

    routes = [web.get("/v1/nodes/{name}", handler)]
    async with (
        protection(tmp_path, Metrics()) as safe,
        served(protection=safe, routes=routes) as (client, _),
    ):
        async with client.get(path) as reply:
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        for probe in ("/healthz", "/livez", "/readyz"):
            async with client.get(probe) as reply:
                assert reply.status == 200


async def test_the_right_to_a_key_is_asked_for_all_keys_at_once(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.match_info["key"])

    asked: list[str] = []

    def review(request: Request) -> list[Any]:
        spec = json.loads(request.body)["spec"]
        said: dict[str, Any] = {"authenticated": True, "user": {"username": "alice"}}
        if "nonResourceAttributes" in spec:
            asked.append(spec["nonResourceAttributes"]["path"])
            said = {"allowed": True}
        return reply_with(201, {"status": said})

    routes = [web.get("/v1/instances/{key}", handler), web.get("/v1/zones", handler)]
    metrics = Metrics()
    async with (
        serving(review) as api,
        protection(tmp_path, metrics, api.url) as safe,
        served(protection=safe, routes=routes, metrics=metrics) as (client, _),
    ):
        for key in ("a", "b", "c%2Fd"):
            headers = {"Authorization": "Bearer t"}
            async with client.get(f"/v1/instances/{key}", headers=headers) as reply:
                assert reply.status == 200

    assert asked == ["/v1/instances/*"]
    labels = {"route": "/v1/instances/{key}", "code": "200"}
    assert metrics.registry.get_sample_value("ovirt_ccm_http_requests_total", labels) == 3


async def test_a_stream_ends_with_the_server() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await asyncio.sleep(3600)
        raise AssertionError

    began = asyncio.get_running_loop().time()
    async with served(routes=[web.get("/v1/changes", stream)]) as (client, _):
        reply = await client.get("/v1/changes")
        assert await reply.content.readline() == b"data: 1\n"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"

    assert asyncio.get_running_loop().time() - began < 2
    reply.close()
