"""One request to an engine and its whole answer: TLS, time-outs, limits, and their errors."""

from __future__ import annotations

import asyncio
import os
import ssl
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from yarl import URL

from provider.errors import EngineError, EngineUnavailable, EngineUntrusted
from provider.ovirt.faults import Reply
from provider.reload import Reload, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from provider.config import Engine
    from provider.metrics import Metrics
    from provider.reload import Stamp

# A page of 10,000 VMs, the largest that can be configured, has about 165 MB (16.5 KB each).
MAX_BODY = 512 * 1024 * 1024
# An error page says all it has to say at its beginning.
MAX_ERROR_BODY = 64 * 1024
_READ_BUFFER = 1024 * 1024  # bytes; the default of 64 KiB wakes the loop 130 times a page
_GZIP = 16 + 15  # zlib's name for gzip with the largest window
_SMALL = 16 * 1024  # bytes that come; they are put together at once, more in a thread

log = structlog.get_logger()


class Trust:
    """The TLS settings for one engine, made anew when the CA file changes.

    A new context means new connections. A file that cannot be used changes nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self.reload = Reload("ca_file", engine.name)
        self._engine = engine
        self._context: ssl.SSLContext | None = None
        self._stamp: Stamp = ()

    def context(self) -> ssl.SSLContext | bool:
        """What aiohttp takes as `ssl`; EngineUntrusted when no CA file could be used yet."""
        if self._engine.insecure or self._engine.url.startswith("http:"):
            return False  # without TLS the system's certificates need not be read
        found = stamp((self._engine.ca_file,))
        if self._context is None:
            self._context = self._load()
        elif found != self._stamp:
            self._renew()
        self._stamp = found
        return self._context

    def _load(self) -> ssl.SSLContext:
        path = self._engine.ca_file
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            why = _words(error) if isinstance(error, OSError) else str(error)
            message = f"ca_file {path} cannot be used: {why}."
            remedy = ca_remedy(self._engine)
            raise EngineUntrusted(self._engine.name, message, remedy=remedy) from error

    def _renew(self) -> None:
        try:
            self._context = self._load()
        except EngineUntrusted as error:
            self.reload.kept(error.message)
        else:
            self.reload.taken()


def ca_remedy(engine: Engine) -> str:
    """How to get the engine's CA certificate."""
    url = f"{engine.url}/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA"
    return (
        f"Fetch the engine's CA certificate from {url}, compare its fingerprint with that of"
        " /etc/pki/ovirt-engine/ca.pem on the engine, and name it as ca_file."
    )


