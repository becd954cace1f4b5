"""Nodes over HTTP: which instance each is, what would be written, and what becomes of it."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from provider.decisions.decision import decide
from provider.decisions.explanation import Remark, explain, outlook
from provider.decisions.explanation_text import text
from provider.web.answers import Body, answer_large
from provider.web.documents import NodeAnswer, NodeItem, NodeList
from provider.web.operations import Operation
from provider.web.problems import Problem
from provider.web.query import NodesQuery, NoQuery, cut, read
from provider.web.rows import encode, node_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from provider.decisions.decision import Decision
    from provider.decisions.identity import Match
    from provider.decisions.lifecycle import Evidence
    from provider.model import Node
    from provider.web.catalogue import Catalogue
    from provider.web.documents import NodeRow

_CHUNK = 10  # nodes that are decided about before others get their turn: 2 ms
_RETRY = 5  # seconds


class Replica(Protocol):
    """What a replica knows beside its catalogue."""

    @property
    def is_leading(self) -> bool:
        """Whether it leads: only the leader asks engines for proof."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether the API server was heard of late, so that a Node can be said to be missing."""
        ...

    @property
    def last_contact(self) -> float | None:
        """When the API server was heard last, in the loop's seconds; None when it never was."""
        ...

    def evidence(self) -> Callable[[Node, Match], Evidence]:
        """Tells all that is known now about the life of a node with this match."""
        ...


class Nodes:
    """The handlers of `/v1/nodes`."""

    def __init__(self, catalogue: Catalogue, replica: Replica) -> None:
        self._catalogue = catalogue
        self._replica = replica
        # A list of 5,000 takes a second: many at once would keep the loop from all else.
        self._turn = asyncio.Lock()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is served here."""
        unknown = {503: "The Nodes of the cluster are not known now."}
        return (
            Operation(
                "/v1/nodes",
                "listNodes",
                "The Nodes of the cluster, ordered by name.",
                self.list,
                NodeList,
                unknown,
                NodesQuery,
            ),
            Operation(
                "/v1/nodes/{name}",
                "getNode",
                "One Node, and all that is to be said about it.",
                self.get,
                NodeAnswer,
                {404: "The cluster has no such Node."} | unknown,
                parts={"name": "Name of the Node."},
            ),
        )

    async def get(self, request: web.Request) -> web.Response:
        """The Node of this name."""
        read(request, NoQuery)
        catalogue = self._catalogue
        node = self._node(request.match_info["name"])
        decision = decide(node, catalogue.directory, catalogue.config)
        evidence = self._replica.evidence()(node, decision.match)
        now = asyncio.get_running_loop().time()
        told = explain(node, decision, catalogue.directory, catalogue.config, evidence, now)
        item = self._item(node, decision, evidence)
        facts = {name: getattr(item, name) for name in NodeItem.__struct_fields__}
        document = NodeAnswer(
            **facts,
            engines=catalogue.states,
            leading=self._replica.is_leading,
            explanation=told,
            text=text(told),
        )
        body = encode(document)
        return await answer_large(request, Body(body), _etag(body), self._age)

    @property
    def _age(self) -> float:
        """Seconds since the older of what was heard from engines and API server."""
        heard, now = self._replica.last_contact, asyncio.get_running_loop().time()
        return max(self._catalogue.age, 0.0 if heard is None else now - heard)

    def _node(self, name: str) -> Node:
        catalogue = self._catalogue
        node = catalogue.known.nodes.get(name)
        if node is not None:
            return node
        if not (catalogue.are_nodes_listed and self._replica.is_current):
            raise _unknown()
        detail = f"The cluster has no Node {name}."
        raise Problem(404, "node-absent", "There is no such Node", detail, age=self._age)

    async def _items(self, rows: Sequence[NodeRow]) -> list[bytes]:
        catalogue, witness = self._catalogue, self._replica.evidence()
        nodes, directory = catalogue.known.nodes, catalogue.directory
        items = []
        for index, row in enumerate(rows):
            if index % _CHUNK == 0:
                await asyncio.sleep(0)
            if node := nodes.get(row.name):
                decision = decide(node, directory, catalogue.config)
                items.append(encode(self._item(node, decision, witness(node, decision.match))))
        return items

    def _item(self, node: Node, decision: Decision, evidence: Evidence) -> NodeItem:
        match, plan = decision.match, decision.plan
        row = node_row(node, match)
        now = asyncio.get_running_loop().time()
        return NodeItem(
            **{name: getattr(row, name) for name in row.__struct_fields__},
            drift=plan.patch.changes if plan.patch else (),
            notices=tuple(Remark(n.level, n.reason, n.message) for n in plan.notices),
            verdict=outlook(node, match, evidence, self._catalogue.config, now),
        )

    async def list(self, request: web.Request) -> web.Response:
        """A page of the Nodes that fit the query."""
        catalogue = self._catalogue
        query = read(request, NodesQuery)
        if not catalogue.are_nodes_listed:
            raise _unknown()
        rows = [row for _, row in sorted(catalogue.nodes.items()) if _fits(row, query)]
        page, continue_ = cut(rows, query.limit, query.continue_, lambda row: (row.name,), 1)
        async with self._turn:
            items = b",".join(await self._items(page))
        head = {
            "engines": catalogue.states,
            "leading": self._replica.is_leading,
            "total": len(rows),
            "continue": continue_,
        }
        body = encode(head)[:-1] + b',"nodes":[' + items + b"]}"
        errors = [one.error for one in catalogue.states]
        etag = _etag(items, encode((errors, head["leading"], len(rows), continue_)))
        return await answer_large(request, Body(body), etag, self._age)


def _fits(row: NodeRow, query: NodesQuery) -> bool:
    return (
        query.match in (None, row.match)
        and query.managed in (None, row.managed)
        and (query.q is None or query.q.casefold() in row.name)
    )


def _etag(*parts: bytes) -> str:
    digest = blake2b(digest_size=9)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _unknown() -> Problem:
    detail = "The Nodes of the cluster are not listed yet, or the API server is silent."
    return Problem(503, "nodes-unknown", "The Nodes are not known now", detail, retry_after=_RETRY)
