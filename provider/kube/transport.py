"""Requests to the API server: one session, credentials, time-outs, errors, metrics."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec
from msgspec import Struct, field

from provider.errors import AccessInvalid, ApiUnavailable, KubeError, OutcomeUnknown

from .fence import open_socket, refusal
from .replies import Reply, error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import timedelta
    from types import TracebackType

    from provider.metrics import Metrics

    from .access import Access
    from .fence import Fence

_USER_AGENT = f"ovirt-ccm/{version('cloud-provider-ovirt')}"
_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "patch": "PATCH"}
_METHODS |= {"review": "POST", "update": "PUT", "delete": "DELETE"}
_WRITES = frozenset({"create", "update", "patch", "delete"})


class Request(Struct, frozen=True):
    """One request: the verb and resource as RBAC names them, and what goes on the wire.

    `review` is the verb of questions that are asked with POST and change nothing.
    """

    verb: str
    resource: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.verb} {self.path.rpartition('/v1/')[2] or self.path}"


class Transport:
    """An open session with one API server; an async context manager.

    With a `fence` no write is sent that it keeps back: NotLeading.
    """

    def __init__(
        self, access: Access, timeout: timedelta, metrics: Metrics, fence: Fence | None = None
    ) -> None:
        self._access = access
        # Finding a series takes longer than counting in it, and there are few.
        self._requests = cache(metrics.api_requests.labels)
        self._durations = cache(metrics.api_request_duration.labels)
        self._fence = fence
        self._seconds = timeout.total_seconds()
        self._limits = aiohttp.ClientTimeout(sock_connect=self._seconds / 2)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": _USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(socket_factory=open_socket if self._fence else None),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def send(self, request: Request) -> bytes:
        """The body of the answer, which says that it was done; KubeError else."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            reply = await self._to_its_end(request)
        except KubeError:
            self._count(request, "error")
            raise
        self._count(request, str(reply.code))
        self._durations(request.verb, request.resource).observe(loop.time() - started)
        if error := error_of(reply):
            raise error
        return reply.body

    @asynccontextmanager
    async def stream(
        self, request: Request, idle: timedelta
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The open body of the answer; KubeError when there is none.

        While it is read, TimeoutError after `idle` without a byte, else ApiUnavailable.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=self._seconds, sock_read=idle.total_seconds())
        try:
            async with await self._open(request, timeout) as response:
                reply = await self._head(request, response)
                self._count(request, str(reply.code))
                if error := error_of(reply):
                    raise error
                try:
                    yield response.content
                finally:
                    _cut(response)
        except aiohttp.SocketTimeoutError as error:
            raise TimeoutError(f"{request}: nothing came for {idle}") from error
        except aiohttp.ClientError as error:
            self._count(request, "error")
            raise _unsent_or_lost(request, error) from error

    async def _to_its_end(self, request: Request) -> Reply:
        if self._fence and request.verb in _WRITES:
            return await self._fence.finish(self._exchange(request))
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Reply:
        try:
            # aiohttp's own time-out (`total`) swallows a cancellation that comes with it.
            async with (
                asyncio.timeout(self._allowance(request)),
                await self._open(request, self._limits) as response,
            ):
                return _reply(request, response, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unsent_or_lost(request, error) from error

    def _allowance(self, request: Request) -> float:
        """Seconds that it may take."""
        if self._fence and request.verb in _WRITES:
            return min(self._seconds, self._fence.allowance(request))
        return self._seconds

    async def _open(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer; after a 401 the one to the same request with credentials read anew."""
        credentials = await self._access.headers()
        response = await self._request(request, limits, credentials)
        if response.status != 401:
            return response
        response.close()
        await self._renew(request, credentials)
        return await self._request(request, limits, await self._access.headers())

    async def _request(
        self, request: Request, limits: aiohttp.ClientTimeout, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        data: bytes | aiohttp.BytesPayload | None = None
        headers = {**headers, "Accept": request.accept}
        if request.body is not None:
            data = raw = msgspec.json.encode(request.body)
            headers["Content-Type"] = request.content_type
            if self._fence and request.verb in _WRITES:
                data = self._fence.body(request, raw, request.content_type)
        return await self._session.request(
            _METHODS[request.verb],
            self._access.url + request.path,
            params=request.params,
            data=data,
            headers=headers,
            timeout=limits,
            ssl=self._access.ssl,
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
            allow_redirects=False,
        )

    async def _head(self, request: Request, response: aiohttp.ClientResponse) -> Reply:
        """The reply of a stream: its body is read only when it is an error."""
        reply = _reply(request, response, b"")
        if error_of(reply) is None:
            return reply
        async with asyncio.timeout(self._seconds):
            return _reply(request, response, await response.read())

    async def _renew(self, request: Request, refused: dict[str, str]) -> None:
        try:
            await self._access.renew(refused)
        except AccessInvalid as error:
            message = f"{request}: refused, and {error.message}"
            raise ApiUnavailable(message, remedy=error.remedy) from error

    def _count(self, request: Request, code: str) -> None:
        self._requests(request.verb, request.resource, code).inc()


def _cut(response: aiohttp.ClientResponse) -> None:
    """Drop the connection of an answer that goes on: a polite end of TLS waits for the peer."""
    if response.connection and response.connection.transport:
        response.connection.transport.abort()


def _reply(request: Request, response: aiohttp.ClientResponse, body: bytes) -> Reply:
    is_write = request.verb in _WRITES
    return Reply(str(request), is_write, response.status, response.headers, body)


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        code = (
            error.os_error.errno or 0
        )  # its text repeats the address; below 0 it is a resolver's
        why = os.strerror(code) if code > 0 else error.os_error.strerror or str(error.os_error)
        return f"cannot connect to {error.host}:{error.port}: {why}"
    return str(error) or "no answer in time"


def _unsent_or_lost(request: Request, error: Exception) -> KubeError:
    """What a broken connection means: a write that may have arrived is of unknown outcome."""
    if refused := refusal(error):
        return refused
    message = f"{request}: {_words(error)}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            remedy = "Check the CA of the kubeconfig against the API server's certificate."
            return ApiUnavailable(message, remedy=remedy)
        case (
            aiohttp.ClientConnectorError()
            | aiohttp.ConnectionTimeoutError()
            | aiohttp.ClientHttpProxyError()
            | aiohttp.InvalidURL()
        ):
            return ApiUnavailable(message)
    return OutcomeUnknown(message) if request.verb in _WRITES else ApiUnavailable(message)


class Client:
    """Makes requests through a transport of its own; an async context manager that opens it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)
