"""One request and its answer, whatever it is about: guard, errors, headers, counts, log."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiohttp import web
from multidict import istr

from provider.web.headers import COMMON
from provider.web.problems import Problem, of_http, respond, unforeseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from provider.metrics import Metrics
    from provider.web.access_log import AccessLog
    from provider.web.connections import Connection
    from provider.web.guard import Guard

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)

_UNKNOWN = "unknown"  # the pattern of a path that is not served
_TOO_LARGE = 413
_MAX_HEADERS = 64
_LINGER = 1.0  # seconds in which a refused body is thrown away, so that the refusal arrives

# What an answer says unless its handler knows better.
_HEADERS = ((istr("Cache-Control"), "no-store"), *COMMON.items())
_SERVER = istr("Server")


class Protocol(web.RequestHandler):
    """HTTP on one connection, which it tells of itself."""

    __slots__ = ("_metrics", "connection")

    def __init__(self, server: web.Server, connection: Connection, metrics: Metrics) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # which it takes for: none
            max_headers=_MAX_HEADERS,
            lingering_time=_LINGER,
        )
        self.connection = connection
        self._metrics = metrics

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be spoken on."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.connection.opened(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self.connection.lost()
        for message, _ in self._messages:  # that came behind one that was refused
            _forget_frames(getattr(message, "exc", None))

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send it; aiohttp itself answers what a request expects and nobody has."""
        if type(resp) is web.HTTPExpectationFailed:
            self._metrics.http_requests.count(_UNKNOWN, resp.status, None)
            resp = respond(of_http(resp))
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or whose head is too large."""
        _forget_frames(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, it cannot become another")
        self._metrics.http_requests.count(_UNKNOWN, status, None)
        phrase = HTTPStatus(status).phrase
        response = respond(Problem(status, phrase.lower().replace(" ", "-"), phrase))
        _complete(response)
        response.force_close()
        return response


class _Target(NamedTuple):
    """What a request is about: the pattern for counts, the path for the guard."""

    pattern: str
    path: str


class Exchange:
    """The middleware around all handlers; without a `guard` everybody may read everything.

    The patterns in `is_open` need no token. The right to a pattern such as `/v1/instances/{key}`
    is asked for all that is below it at once, as `/v1/instances/*`: RBAC grants it by prefix, and
    a client that reads a thousand keys costs one review.
    """

    def __init__(
        self, guard: Guard | None, metrics: Metrics, log: AccessLog, is_open: frozenset[str]
    ) -> None:
        self._guard = guard
        self._metrics = metrics
        self._log = log
        self._is_open = is_open
        self._targets: dict[object, _Target] = {}

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of `handler`, or the Problem that keeps it from answering."""
        clock = asyncio.get_running_loop().time
        began = clock()
        connection = _connection(request)
        connection.begin(began)
        resource = request.match_info.route.resource
        target = self._targets.get(resource) or self._learn(resource)
        user = ""
        response: web.StreamResponse | None = None
        try:
            _refuse_body(request)
            user = await self._admit(request, target, connection)
            response = await handler(request)
        except Exception as error:
            response = _failure(error, target, connection)
        finally:
            now = clock()
            seconds = None if connection.is_stream else now - began
            connection.end(now)
            if response is not None:
                self._account(request, target, response, user, seconds)
        return response

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Complete the headers; called right before they are sent."""
        _complete(response)
        connection = _connection(request)
        # isinstance would ask an abstract class, which takes as long as all else here.
        if type(response) is not web.Response and connection.cause == "answer":
            connection.flow()

    def _learn(self, resource: web.AbstractResource | None) -> _Target:
        """What requests for `resource` are about; None for what is not served."""
        target = _Target(_UNKNOWN, "")
        if resource is not None:
            pattern = resource.canonical
            fixed, has_key, _ = pattern.partition("{")
            target = _Target(pattern, f"{fixed}*" if has_key else pattern)
        self._targets[resource] = target
        return target

    async def _admit(self, request: web.Request, target: _Target, connection: Connection) -> str:
        if self._guard is None or target.pattern in self._is_open:
            return ""
        user = await self._guard.admit(request.headers.get("Authorization"), target.path)
        connection.trust()
        return user

    def _account(
        self,
        request: web.Request,
        target: _Target,
        response: web.StreamResponse,
        user: str,
        seconds: float | None,
    ) -> None:
        self._metrics.http_requests.count(target.pattern, response.status, seconds)
        if self._log.is_on:
            size = response.content_length or response.body_length
            self._log.write(
                request.method, request.raw_path, response.status, user, seconds or 0.0, size
            )


def _forget_frames(error: BaseException | None) -> None:
    """Let go of the frames of a refusal: they hold the connection's buffers, 300 KiB each."""
    if error:
        error.__traceback__ = error.__context__ = error.__cause__ = None


def _complete(response: web.StreamResponse) -> None:
    headers = response.headers
    headers[_SERVER] = COMMON[_SERVER]  # aiohttp has said its own
    for name, value in _HEADERS:
        headers.setdefault(name, value)


def _connection(request: web.Request) -> Connection:
    protocol = request.protocol
    assert isinstance(protocol, Protocol)  # noqa: S101 - nobody else speaks on the port
    return protocol.connection


def _refuse_body(request: web.Request) -> None:
    if request.body_exists:
        title, detail = "Content too large", "No request has a body here."
        raise Problem(_TOO_LARGE, "content-too-large", title, detail)


def _failure(error: Exception, target: _Target, connection: Connection) -> web.StreamResponse:
    """The answer to a request whose handler has raised `error`; raises when it is too late."""
    match error:
        case Problem():
            response = respond(error)
            if error.status == _TOO_LARGE:  # what follows may be the rest of it
                response.force_close()
            return response
        case web.HTTPException() if error.status >= 400:
            return respond(of_http(error))
        case web.HTTPException():  # a redirect
            return web.Response(status=error.status, headers=error.headers)
        case ConnectionError():  # the client is gone
            raise error
    _log.error("a request failed", route=target.pattern, exc_info=error)
    if connection.is_stream:
        raise ConnectionResetError("a stream has begun, its answer cannot become another")
    return respond(unforeseen())
