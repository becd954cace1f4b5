"""The lookup API of the whole program, over two engines."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import ClientSession
from structlog.testing import capture_logs

from tests.controllers.engines import site
from tests.controllers.lab import until
from tests.ovirt.lab import vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.controllers.engines import Site
    from tests.ovirt.lab import Lab

pytestmark = pytest.mark.looptime

ROLE = yaml.safe_load(Path("manifests/lookup-reader.yaml").read_bytes())["metadata"]["name"]


class Program:
    """The program at work, as a client sees it."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._client.get(path) as reply:
            return reply.status, await reply.json(content_type=None)

    async def until_status(self, path: str, status: int) -> Any:
        """The document at this path, once it has this status."""
        async with asyncio.timeout(300):
            found, document = await self.get(path)
            while found != status:
                await asyncio.sleep(0.5)
                found, document = await self.get(path)
        return document


@asynccontextmanager
async def serving(there: Site, *engines: Lab) -> AsyncIterator[Program]:
    with capture_logs() as logs:
        async with there.program(*engines):
            await until(lambda: any(log["event"] == "started" for log in logs))
            port = next(log["port"] for log in logs if log["event"] == "started")
            async with ClientSession(f"http://127.0.0.1:{port}") as client:
                yield Program(client)


async def test_the_program_serves_what_it_describes(tmp_path: Path) -> None:
    async with site(tmp_path, east=[vm("a")]) as there, serving(there, there.east) as program:
        await program.until_status("/v1/instances/a", 200)
        _, document = await program.get("/openapi.json")
        paths = document["paths"]
        answers = {
            path: await program.get(path.format(key="a", name="a"))
            for path in paths
            if path != "/v1/changes"
        }

    assert document["openapi"] == "3.1.0"
    assert ROLE in paths["/v1/zones"]["get"]["responses"]["403"]["description"]
    assert "/v1/changes" in paths
    assert paths["/v1/instances"]["get"]["parameters"][0]["schema"]["enum"] == ["east"]
    assert {path: status for path, (status, _) in answers.items() if status != 200} == {
        "/v1/nodes/{name}": 404
    }


async def test_a_name_that_two_engines_have_is_ambiguous_and_its_ids_are_not(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, east=[vm("a")], west=[vm("a", ip="10.0.0.2")]) as there:
        west = there.west.world.vm("a")
        there.west.world.forget(west)
        west.id = "99999999-0000-4000-8000-000000000000"
        there.west.world.vms[west.id] = west
        async with serving(there, there.east, there.west) as program:
            problem = await program.until_status("/v1/instances/a", 409)
            status, document = await program.get(f"/v1/instances/{west.id}")

    assert [one["engine"] for one in problem["candidates"]] == ["east", "west"]
    assert (status, document["engine"]) == (200, "west")


async def test_while_one_engine_was_never_listed_ids_are_certain_and_names_are_not(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, east=[vm("a")], west=[vm("b", ip="10.0.0.2")]) as there:
        there.west.faults.status = 503
        async with serving(there, there.east, there.west) as program:
            await program.until_status(f"/v1/instances/{there.east.world.vm('a').id}", 200)
            by_name, absence = await program.get("/v1/instances/a")
            _, listed = await program.get("/v1/instances")
            silent, _ = await program.get("/v1/instances?engine=west")
            there.west.faults.reset()
            await program.until_status("/v1/instances/a", 200)

    assert (by_name, absence["type"]) == (503, "/problems/absence-unknown")
    assert "engine west" in absence["detail"]
    assert [one["name"] for one in listed["instances"]] == ["a"]
    east, west = listed["engines"]
    assert east["as_of"]
    assert (west["as_of"], "503" in west["error"]) == (None, True)
    assert silent == 503
