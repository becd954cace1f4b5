"""From an HTTP request to its answer: what stands in front of the API, log-ins, services, API."""

from __future__ import annotations

import asyncio
import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from provider.simulator.accounts import API_SCOPE, Session, SsoRefusal
from provider.simulator.apirequest import Request, VmList
from provider.simulator.commands import bad_syntax, write
from provider.simulator.encoding import from_json, from_xml
from provider.simulator.listing import check_follow, render_list
from provider.simulator.reads import read
from provider.simulator.replies import (
    EXPIRED,
    NOT_AUTHORIZED,
    WEB_SERVER_503,
    Empty,
    Fault,
    Missing,
    Page,
    Refusal,
    error_page,
    unauthorized,
)
from provider.simulator.requestlog import SeenRequest
from provider.simulator.responses import Responder, accepts_xml, correlation_id, drop
from provider.simulator.tables import TagExpansion
from provider.simulator.vm_document import CERTIFICATE

if TYPE_CHECKING:
    from provider.simulator.encoding import Document
    from provider.simulator.engine import SimulatedEngine

CONTEXT = "/ovirt-engine"
_NOBODY = 499  # as nginx notes a client that has gone
_STOPPING = ((503, "Service Unavailable"), (404, "Not Found"), (500, "Internal Server Error"))
_LATIN = "text/html;charset=ISO-8859-1"
_FORM = "application/x-www-form-urlencoded"
_CERTIFICATE = "application/x-x509-ca-cert; charset=ISO-8859-1"
_COOKIE = {"Set-Cookie": "locale=en_US; path=/; secure; HttpOnly"}
_VARY = {"Vary": "Accept-Encoding"}


class Gateway:
    """The handler of every request to the simulated engine."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine, self._faults = engine, engine.faults
        self._tags = TagExpansion(engine.world)
        self._jobs: list[Document] = []
        self._turn = 0

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """The answer; every request is written to the engine's log."""
        log, correlation = (
            self._engine.requests,
            correlation_id(http.headers.get("Correlation-Id")),
        )
        self._turn += 1
        log.in_flight += 1
        log.most_in_flight = max(log.most_in_flight, log.in_flight)
        status = 0
        try:
            response = await self._answer(http, correlation)
            status = response.status
        except ConnectionResetError:  # nobody is there to read an answer
            status = _NOBODY
            response = web.Response(status=status)
        finally:
            log.in_flight -= 1
            log.add(SeenRequest(http.method, http.path, http.query_string, correlation, status))
        return response

    async def _answer(self, http: web.Request, correlation: str) -> web.StreamResponse:
        is_hit = self._faults.hits(http.path_qs)
        if is_hit:
            await asyncio.sleep(self._faults.delay)
            if self._faults.drop_connection:
                return drop(http)
        responder = Responder(
            http,
            correlation,
            as_xml=bool(accepts_xml(http.headers.get("Accept"))),
            is_v4_path=http.path.startswith(f"{CONTEXT}/api/v4"),
            body=self._faults.body if is_hit else "whole",
        )
        try:
            await self._check_front(is_hit=is_hit)
            return await self._route(http, correlation, responder)
        except Refusal as refusal:
            return await _refuse(responder, refusal)

    async def _check_front(self, *, is_hit: bool) -> None:
        """The pages of a web server or application server that has no engine behind it."""
        if is_hit and self._faults.status:
            text = f"{self._faults.status} - Error"
            raise Page(self._faults.status, error_page(text))
        match self._faults.availability:
            case "down":
                raise Page(
                    503, WEB_SERVER_503, content_type="text/html; charset=iso-8859-1",
                    is_chunked=False,
                )  # fmt: skip
            case "stopping":
                status, text = _STOPPING[self._turn % len(_STOPPING)]
                raise Page(status, error_page(f"{status} - {text}"), content_type="text/html")
            case "starting":
                await self._faults.answers.wait()
                await self._check_front(is_hit=False)

    async def _route(
        self, http: web.Request, correlation: str, responder: Responder
    ) -> web.StreamResponse:
        path = http.path.removeprefix(CONTEXT).strip("/")
        match path.split("/"):
            case ["sso", "oauth", "token"]:
                return await self._token(http)
            case ["services", name]:
                return await self._service(http, name)
            case ["api", *segments]:
                return await self._api(http, correlation, responder, tuple(segments))
        text = "<!DOCTYPE html><html><head><title>404 - Page not found</title></head></html>"
        raise Page(404, text, headers=_COOKIE)

    async def _token(self, http: web.Request) -> web.StreamResponse:
        try:
            if http.headers.get("Accept") != "application/json":
                raise SsoRefusal("invalid_request", "Missing parameter: 'Accept Header'")
            document = await self._engine.accounts.token(await self._form(http))
        except SsoRefusal as refusal:
            return _sso_reply(refusal.document, 400)
        return _sso_reply(document, 200)

    async def _form(self, http: web.Request) -> dict[str, str]:
        """The form; without a charset it is read as ISO-8859-1, as a Java container does."""
        if http.method == "GET":
            return dict(http.query)
        if http.content_type != _FORM:
            refusal = SsoRefusal("invalid_request", "")
            refusal.document = {
                "error_description": f"Unsupported content type {http.content_type}",
                "error": "invalid_request",
            }
            raise refusal
        default = "latin-1" if self._faults.reads_forms_as_latin1 else "utf-8"
        body = (await http.read()).decode("latin-1")
        pairs = parse_qsl(
            body,
            encoding=http.charset or default,
            errors="surrogateescape",
            keep_blank_values=True,
        )
        return dict(pairs)

    async def _service(self, http: web.Request, name: str) -> web.StreamResponse:
        match name:
            case "sso-logout":
                self._engine.accounts.log_out((await self._form(http)).get("token", ""))
                return _sso_reply({}, 200)
            case "health" if self._faults.database == "away":
                raise Page(500, "DB Down!", content_type=_LATIN, headers=_COOKIE)
            case "health":
                text = "DB Up!Welcome to Health Status!"
                raise Page(200, text, content_type=_LATIN, headers=_COOKIE | _VARY)
            case "pki-resource":
                raise self._certificate(http)
        raise Page(404, error_page("404 - Not Found"))

    def _certificate(self, http: web.Request) -> Page:
        wanted = (http.query.get("resource"), http.query.get("format", "X509-PEM-CA"))
        if wanted != ("ca-certificate", "X509-PEM-CA"):
            return Page(400, error_page("400 - Bad Request"))
        text = self._engine.ca_certificate or CERTIFICATE
        return Page(200, text, content_type=_CERTIFICATE, headers=_COOKIE)

    async def _api(
        self, http: web.Request, correlation: str, responder: Responder, path: tuple[str, ...]
    ) -> web.StreamResponse:
        session = await self._session(http.headers.get("Authorization", ""))
        _check_version(http)
        if accepts_xml(http.headers.get("Accept")) is None:
            raise Empty(406)
        if self._faults.forbidden:
            raise Fault(403, NOT_AUTHORIZED)
        self._tags.is_stale = self._faults.has_stale_tag_cache
        request = Request(
            self._engine.world, self._faults, self._tags, session.user,
            path[1:] if path[:1] == ("v4",) else path, http.query, http.headers,
            f"{http.scheme}://{http.host}",
            self._turn if self._faults.turns_addresses else 0, self._jobs,
        )  # fmt: skip
        if http.method == "GET":
            return await _send(request, responder)
        body = await _body(http, request)
        self._engine.world.correlation_id = correlation
        try:
            reply = write(request, http.method, body)
        finally:
            self._engine.world.correlation_id = ""
        return await responder.reply(reply)

    async def _session(self, authorization: str) -> Session:
        kind, _, secret = authorization.partition(" ")
        match kind:
            case "Bearer":
                return self._engine.accounts.session(secret)
            case "Basic":
                name, _, password = base64.b64decode(secret).decode().partition(":")
                try:
                    user = await self._engine.accounts.authenticate(name, password)
                except SsoRefusal as refusal:
                    raise unauthorized(f"access_denied: {refusal}") from None
                return Session(user, API_SCOPE, 0.0, is_stale=False)
        raise unauthorized("Unauthorized" if not authorization else EXPIRED)


