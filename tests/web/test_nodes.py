"""Nodes over HTTP: matches, drift, verdicts and explanations."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request

from provider.simulator.cluster import BadGateway
from provider.web.documents import NodeAnswer, NodeList
from provider.web.nodes import Nodes
from tests.controllers.lab import until, working
from tests.ovirt.lab import many, vm
from tests.web.lookup_lab import LabReplica, lookup, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provider.decisions.identity import Match
    from provider.decisions.lifecycle import Evidence
    from provider.model import Node
    from tests.controllers.lab import Lab
    from tests.web.lookup_lab import Reply

pytestmark = pytest.mark.looptime


def names(reply: Reply) -> list[str]:
    assert reply.status == 200
    return [one.name for one in msgspec.json.decode(reply.body, type=NodeList).nodes]


async def test_nodes_are_listed_with_what_they_are(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(2)) as api:
        api.lab.kubelet("w0")
        api.lab.cluster.kubelet("stranger", system_uuid="")
        await until(lambda: len(api.catalogue.nodes) == 2)
        await until(lambda: api.lab.is_initialised("w0"))
        await asyncio.sleep(2)
        reply = await api.get("nodes")

    listed = msgspec.json.decode(reply.body, type=NodeList)
    assert names(reply) == ["stranger", "w0"]
    stranger, node = listed.nodes
    assert (stranger.match, stranger.instance, stranger.managed) == ("absent", None, False)
    assert stranger.reason
    assert node.instance
    assert (node.instance.name, node.rule, node.managed, node.initialized) == (
        "w0",
        "providerID",
        True,
        True,
    )
    assert (node.drift, node.verdict.kind) == ((), "keep")
    assert listed.leading is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("match=absent", ["stranger"]),
        ("managed=true", ["w0"]),
        ("q=W", ["w0"]),
        ("limit=1", ["stranger"]),
    ],
)
async def test_filters_narrow_the_list(tmp_path: Path, query: str, expected: list[str]) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        api.lab.kubelet("w0")
        api.lab.cluster.kubelet("stranger", system_uuid="")
        await until(lambda: len(api.catalogue.nodes) == 2 and api.catalogue.nodes["w0"].managed)
        assert names(await api.get(f"nodes?{query}")) == expected


class Recording(LabReplica):
    """Which of the lists each node was decided about for, in the order of the decisions."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.decided: list[int] = []
        self._lists = count()

    def evidence(self) -> Callable[..., Evidence]:
        number, witness = next(self._lists), super().evidence()

        def tell(node: Node, match: Match) -> Evidence:
            self.decided.append(number)
            return witness(node, match)

        return tell


async def test_one_list_is_made_at_a_time(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(30)) as api:
        for number in range(30):
            api.lab.kubelet(f"w{number}")
        await until(lambda: len(api.catalogue.nodes) == 30)
        replica = Recording(api.lab)
        nodes = Nodes(api.catalogue, replica)
        requests = [make_mocked_request("GET", "/v1/nodes") for _ in range(3)]
        await asyncio.gather(*map(nodes.list, requests))

    assert replica.decided == sorted(replica.decided)
    assert len(replica.decided) == 90


async def test_pages_lead_through_all_of_them(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(5)) as api:
        for number in range(5):
            api.lab.kubelet(f"w{number}")
        await until(lambda: len(api.catalogue.nodes) == 5)
        first = await api.get("nodes?limit=3")
        second = await api.get(f"nodes?limit=3&continue={first['continue']}")

    assert (names(first), names(second)) == (["w0", "w1", "w2"], ["w3", "w4"])
    assert second["continue"] is None


async def test_one_node_is_explained(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(2)) as api:
        kubelet = api.lab.cluster.kubelet("w0", system_uuid=api.lab.vm("w0").id)
        await until(lambda: api.lab.is_initialised("w0"))
        kubelet.ready()
        await asyncio.sleep(5)
        kubelet.stop()
        api.lab.engine.world.forget(api.lab.vm("w0"))
        await until(lambda: api.catalogue.nodes["w0"].match == "absent", within=600)
        reply = await api.get("nodes/w0")

    answer = msgspec.json.decode(reply.body, type=NodeAnswer)
    assert (answer.match, answer.ready) == ("absent", None)
    assert answer.verdict.kind in ("wait", "ask")
    assert answer.explanation.evidence
    assert answer.explanation.evidence.confirmations == 3
    assert "What becomes of it" in answer.text
    assert "Age" in reply.headers


async def test_a_node_that_the_cluster_does_not_have_is_absent(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        reply = await api.get("nodes/w0")

    assert (reply.status, reply.kind) == (404, "node-absent")
    assert "Age" in reply.headers


async def test_nodes_are_unknown_until_they_are_listed(tmp_path: Path) -> None:
    async with working(tmp_path, vm("w0")) as lab:
        lab.kubelet("w0")
        lab.cluster.faults.inject(BadGateway(), times=None, path="/nodes")
        await lab.stop()
        lab._build(type(lab.metrics)())
        lab.task = asyncio.create_task(lab._run())
        async with serving(lab, is_shown=False) as api:
            await api.until_answer("w0", 200)  # by its name
            replies = [await api.get(f"nodes{one}") for one in ("", "/w0")]
            by_node = await api.instance("w0", by="node")
            lab.cluster.faults.clear()
            await until(lambda: api.catalogue.are_nodes_listed)
            after = await api.get("nodes")

    assert [(one.status, one.kind) for one in replies] == [(503, "nodes-unknown")] * 2
    assert (by_node.status, by_node.kind) == (503, "absence-unknown")
    assert names(after) == ["w0"]


async def test_a_silent_api_server_makes_the_absence_of_a_node_unknown(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        api.lab.kubelet("w0")
        await until(lambda: "w0" in api.catalogue.nodes)
        api.lab.cluster.faults.inject(BadGateway(), times=None, path="/nodes")
        await api.lab.cluster.stop()
        await until(lambda: not api.lab.informer.is_current, within=900)
        known, unknown = await api.get("nodes/w0"), await api.get("nodes/w9")

    assert (known.status, unknown.status) == (200, 503)
    assert int(known.headers["Age"]) >= 300
