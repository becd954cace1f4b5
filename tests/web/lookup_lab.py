"""The lookup API over HTTP, between a simulated engine and a simulated cluster."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from aiohttp import ClientSession, web

from provider.web.catalogue import Catalogue
from provider.web.lookup import routes
from provider.web.problems import Problem, of_http, respond
from tests.controllers.lab import until, working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from provider.decisions.lifecycle import Evidence
    from provider.simulator.scenario import VmSpec
    from tests.controllers.lab import Lab

TOKEN = {"Authorization": "Bearer s3cret"}


@dataclass
class Reply:
    """An answer: its status, its headers and its document."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    @property
    def kind(self) -> str:
        """What a problem document is about."""
        return str(self["type"]).rpartition("/")[2]


class LabReplica:
    """What the lab's controllers know beside the catalogue."""

    is_leading = True

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @property
    def is_current(self) -> bool:
        return self._lab.informer.is_current

    @property
    def last_contact(self) -> float | None:
        return self._lab.informer.last_contact

    def evidence(self) -> Callable[..., Evidence]:
        return self._lab.lifecycle.evidence()


class Api:
    """The API and what stands behind it."""

    def __init__(self, lab: Lab, client: ClientSession, catalogue: Catalogue, url: str) -> None:
        self.lab = lab
        self.catalogue = catalogue
        self.url = url
        self._client = client

    async def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """The answer to a request below /v1."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Accept-Encoding": "identity"} | given
        async with self._client.request(method, f"/v1/{path}", headers=given) as reply:
            return Reply(reply.status, reply.headers, await reply.read())

    async def instance(self, key: str, below: str = "", by: str = "") -> Reply:
        """The answer about one instance."""
        query = f"?by={by}" if by else ""
        return await self.get(f"instances/{quote(key, safe='')}{below}{query}")

    async def until_answer(self, key: str, status: int, below: str = "") -> Reply:
        """The first answer about this instance with this status, within ten minutes."""
        async with asyncio.timeout(600):
            reply = await self.instance(key, below)
            while reply.status != status:
                await asyncio.sleep(0.5)
                reply = await self.instance(key, below)
        return reply

    async def until_shown(self) -> None:
        """Return when what was listed last is served."""
        await until(lambda: any(state.as_of for state in self.catalogue.states))
        await until(lambda: self.catalogue.are_nodes_listed)


@asynccontextmanager
async def serving(lab: Lab, *, is_shown: bool = True) -> AsyncIterator[Api]:
    """The API of what the lab's controllers know."""
    catalogue = Catalogue(lab.config, lab.fleet, lab.informer, [lab.inventory])
    task = asyncio.create_task(catalogue.run())
    application = web.Application(middlewares=[_problems])
    application.add_routes(routes(catalogue, LabReplica(lab), ()))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(url, auto_decompress=False, headers=TOKEN) as client:
            api = Api(lab, client, catalogue, url)
            if is_shown:
                await api.until_shown()
            yield api
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


@asynccontextmanager
async def lookup(folder: Path, *vms: VmSpec, **sections: Any) -> AsyncIterator[Api]:
    """The API over an engine with these VMs that has been listed."""
    async with working(folder, *vms, **sections) as lab, serving(lab) as api:
        yield api


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        if request.headers.get("Authorization") != TOKEN["Authorization"]:
            raise Problem(401, "unauthenticated", "Unauthenticated")
        return await handler(request)
    except Problem as problem:
        return respond(problem)
    except web.HTTPException as error:
        return respond(of_http(error))
