"""A port that is served, for tests: of plain HTTP unless it is protected."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, TCPConnector

from provider.config import Logging, Server
from provider.kube.access import load_access
from provider.kube.reviews import Reviews
from provider.metrics import Metrics
from provider.web.access_log import AccessLog
from provider.web.certificates import ServingCertificate
from provider.web.guard import Guard
from provider.web.server import Protection, WebServer
from tests.kube_client.conftest import KUBECONFIG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from aiohttp import web

    from provider.web.health import Check


def server_of(
    *readiness: Check,
    liveness: tuple[Check, ...] = (),
    metrics: Metrics | None = None,
    refresh: Callable[[], None] = lambda: None,
    routes: Iterable[web.RouteDef] = (),
    protection: Protection | None = None,
    logging: Logging | None = None,
    **settings: Any,
) -> WebServer:
    """Not open yet."""
    server = Server.model_validate({"bind": "127.0.0.1:0"} | settings)
    return WebServer(
        server,
        metrics or Metrics(),
        readiness,
        liveness,
        refresh,
        routes,
        protection,
        AccessLog(logging or Logging()),
    )


@asynccontextmanager
async def served(
    *readiness: Check, **facts: Any
) -> AsyncIterator[tuple[ClientSession, WebServer]]:
    """The open port and a client of it."""
    server = server_of(*readiness, **facts)
    is_protected = facts.get("protection") is not None
    connector = TCPConnector(ssl=trusting() if is_protected else True)
    async with server:
        base = f"{'https' if is_protected else 'http'}://127.0.0.1:{server.port}"
        async with ClientSession(base, connector=connector) as client:
            yield client, server


@asynccontextmanager
async def protection(
    folder: Path, metrics: Metrics, api_url: str = "http://127.0.0.1:1", **settings: Any
) -> AsyncIterator[Protection]:
    """What makes a port safe: a certificate, and a guard that asks the API server at the URL."""
    kubeconfig = folder / "kubeconfig"
    await asyncio.to_thread(kubeconfig.write_text, KUBECONFIG.format(url=api_url))
    async with Reviews(await load_access(kubeconfig), metrics) as reviews:
        certificate = ServingCertificate(Server.model_validate(settings), metrics)
        yield Protection(certificate, Guard(reviews, metrics))


def trusting(pem: bytes | None = None) -> ssl.SSLContext:
    """A client's context that trusts this certificate only, or any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if pem:
        context.load_verify_locations(cadata=pem.decode())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on a connection of its own: status and the server's certificate (DER)."""

    status: int
    certificate: bytes


async def ask(port: int, context: ssl.SSLContext | None = None, path: str = "/healthz") -> Answer:
    """The answer to one GET on a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        tls = writer.get_extra_info("ssl_object")
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        return Answer(int(head.split()[1]), tls.getpeercert(binary_form=True) if tls else b"")
    finally:
        writer.transport.abort()