class Transport:
    """Sends requests to one engine, at most `requests` at a time, and reads whole answers."""

    def __init__(self, engine: Engine, requests: int, metrics: Metrics) -> None:
        self._engine = engine
        self._slots = asyncio.Semaphore(requests)
        self._metrics = metrics
        self.trust = Trust(engine)
        self._requests = requests
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._engine.insecure:
            log.warning(
                "the certificate of the engine is not verified: anybody on the way can read the"
                " password",
                engine=self._engine.name,
            )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._requests, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
            auto_decompress=False,
            headers={"Accept-Encoding": "gzip"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http:
            await self._http.close()

    async def get(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109  seconds, part of the contract of every request
    ) -> Reply:
        """The answer to GET of `path` below the engine's url; EngineError when there is none."""
        # Blanks as %20: what the engine was seen to read correctly.
        query = urlencode(params, quote_via=quote, safe=",*")
        url = f"{self._engine.url}{path}" + (f"?{query}" if query else "")
        return await self._send(verb, "GET", url, headers, None, timeout)

    async def post(
        self,
        verb: str,
        path: str,
        form: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109  as above
    ) -> Reply:
        """The answer to POST of a form to `path`; EngineError when there is none.

        The engine reads a form as ISO-8859-1 unless it names its charset, and the token endpoint
        takes no other Accept than this one (both seen on engine 4.5.8).
        """
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        }
        body = urlencode(form).encode("ascii")
        return await self._send(verb, "POST", f"{self._engine.url}{path}", headers, body, timeout)

    async def _send(
        self,
        verb: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,  # noqa: ASYNC109  as above
    ) -> Reply:
        if self._http is None:
            raise RuntimeError("the transport is used outside of its context")
        loop = asyncio.get_running_loop()
        result = "error"
        async with self._slots:
            began = loop.time()
            try:
                async with (
                    asyncio.timeout(timeout),
                    self._http.request(
                        method,
                        URL(url, encoded=True),
                        headers=headers,
                        data=body,
                        ssl=self.trust.context(),
                        allow_redirects=False,
                    ) as response,
                ):
                    reply = Reply(response.status, response.headers, await self._read(response))
                    result = str(reply.status)
                    return reply
            except TimeoutError as error:
                result = "timeout"
                raise NoAnswer(
                    self._engine.name, f"gave no answer within {timeout:g} s."
                ) from error
            except (aiohttp.ClientError, OSError) as error:
                raise _connection_error(self._engine, error) from error
            finally:
                name = self._engine.name
                self._metrics.engine_requests.labels(name, verb, result).inc()
                self._metrics.engine_request_duration.labels(name, verb).observe(
                    loop.time() - began
                )

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body. An error page is cut, as all that it says is at its beginning."""
        is_error = response.status != 200
        limit = MAX_ERROR_BODY if is_error else MAX_BODY
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > limit:
                response.close()
                break
        is_packed = response.headers.get("Content-Encoding", "identity") != "identity"
        if size <= _SMALL:
            body = _joined(parts, limit, is_packed=is_packed)
        else:  # both steps of it leave the interpreter to others
            body = await asyncio.to_thread(_joined, parts, limit, is_packed=is_packed)
        if len(body) > limit and not is_error:
            raise EngineUnavailable(
                self._engine.name,
                f"sends more than {limit >> 20} MiB in one answer.",
                remedy="Set limits.page_size lower.",
            )
        return body


def _joined(parts: list[bytes], limit: int, *, is_packed: bool) -> bytes:
    """The body uncompressed, cut when it is longer than `limit`.

    ClientPayloadError when it breaks off. At one go: pieces that are put together afterwards cost
    twice as much, most of it for the memory.
    """
    whole = b"".join(parts)
    if not is_packed:
        return whole
    unpacker = zlib.decompressobj(_GZIP)
    try:
        body = unpacker.decompress(whole, limit + 1)
    except zlib.error as error:
        raise aiohttp.ClientPayloadError(f"it is not compressed as it says ({error})") from error
    if not unpacker.eof and max(len(whole), len(body)) <= limit:
        raise aiohttp.ClientPayloadError("the answer breaks off")
    return body


class NoAnswer(EngineUnavailable):
    """The request was sent, or may have been, and no whole answer came: its outcome is unknown."""


def _connection_error(engine: Engine, error: Exception) -> EngineError:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _untrusted(engine, error.certificate_error)
        case aiohttp.ClientConnectorSSLError():
            return EngineUnavailable(
                engine.name,
                f"does not speak TLS as expected: {_reason(error)}.",
                remedy="Check the port of url.",
            )
        case aiohttp.ClientConnectorDNSError():
            return EngineUnavailable(
                engine.name, f"the name {error.host} cannot be resolved: {_reason(error)}."
            )
        case aiohttp.ClientConnectorError():
            return EngineUnavailable(
                engine.name, f"cannot connect to {error.host}:{error.port}: {_reason(error)}."
            )
        case _:
            return NoAnswer(engine.name, f"the connection broke: {error or type(error).__name__}.")


def _untrusted(engine: Engine, error: Exception) -> EngineError:
    reason = getattr(error, "verify_message", "") or str(error)
    if "mismatch" in reason:
        remedy = "Write the engine's name in url as its certificate has it."
    else:
        remedy = ca_remedy(engine)
    return EngineUntrusted(
        engine.name, f"its certificate is not trusted: {reason.rstrip('.')}.", remedy=remedy
    )


def _reason(error: aiohttp.ClientConnectorError) -> str:
    return _words(error.os_error)


def _words(error: OSError) -> str:
    """The system's words: asyncio puts the address, which is said already, in their place."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
