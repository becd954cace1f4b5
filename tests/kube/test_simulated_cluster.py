"""The simulated cluster against the real API server: the same requests, the same answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from provider.simulator.cluster import SimulatedCluster
from tests.kube.control_plane import ControlPlane
from tests.kube.layout import ADMIN_TOKEN
from tests.kube.parity_scripts import SCRIPTS
from tests.kube.parity_steps import (
    EVENTS,
    FULL,
    LEASES,
    NODES,
    TABLE,
    Step,
    addresses,
    event,
    merge,
    node,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@dataclass
class Server:
    """One of the two, and what its last answer held."""

    url: str
    session: aiohttp.ClientSession
    last: dict[str, str] = field(default_factory=dict)

    async def do(self, step: Step) -> tuple[int, Any]:
        code, raw = await self.fetch(step)
        body = json.loads(raw) if raw.startswith("{") else raw
        if isinstance(body, dict):
            metadata = body.get("metadata", {})
            found = {"rv": metadata.get("resourceVersion"), "uid": metadata.get("uid")}
            found["token"] = metadata.get("continue")
            self.last.update({key: value for key, value in found.items() if value})
        return code, body

    async def fetch(self, step: Step) -> tuple[int, str]:
        url = self.url + self.fill(step.path)
        text = None if step.body is None else self.fill(json.dumps(step.body))
        headers = {"Accept": step.accept}
        if text:
            headers["Content-Type"] = step.content_type
        async with self.session.request(step.method, url, data=text, headers=headers) as reply:
            return reply.status, await reply.text()

    def fill(self, text: str) -> str:
        for name, value in self.last.items():
            text = text.replace(f"<{name}>", value)
        return text


VOLATILE = (
    "description",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "deletionTimestamp",
)


def comparable(code: int, body: Any) -> Any:
    """The answer without what differs between any two servers."""
    if not isinstance(body, dict):
        return code, body
    if body.get("kind") == "Status":
        causes = [
            (cause.get("reason"), cause.get("field"))
            for cause in body.get("details", {}).get("causes", ())
        ]
        details = {key: body.get("details", {}).get(key) for key in ("name", "kind", "group")}
        return code, body.get("code"), body.get("reason"), sorted(map(str, causes)), details
    return code, pruned(body)


def pruned(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d+s", value):
        return "an age"
    if isinstance(value, list):
        return [pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: pruned(item) for key, item in value.items() if key not in VOLATILE}
    if "continue" in kept:
        kept["continue"] = "some"
    # Go writes its empty structs, of which a client learns nothing.
    return {key: item for key, item in kept.items() if item not in ({}, None)}


def events_of(raw: str) -> list[Any]:
    """The events of a watch, comparable; of bookmarks only the one that ends the first events."""
    found = []
    for line in raw.splitlines():
        event = json.loads(line)
        if event["type"] == "BOOKMARK" and "initial-events-end" not in line:
            continue
        event["object"].pop("columnDefinitions", None)  # the real one repeats them now and then
        found.append((event["type"], comparable(0, event["object"])))
    return found


@pytest.fixture(scope="module")
def real_control_plane(kube_assets: Path) -> Iterator[ControlPlane]:
    """Of its own and without kube-controller-manager, which would write to the Nodes as well."""
    with ControlPlane(kube_assets) as cluster:
        yield cluster


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedCluster]:
    cluster = SimulatedCluster()
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest.fixture
async def servers(
    real_control_plane: ControlPlane, simulated: SimulatedCluster
) -> AsyncIterator[tuple[Server, Server]]:
    """The real one and the simulated one, both with no Node, Event or Lease of ours."""
    trusted = ssl.create_default_context(cafile=str(real_control_plane.ca_file))
    async with AsyncExitStack() as sessions:
        real = await sessions.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted),
                headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            )
        )
        other = await sessions.enter_async_context(aiohttp.ClientSession())
        yield Server(real_control_plane.url, real), Server(simulated.url, other)
        for path in (NODES, EVENTS, f"{LEASES}/l", f"{LEASES}/none"):
            async with real.delete(real_control_plane.url + path):
                pass


@pytest.mark.parametrize("name", SCRIPTS)
async def test_answers_as_the_real_server_does(servers: tuple[Server, Server], name: str) -> None:
    real, simulated = servers

    for step in SCRIPTS[name]:
        expected, answer = await real.do(step), await simulated.do(step)

        assert comparable(*answer) == comparable(*expected), step


WATCHES = {
    "from a version": "resourceVersion=<rv>",
    "from now": "",
    "from any version": "resourceVersion=0",
    "by label": "resourceVersion=<rv>&labelSelector=x",
    "by name": "resourceVersion=<rv>&fieldSelector=metadata.name%3Da",
    "watch list": "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    "&allowWatchBookmarks=true",
    "watch list with no bookmarks": "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    "changes only": "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
    "initial events with no match": "sendInitialEvents=true",
    "match with no initial events": "resourceVersion=<rv>&resourceVersionMatch=NotOlderThan",
    "from nonsense": "resourceVersion=nonsense",
    "from the future": "resourceVersion=99999999",
}


@pytest.mark.parametrize("accept", ["application/json", TABLE], ids=["objects", "tables"])
async def test_watches_as_the_real_server_does(
    servers: tuple[Server, Server], accept: str
) -> None:
    real, simulated = await asyncio.gather(*(watched(server, accept) for server in servers))

    for name in WATCHES:
        assert simulated[name] == real[name], name


async def watched(server: Server, accept: str) -> dict[str, Any]:
    """What every watch sees of the same few writes."""
    for name in ("a", "b"):
        await server.do(Step("POST", NODES, node(name)))
    await server.do(Step("GET", NODES))
    watches = {
        name: asyncio.create_task(
            server.fetch(Step("GET", f"{NODES}?watch=1&timeoutSeconds=3&{query}", accept=accept))
        )
        for name, query in WATCHES.items()
    }
    await asyncio.sleep(1)
    for step in (
        merge(f"{NODES}/a", {"metadata": {"labels": {"x": "y"}}}),
        merge(f"{NODES}/a/status", addresses("InternalIP=10.0.0.1")),
        merge(f"{NODES}/a", {"metadata": {"labels": {"x": "y"}}}),
        merge(f"{NODES}/a", {"metadata": {"labels": {"x": None}}}),
        Step("POST", NODES, node("c", metadata={"labels": {"x": "z"}})),
        Step("DELETE", f"{NODES}/a"),
        Step("DELETE", f"{NODES}/c"),
    ):
        await server.do(step)
    return {name: seen(*await task) for name, task in watches.items()}


def seen(code: int, raw: str) -> Any:
    """The events of a stream, or the refusal of the watch."""
    return (code, events_of(raw)) if code == 200 else comparable(code, json.loads(raw))


KUBECTL = {
    "get": ["get", "nodes"],
    "get wide": ["get", "nodes", "-o", "wide"],
    "get by label": ["get", "nodes", "-l", "x=y", "--show-labels"],
    "get nothing": ["get", "nodes", "-l", "x=none"],
    "get as names": ["get", "nodes", "-o", "name"],
    "get events": ["get", "events", "-o", "wide"],
    "events": ["events", "--for", "node/b"],
    "describe": ["describe", "node", "b"],
    "label": ["label", "node", "b", "colour=blue"],
    "taint": ["taint", "node", "b", "k=v:NoExecute"],
    "taint again": ["taint", "node", "b", "k=v:NoExecute"],
    "cordon": ["cordon", "b"],
    "patch": ["patch", "node", "b", "-p", '{"spec": {"providerID": "ovirt://1"}}'],
    "patch badly": ["patch", "node", "b", "-p", '{"spec": {"providerID": "ovirt://2"}}'],
    "wait": ["wait", "node/b", "--for=condition=Ready", "--timeout=5s"],
    "describe at last": ["describe", "node", "b"],
    "delete": ["delete", "node", "b"],
    "delete again": ["delete", "node", "b"],
}


async def test_kubectl_prints_the_same(
    servers: tuple[Server, Server],
    real_control_plane: ControlPlane,
    simulated: SimulatedCluster,
    kube_assets: Path,
    tmp_path: Path,
) -> None:
    for server in servers:
        await server.do(Step("POST", NODES, node("a")))
        await server.do(Step("POST", NODES, node("b", metadata={"labels": {"x": "y"}}, **FULL)))
        about = {"kind": "Node", "name": "b", "apiVersion": "v1"}
        await server.do(Step("POST", EVENTS, event() | {"involvedObject": about}))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(simulated.kubeconfig())

    for name, arguments in KUBECTL.items():
        expected, answer = await asyncio.gather(
            kubectl(kube_assets, real_control_plane.kubeconfig, tmp_path / "real", arguments),
            kubectl(kube_assets, kubeconfig, tmp_path / "simulated", arguments),
        )

        assert answer == expected, name


async def kubectl(assets: Path, kubeconfig: Path, cache: Path, arguments: list[str]) -> str:
    """What it printed, with ages and points in time blurred."""
    done = await asyncio.to_thread(
        subprocess.run,
        [str(assets / "kubectl"), f"--cache-dir={cache}", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text = re.sub(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "a time", done.stdout)
    return re.sub(r" +\d+s\b", " age", text)
