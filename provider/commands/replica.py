"""What a running controller would answer if it had just started: for `get` without `--server`.

The engines are listed once, and the Nodes; then the handlers of the lookup API are asked on a port
that answers nobody else. So there is one answer to each question, whoever is asked.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct, field
from msgspec.structs import replace

from provider.commands.gather import Listings, client_of, list_nodes
from provider.commands.questions import ask_server
from provider.commands.server import Server
from provider.commands.server_errors import ServerError
from provider.decisions.explanation import first_evidence
from provider.decisions.explanation_text import text
from provider.decisions.identity import parse_provider_id
from provider.errors import AccessInvalid, EngineError
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.metrics import Metrics
from provider.ovirt.listing import Lister
from provider.web.catalogue import Catalogue
from provider.web.documents import Exists, NodeAnswer
from provider.web.lookup import routes
from provider.web.problems import Problem, of_http, respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from aiohttp.typedefs import Middleware

    from provider.commands.questions import Question
    from provider.config import Config, Engine
    from provider.decisions.identity import Directory, Match
    from provider.decisions.lifecycle import Evidence
    from provider.model import Node, Snapshot
    from provider.ovirt.client import EngineClient
    from provider.ovirt.departed import Departed
    from provider.web.operations import Handler


async def ask_replica(config: Config, kubeconfig: Path | None, question: Question) -> Any:
    """The document that engines and cluster give themselves.

    ServerError for what is no document, also when only a running controller can know.
    """
    async with AsyncExitStack() as stack:
        nodes = await _list_nodes(config, kubeconfig, question)
        clients = [
            await stack.enter_async_context(client_of(config, one)) for one in config.engines
        ]
        engines = await asyncio.gather(*(_list(config, client) for client in clients))
        if question.document is Exists:
            await _ask_alone(engines, question.parts[1])
        server = await stack.enter_async_context(_serving(config, engines, nodes))
        try:
            answer = await ask_server(server, question)
        except ServerError as error:
            if error.status != 503:
                raise
            remedy = "A controller that has been at work for a while may know: --server URL."
            raise ServerError(error.message, remedy=remedy, status=503) from error
    if isinstance(answer, NodeAnswer):  # there is no evidence but that of one listing
        told = replace(answer.explanation, evidence=None)
        return replace(answer, explanation=told, text=text(told))
    return answer


# ---- what is listed once -----------------------------------------------------------------------


@dataclass(slots=True)
class _Listed:
    """One engine that was listed once, in place of an inventory."""

    engine: Engine
    lister: Lister
    departed: Departed
    snapshot: Snapshot | None = None
    last_error: EngineError | None = None

    def absences(self, _instance_id: str, _engine_id: str, _since: float) -> int:
        """Whatever is not in the listing is missing from one."""
        return 1

    async def read(self, instance_id: str) -> None:
        """Ask for this VM alone; what the engine says is in `departed`."""
        try:
            await self.lister.read(instance_id, is_member=False)
        except EngineError as error:
            self.last_error = error


@dataclass(slots=True)
class _Fleet:
    """The one directory that there is."""

    directory: Directory

    def subscribe(self, _callback: Callable[[frozenset[str]], None]) -> None:
        """It will never be another."""


class _Nodes(Struct, frozen=True):
    """The Nodes as they were listed; not `is_synced` when they could not be."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    is_synced: bool = False
    last_contact: float | None = None
    is_leading: bool = False

    @property
    def is_current(self) -> bool:
        """They were listed just now."""
        return self.is_synced

    def subscribe(self, _callback: Callable[[str], None]) -> None:
        """None of them will change."""

    def evidence(self) -> Callable[[Node, Match], Evidence]:
        """Nobody has looked at any of them before."""
        return lambda _node, match: first_evidence(match)


async def _list(config: Config, client: EngineClient) -> _Listed:
    lister = Lister(client, config.selection_of(client.engine))
    listed = _Listed(client.engine, lister, lister.departed)
    try:
        listed.snapshot = await lister.take(None)
    except EngineError as error:
        listed.last_error = error
    return listed


async def _ask_alone(engines: Iterable[_Listed], key: str) -> None:
    """Ask the engines whose listing lacks this VM for it alone."""
    instance_id = parse_provider_id(key)
    for one in engines:
        if instance_id and one.snapshot and instance_id not in one.snapshot.instances:
            await one.read(instance_id)


async def _list_nodes(config: Config, kubeconfig: Path | None, question: Question) -> _Nodes:
    """The Nodes; without a kubeconfig, where they matter little, none and a warning."""
    try:
        access = await load_access(kubeconfig)
    except AccessInvalid as error:
        if kubeconfig or question.parts[0] == "nodes":
            raise
        sys.stderr.write(f"warning: the nodes are not known: {error}\n")
        return _Nodes()
    async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
        nodes = await list_nodes(api)
    return _Nodes(nodes, is_synced=True, last_contact=asyncio.get_running_loop().time())


# ---- who answers -------------------------------------------------------------------------------


@asynccontextmanager
async def _serving(
    config: Config, engines: Sequence[_Listed], nodes: _Nodes
) -> AsyncIterator[Server]:
    """The lookup API on a port of this machine, for whoever knows a secret of this moment."""
    snapshots = tuple(one.snapshot for one in engines if one.snapshot)
    errors = tuple(one.last_error for one in engines if one.last_error)
    fleet = _Fleet(Listings(snapshots, errors).directory(config))
    catalogue = Catalogue(config, fleet, nodes, engines)
    renewing = asyncio.create_task(catalogue.run())
    secret = secrets.token_urlsafe()
    application = web.Application(middlewares=[_say_problems, _only_for(secret)])
    application.add_routes(routes(catalogue, nodes, ()))
    runner = web.AppRunner(application, access_log=None)
    try:
        await catalogue.changed(0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Server(f"http://127.0.0.1:{runner.addresses[0][1]}", token=secret)
    finally:
        await runner.cleanup()
        renewing.cancel()
        await asyncio.wait((renewing,))


def _only_for(secret: str) -> Middleware:
    """Other users of this machine are told nothing."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        said = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(said.encode(), secret.encode()):
            raise web.HTTPUnauthorized
        return await handler(request)

    return admit


@web.middleware
async def _say_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return respond(problem)
    except web.HTTPException as error:
        return respond(of_http(error))
