"""A port that is served, for tests: of plain HTTP unless it is protected."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession

from provider.config import Logging, Server
from provider.metrics import Metrics
from provider.web.access_log import AccessLog
from provider.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiohttp import web

    from provider.web.health import Check
    from provider.web.server import Protection


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
    async with server, ClientSession(f"http://127.0.0.1:{server.port}") as client:
        yield client, server
