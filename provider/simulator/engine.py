"""The simulated engine: an HTTP server that answers as the engine behind its web server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from provider.simulator.accounts import Accounts
from provider.simulator.faults import Availability, Faults
from provider.simulator.gateway import CONTEXT, Gateway
from provider.simulator.requestlog import RequestLog
from provider.simulator.responses import strip_type
from provider.simulator.timeline import play
from provider.simulator.world import World

if TYPE_CHECKING:
    import ssl

    from provider.simulator.scenario import Scenario


class SimulatedEngine:
    """A running engine. `world` is its state, `faults` its switches, `requests` what it was asked.

    `start` and `stop` belong to one event loop; `world` and `faults` are changed in that loop.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.world = World(scenario)
        self.faults = Faults()
        self.accounts = Accounts(self.world, self.faults)
        self.requests = RequestLog()
        self.ca_certificate = ""
        self._timeline = scenario.timeline
        self._runner: web.AppRunner | None = None

    async def start(
        self, port: int = 0, ssl_context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> str:
        """Listen and let time run; the base url, `http://127.0.0.1:PORT/ovirt-engine`."""
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{tail:.*}", Gateway(self).handle)
        application.on_response_prepare.append(strip_type)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=ssl_context)
        await site.start()
        self.world.clock.start()
        play(self, self._timeline)
        address = self._runner.addresses[0]
        return f"{'https' if ssl_context else 'http'}://{host}:{address[1]}{CONTEXT}"

    async def stop(self) -> None:
        """Close every connection and forget every timer."""
        self.world.clock.stop()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def begin_restart(self, seconds: float) -> None:
        """Restart: a tenth of the time stopping, three tenths down, the rest starting.

        Nothing is answered while it starts; afterwards every old token is unknown.
        """
        self.world.write_event(2, {})
        self.faults.availability = "stopping"
        after = self.world.clock.after
        after(seconds * 0.1, lambda: self._go("down"))
        after(seconds * 0.4, lambda: self._go("starting"))
        after(seconds, self._is_back)

    def _go(self, availability: Availability) -> None:
        self.faults.availability = availability

    def _is_back(self) -> None:
        self.accounts.forget_everybody()
        self.world.write_event(1, {})
        self.faults.availability = "up"
