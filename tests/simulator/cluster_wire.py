"""How the tests of the simulated cluster speak to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from provider.simulator.cluster import SimulatedCluster

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"

Start = Callable[..., AbstractAsyncContextManager["Wire"]]


@dataclass(frozen=True)
class Wire:
    """A running cluster and a client of its HTTP side."""

    cluster: SimulatedCluster
    session: aiohttp.ClientSession

    async def send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and decoded body."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if data else {}
        async with self.session.request(method, path, data=data, headers=headers) as reply:
            return reply.status, await reply.json()

    async def get(self, path: str) -> Any:
        """The decoded body, whatever the status."""
        return (await self.send("GET", path))[1]

    async def patch(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and body of a merge-patch."""
        return await self.send("PATCH", path, body, MERGE)

    @asynccontextmanager
    async def watch(self, query: str = "") -> AsyncIterator[Watch]:
        """An open watch of Nodes."""
        url = f"{NODES}?watch=true&{query}"
        async with self.session.get(url) as reply:
            yield Watch(reply)


@dataclass(frozen=True)
class Watch:
    """A watch as a client sees it."""

    reply: aiohttp.ClientResponse

    async def next(self) -> tuple[str, Any]:
        """Type and object of the next event; EOFError at the end of the stream."""
        line = await self.reply.content.readline()
        if not line:
            raise EOFError
        event = json.loads(line)
        return event["type"], event["object"]


@asynccontextmanager
async def started(**settings: Any) -> AsyncIterator[Wire]:
    """A cluster with these settings, and its client."""
    cluster = SimulatedCluster(**settings)
    url = await cluster.start()
    try:
        async with aiohttp.ClientSession(url) as session:
            yield Wire(cluster, session)
    finally:
        await cluster.stop()


def node(name: str = "a", **rest: Any) -> dict[str, Any]:
    """The manifest of a Node."""
    return {"metadata": {"name": name}} | rest
