"""Answers on the wire: format, headers, compression, chunks, and the faults of bodies."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from provider.simulator.encoding import XML_HEAD, to_json, to_xml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from provider.simulator.faults import Body
    from provider.simulator.replies import Page, Reply

JSON_TYPE = "application/json"
XML_TYPE = "application/xml;charset=UTF-8"
_CORRELATION_LENGTH = 36
# The web server in front ends the connection after these.
_CLOSING = frozenset({400, 500, 501, 503})


def correlation_id(sent: str | None) -> str:
    """What the engine makes of a Correlation-Id: cut and stripped, or a random one."""
    return re.sub(r"[^0-9A-Za-z_-]", "", sent or "")[:_CORRELATION_LENGTH] or str(uuid4())


def accepts_xml(accept: str | None) -> bool | None:
    """Whether XML is to be sent, or JSON; None when neither is accepted."""
    for part in (accept or "*/*").split(","):
        match part.partition(";")[0].strip():
            case "application/json":
                return False
            case "application/xml" | "*/*" | "application/*":
                return True
    return None


class Responder:
    """Writes the answer to one request."""

    def __init__(
        self, http: web.Request, correlation: str, *, as_xml: bool, is_v4_path: bool, body: Body
    ) -> None:
        self._http, self._correlation = http, correlation
        self.as_xml, self._is_v4_path, self._body = as_xml, is_v4_path, body

    async def reply(self, reply: Reply) -> web.StreamResponse:
        """A document, in the format of the request."""
        if self.as_xml:
            body = XML_HEAD + to_xml(reply.name, reply.document)
        else:
            body = to_json(reply.document)
        return await self.stream(_once(body), reply.status, reply.headers)

    async def stream(
        self,
        pieces: AsyncIterator[bytes],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """A body in pieces, chunked as everything that the engine sends."""
        response = web.StreamResponse(status=status, headers=headers)
        response.headers["Content-Type"] = XML_TYPE if self.as_xml else JSON_TYPE
        response.headers["Correlation-Id"] = self._correlation
        zipper = self._zipper(status, response)
        pieces = self._with_v4_links(pieces) if self._is_v4_path else pieces
        if self._body != "whole":
            return await self._spoilt(response, b"".join([p async for p in pieces]))
        response.enable_chunked_encoding()
        _close_after(response, status)
        await response.prepare(self._http)
        async for piece in pieces:
            await response.write(zipper.compress(piece) if zipper else piece)
        await response.write_eof(zipper.flush() if zipper else b"")
        return response

    def _zipper(self, status: int, response: web.StreamResponse) -> zlib._Compress | None:
        if status != 200:  # OK
            return None
        if self._body == "whole" and "gzip" in self._http.headers.get("Accept-Encoding", ""):
            response.headers["Content-Encoding"] = "gzip"
            return zlib.compressobj(1, wbits=31)
        response.headers["Vary"] = "Accept-Encoding"
        return None

    async def _with_v4_links(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece.replace(b"/ovirt-engine/api/", b"/ovirt-engine/api/v4/")

    async def _spoilt(self, response: web.StreamResponse, body: bytes) -> web.StreamResponse:
        """The answer with the fault of a body that was asked for."""
        half = body[: len(body) // 2]
        if self._body == "aborted":
            response.content_length = len(body)
            await response.prepare(self._http)
            await response.write(half)
            return drop(self._http, response)
        if self._body == "wrong_type":
            response.headers["Content-Type"] = "text/plain"
        spoilt = {"invalid": half + b"\x00}{<" + body[len(half) :], "truncated": half}
        response.enable_chunked_encoding()
        await response.prepare(self._http)
        await response.write(spoilt.get(self._body, body))
        await response.write_eof()
        return response

    async def page(self, page: Page) -> web.StreamResponse:
        """An HTML page."""
        correlation = self._correlation if page.is_correlated else ""
        return await html(self._http, page, correlation)

    async def empty(self, status: int) -> web.StreamResponse:
        """No body and no type, but a length of 0 and a correlation id."""
        response = web.Response(status=status, headers={"Correlation-Id": self._correlation})
        _close_after(response, status)
        return response


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _close_after(response: web.StreamResponse, status: int) -> None:
    if status in _CLOSING:
        response.force_close()


async def html(http: web.Request, page: Page, correlation: str = "") -> web.StreamResponse:
    """An HTML page as the web server or the application server writes it."""
    response = web.StreamResponse(status=page.status)
    response.headers["Content-Type"] = page.content_type
    if page.status == 401:  # unauthorized
        response.headers["WWW-Authenticate"] = 'Basic realm="RESTAPI"'
    if correlation:
        response.headers["Correlation-Id"] = correlation
    for name, value in page.headers.items():
        response.headers[name] = value
    body = page.text.encode()
    if page.is_chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(body)
    _close_after(response, page.status)
    await response.prepare(http)
    await response.write(body)
    await response.write_eof()
    return response


def drop(http: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Break the connection."""
    if http.transport:
        http.transport.abort()
    return response or web.Response(status=500)


async def strip_type(_request: web.Request, response: web.StreamResponse) -> None:
    """Take away what the library adds: the engine names no type for an empty body."""
    response.headers["Server"] = "Apache"
    if isinstance(response, web.Response) and not response.body:
        response.headers.popall("Content-Type", None)