async def _send(request: Request, responder: Responder) -> web.StreamResponse:
    found = read(request)
    if isinstance(found, VmList):
        tree = check_follow(request, found)
        return await responder.stream(render_list(request, found, tree, as_xml=responder.as_xml))
    return await responder.reply(found)


async def _body(http: web.Request, request: Request) -> Document | None:
    body = await http.read()
    if not body.strip():
        return None
    try:
        match http.content_type:
            case "application/json":
                return from_json(body)
            case "application/xml":
                return from_xml(body)
    except ValueError:
        raise bad_syntax(request) from None
    raise Empty(415)


def _check_version(http: web.Request) -> None:
    match http.headers.get("Version", "4"):
        case "4":
            return
        case "3":
            text = f"HTTP method {http.method} is not supported by this URL"
            raise Page(405, error_page(text), is_correlated=True)
    raise Page(400, error_page("Unsupported version"), is_correlated=True)


async def _refuse(responder: Responder, refusal: Refusal) -> web.StreamResponse:
    match refusal:
        case Fault():
            return await responder.reply(refusal.reply())
        case Missing():
            return await responder.empty(404)
        case Empty():
            return await responder.empty(refusal.status)
        case Page():
            return await responder.page(refusal)
    raise refusal


def _sso_reply(document: Document, status: int) -> web.Response:
    body = json.dumps(document, separators=(",", ":")) if document else "{ }"
    response = web.Response(body=body.encode(), status=status, content_type="application/json")
    response.headers.update(_COOKIE)
    if status == HTTPStatus.OK:
        response.headers.update(_VARY)
    else:
        response.force_close()
    response.enable_chunked_encoding()
    return response
