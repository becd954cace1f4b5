"""The one port: probes for everybody, all else for whom the API server lets read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn, Self

from aiohttp import web
from msgspec import Struct

from provider.errors import ProviderError
from provider.metrics import CONTENT_TYPE
from provider.web.connections import Bounds, Connection, Connections
from provider.web.exchange import Exchange, Protocol
from provider.web.health import Check, report
from provider.web.listeners import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from provider.config import Server
    from provider.metrics import Metrics
    from provider.web.access_log import AccessLog
    from provider.web.certificates import ServingCertificate
    from provider.web.guard import Guard

_PROBES = frozenset({"/healthz", "/livez", "/readyz"})


class Protection(Struct, frozen=True):
    """What a port needs that other machines can reach."""

    certificate: ServingCertificate
    guard: Guard


class WebServer:
    """Serves `/healthz`, `/livez`, `/readyz`, `/metrics` and `routes` while its context is open.

    Probes are for everybody, all else for whoever shows a token that `protection` admits. Without
    protection it is plain HTTP and for everybody, on a loopback address only.

    `readiness` are the checks behind `/readyz`, `liveness` those behind `/livez` and `/healthz`;
    `refresh` is called before each scrape for the series whose values age by themselves. Without
    checks, liveness means that the event loop answers: whatever else fails ends the process or
    mends itself.
    """

    def __init__(
        self,
        settings: Server,
        metrics: Metrics,
        readiness: tuple[Check, ...],
        liveness: tuple[Check, ...],
        refresh: Callable[[], None],
        routes: Iterable[web.RouteDef],
        protection: Protection | None,
        log: AccessLog,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._readiness = readiness
        self._liveness = liveness
        self._refresh = refresh
        self._protection = protection
        guard = protection.guard if protection else None
        application = self._application(Exchange(guard, metrics, log, _PROBES), routes)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2)
        self._listeners: list[socket.socket] = []
        self._connections: Connections
        self._serving: asyncio.Task[None]

    @property
    def port(self) -> int:
        """The port that is served; the one that was given unless that was 0."""
        return int(self._listeners[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Open the port; ProviderError when it, or its certificate, cannot be had."""
        settings, protection = self._settings, self._protection
        if protection is None and not settings.is_loopback:
            raise ProviderError(
                f"cannot serve plain HTTP on {settings.bind}: every machine could read it.",
                remedy="Leave --insecure-http out, or set server.bind to 127.0.0.1:10258.",
            )
        context = protection.certificate.open() if protection else None
        self._listeners = await listen(*settings.address)
        await self._runner.setup()
        bounds = Bounds(settings.connections)
        self._connections = Connections(bounds, self._metrics, context, self._speak)
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        self._connections.end_tasks()
        await self._runner.cleanup()
        await self._connections.close()
        if self._protection:
            await self._protection.guard.close()

    async def run(self) -> NoReturn:
        """Until cancelled; raises what ends the serving, which goes on until the context ends."""
        await asyncio.shield(self._serving)
        raise AssertionError  # it never ends by itself

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for listener in self._listeners:
                tasks.create_task(self._connections.accept(listener))
            tasks.create_task(self._connections.sweep())
            if self._protection:
                tasks.create_task(self._protection.certificate.run())

    def _speak(self, connection: Connection) -> Protocol:
        server = self._runner.server
        assert server  # noqa: S101 - the runner is set up
        return Protocol(server, connection, self._metrics)

    def _application(self, exchange: Exchange, routes: Iterable[web.RouteDef]) -> web.Application:
        application = web.Application(middlewares=(exchange.serve,))
        application.on_response_prepare.append(exchange.prepare)
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/livez", self._alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._scrape)
        application.add_routes(routes)
        return application

    async def _alive(self, _request: web.Request) -> web.Response:
        is_alive, text = report(self._liveness, "not alive")
        return web.Response(text=text, status=200 if is_alive else 503)

    async def _ready(self, _request: web.Request) -> web.Response:
        is_ready, text = report(self._readiness, "not ready")
        return web.Response(text=text, status=200 if is_ready else 503)

    async def _scrape(self, _request: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
