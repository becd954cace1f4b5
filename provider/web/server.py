"""The HTTP server: probes and metrics on one port."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from aiohttp import web

from provider.errors import ProviderError
from provider.metrics import CONTENT_TYPE
from provider.web.health import Check, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from provider.config import Server
    from provider.metrics import Metrics


class WebServer:
    """Serves `/healthz`, `/livez`, `/readyz`, `/metrics` and `routes` while its context is open.

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
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._readiness = readiness
        self._liveness = liveness
        self._refresh = refresh
        self._routes = routes
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=2)

    @property
    def port(self) -> int:
        """The port that is served; the one that was given unless that was 0."""
        return int(self._runner.addresses[0][1])

    async def __aenter__(self) -> Self:
        """Open the port; ProviderError when it cannot be had."""
        host, port = self._settings.address
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            # asyncio's own text repeats the address; a name that does not resolve has errno < 0.
            code = error.errno or 0
            why = os.strerror(code) if code > 0 else error.strerror
            raise ProviderError(
                f"cannot serve on {self._settings.bind}: {why}.",
                remedy="Set server.bind to an address of this machine and a free port.",
            ) from None
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024)
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/livez", self._alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._scrape)
        application.add_routes(self._routes)
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
