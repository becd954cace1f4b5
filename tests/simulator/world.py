"""A small simulated engine for tests: a Docker host or two, and a logged-in client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TOKEN_PATH = "/ovirt-engine/sso/oauth/token"
PASSWORD = "secret"
FOLLOW = "nics,reported_devices,tags"


def scenario(**parts: Any) -> Scenario:
    """Two data centres, two hosts a cluster, a tag with a child; `parts` replace or add."""
    vms = [
        {
            "name": "worker-{n}",
            "count": 3,
            "cluster": "workers",
            "host": ["hv-1", "hv-2"],
            "fqdn": "worker-{n}.example.com",
            "tags": ["docker-host"],
            "nics": [{"addresses": ["10.8.0.10", "2001:db8::10"]}],
        },
        {"name": "gpu-0", "cluster": "workers", "tags": ["docker-host-gpu"], "status": "down"},
        {"name": "edge-0", "cluster": "edge", "tags": ["docker-host"]},
        {"name": "plain", "cluster": "workers"},
    ]
    frame: dict[str, Any] = {
        "users": [
            {"name": "admin@internal", "password": "secret", "role": "SuperUser"},
            {"name": "reader@internal", "password": "sécret", "role": "ReadOnlyAdmin"},
            {"name": "user@internal", "password": "secret", "role": "UserRole", "vms": ["gpu-0"]},
        ],
        "data_centers": [{"name": "prague"}, {"name": "brno"}],
        "clusters": [
            {"name": "workers", "data_center": "prague"},
            {"name": "edge", "data_center": "brno"},
        ],
        "hosts": [
            {"name": "hv-1", "cluster": "workers"},
            {"name": "hv-2", "cluster": "workers"},
            {"name": "hv-3", "cluster": "edge"},
        ],
        "tags": [{"name": "docker-host"}, {"name": "docker-host-gpu", "parent": "docker-host"}],
        "vms": vms,
    }
    return Scenario.model_validate(frame | parts)


class Client:
    """A bare client of the engine's API: JSON, one account, no cleverness."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.token = ""

    async def log_in(self, name: str = "admin@internal", password: str = PASSWORD) -> Any:
        form = {
            "grant_type": "password",
            "scope": "ovirt-app-api",
            "username": name,
            "password": password,
        }
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        }
        body = urlencode(form)
        async with self.http.post(TOKEN_PATH, data=body, headers=headers) as reply:
            answer = await reply.json()
        self.token = answer.get("access_token", "")
        return answer

    async def ask(
        self, path: str, method: str = "GET", json: Any = None, **headers: str
    ) -> tuple[aiohttp.ClientResponse, Any]:
        """The reply, and its body as JSON when it is JSON, else as text."""
        sent = {"Accept": "application/json", "Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"/ovirt-engine/api{path}"
        async with self.http.request(method, url, headers=sent, json=json) as reply:
            if reply.content_type == "application/json":
                return reply, await reply.json()
            return reply, await reply.text()

    async def vms(self, search: str = "", **query: str) -> list[Mapping[str, Any]]:
        """The VMs of a list."""
        params = {"search": search, **query} if search else query
        sent = {"Accept": "application/json", "Authorization": f"Bearer {self.token}"}
        url = "/ovirt-engine/api/vms"
        async with self.http.get(url, params=params, headers=sent) as reply:
            return list((await reply.json()).get("vm", []))

    async def names(self, search: str = "", **query: str) -> list[str]:
        """The names of a list of VMs."""
        return [vm["name"] for vm in await self.vms(search, **query)]


@asynccontextmanager
async def running(world: Scenario | None = None) -> AsyncIterator[tuple[SimulatedEngine, Client]]:
    """A running engine and an administrator's client."""
    engine = SimulatedEngine(world or scenario())
    engine.faults.refusal_seconds = 0
    url = await engine.start()
    try:
        async with aiohttp.ClientSession(url.removesuffix("/ovirt-engine")) as http:
            client = Client(http)
            await client.log_in()
            yield engine, client
    finally:
        await engine.stop()
