"""The simulated cluster as a whole: one small API server on loopback."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from . import status
from .api import Api, error_response, is_watch
from .discovery import VERSION
from .faults import (
    BadGateway,
    Conflict,
    Effect,
    Faults,
    GatewayTimeout,
    Refusal,
    Reset,
    Throttle,
    reset_connection,
)
from .kubelet import Kubelet
from .nodes import Nodes
from .registry import Registry
from .resources import EVENTS, LEASES, Object, to_wire
from .reviews import review
from .store import Store

if TYPE_CHECKING:
    import ssl

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUESTS_KEPT = 100_000
_HTML = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>Bad Gateway</body>\n</html>\n"


@dataclass
class RecordedRequest:
    """One request that arrived, at a loop time.

    `status` is 0 until an answer begins; `effect` is the injected fault that met it.
    """

    method: str
    path: str
    query: dict[str, str]
    user_agent: str
    content_type: str
    at: float
    status: int = 0
    effect: Effect | None = None


_RECORD = web.RequestKey("record", RecordedRequest)


class SimulatedCluster:
    """A small Kubernetes API with the behaviour of a real server where a controller meets it.

    `window` is the number of changes a kind that can still be watched; `bookmark_period` is in
    seconds; a watch from a forgotten version answers 410 as an event unless `is_expiry_event` is
    false, then as the HTTP status. With a `token`, other or no bearer tokens are refused.
    """

    def __init__(
        self,
        *,
        window: int = 10_000,
        bookmark_period: float = 60.0,
        is_expiry_event: bool = True,
        token: str = "",
    ) -> None:
        self._store = Store(window)
        self._registry = Registry(self._store)
        self._token = token
        self.faults = Faults()
        self.nodes = Nodes(self._registry)
        self.denied: set[str] = set()
        """What access reviews say no to, as `patch nodes/status`; nothing else looks at it."""
        self.requests: deque[RecordedRequest] = deque(maxlen=_REQUESTS_KEPT)
        self._api = Api(
            self._registry,
            self.faults,
            bookmark_period=bookmark_period,
            is_expiry_event=is_expiry_event,
        )
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._ssl_context: ssl.SSLContext | None = None

    async def start(self, *, port: int = 0, ssl_context: ssl.SSLContext | None = None) -> str:
        """The URL, when requests are answered; port 0 takes a free one of loopback."""
        self._port = port
        self._ssl_context = ssl_context
        await self.up()
        return self.url

    async def stop(self) -> None:
        """End every watch as at its time-out, cancel what hangs, stop listening."""
        self._store.close()
        await self._stop_listening()

    async def down(self) -> None:
        """Watches are cut and new connections refused; what is stored stays."""
        self.faults.cut_watches()
        await self._stop_listening()

    async def _stop_listening(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def up(self) -> None:
        """Listen again on the same port; harmless when already up."""
        if self._runner is not None:
            return
        app = web.Application(middlewares=[self._recorded, self._faulty], client_max_size=4 << 20)
        app.on_response_prepare.append(_record_status)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            "127.0.0.1",
            self._port,
            ssl_context=self._ssl_context,
            reuse_address=True,
        )
        await site.start()
        self._port = self._runner.addresses[0][1]

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "https" if self._ssl_context else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def kubeconfig(self, *, ca_pem: bytes = b"") -> str:
        """A kubeconfig (YAML) for kubectl and client libraries.

        Over TLS without `ca_pem` the certificate is not verified.
        """
        trust = ""
        if ca_pem:
            trust = f"\n    certificate-authority-data: {base64.b64encode(ca_pem).decode()}"
        elif self._ssl_context:
            trust = "\n    insecure-skip-tls-verify: true"
        return _KUBECONFIG.format(url=self.url, trust=trust, token=self._token or "simulated")

    def kubelet(
        self,
        name: str,
        *,
        system_uuid: str,
        provided_node_ip: str | None = None,
        addresses: Sequence[tuple[str, str]] | None = None,
        labels: dict[str, str] | None = None,
        version: str = VERSION,
    ) -> Kubelet:
        """A kubelet that has just registered its Node (or found it), not ready yet.

        `addresses` are pairs of type and address, in place of those that a kubelet reports.
        """
        kubelet = Kubelet(
            self._registry,
            name,
            system_uuid=system_uuid,
            provided_node_ip=provided_node_ip,
            addresses=addresses,
            labels=labels or {},
            version=version,
        )
        kubelet.start()
        return kubelet

    def events(self) -> tuple[Object, ...]:
        """All Events in core/v1 form, by namespace and name."""
        return tuple(to_wire(EVENTS, stored) for _, stored in self._store["events"].entries())

    def lease(self, namespace: str, name: str) -> Object:
        """The Lease; 404 (StatusError) when there is none."""
        return self._registry.get(LEASES, namespace, name)

    def forget_history(self) -> None:
        """Compact: a watch or page from any earlier version answers 410."""
        self._store.forget_history()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if answer := await review(request, self.denied):
            return answer
        return await self._api.handle(request, request[_RECORD].effect)

    @web.middleware
    async def _recorded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        record = RecordedRequest(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            user_agent=request.headers.get("User-Agent", ""),
            content_type=request.headers.get("Content-Type", ""),
            at=asyncio.get_running_loop().time(),
        )
        self.requests.append(record)
        request[_RECORD] = record
        try:
            self._authenticate(request)
            return await handler(request)
        except status.StatusError as error:
            return error_response(error)

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if self._token and given != f"Bearer {self._token}":
            raise status.unauthorized()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self.faults.thawed()
        if self.faults.latency:
            await asyncio.sleep(self.faults.latency)
        effect = self.faults.take(request, is_watch=is_watch(request))
        request[_RECORD].effect = effect
        answer = _refusal(request, effect)
        if answer is not None:
            return answer
        response = await handler(request)
        if isinstance(effect, GatewayTimeout):
            raise status.timeout()
        return response


async def _record_status(request: web.Request, response: web.StreamResponse) -> None:
    """Note the status when it is sent, so that an open watch has one too."""
    request[_RECORD].status = response.status


def _refusal(request: web.Request, effect: Effect | None) -> web.Response | None:
    """What is answered in place of the server, or None when it shall answer itself."""
    match effect:
        case Throttle(retry_after=seconds):
            raise status.too_many_requests(seconds)
        case Conflict():
            name = request.path.removesuffix("/status").rpartition("/")[2]
            raise status.conflict(status.Subject("objects", "Object", name=name))
        case Refusal(code=code, reason=reason, message=message):
            raise status.StatusError(code, reason, message)
        case BadGateway():
            return web.Response(status=502, text=_HTML, content_type="text/html")
        case GatewayTimeout(is_written=False):
            raise status.timeout()
        case Reset():
            reset_connection(request)
            return web.Response(status=500)
    return None


_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: simulated
  cluster:
    server: {url}{trust}
users:
- name: simulated
  user:
    token: {token}
contexts:
- name: simulated
  context:
    cluster: simulated
    user: simulated
current-context: simulated
"""
