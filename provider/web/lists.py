"""The list of instances over HTTP: filters, pages, and bodies that are made once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from provider.web.answers import Body, answer_large
from provider.web.documents import InstanceList
from provider.web.operations import Operation
from provider.web.problems import Problem
from provider.web.query import InstancesQuery, cut, read
from provider.web.rows import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from provider.web.catalogue import Catalogue
    from provider.web.rows import Row

    Test = Callable[[Row], bool]

_KEPT = 4  # bodies; a list of 5,000 is 3 MB
_CHUNK = 500  # rows that are compared before others get their turn: 1 ms
_RETRY = 5  # seconds


class InstanceLists:
    """The handler of `/v1/instances`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._bodies: OrderedDict[object, Body] = OrderedDict()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is served here."""
        return (
            Operation(
                "/v1/instances",
                "listInstances",
                "The selected VMs of all engines, ordered by name and id.",
                self.list,
                InstanceList,
                {503: "No engine that is asked for has been listed yet."},
                InstancesQuery,
            ),
        )

    async def list(self, request: web.Request) -> web.Response:
        """A page of the instances that fit the query."""
        catalogue = self._catalogue
        query = read(request, InstancesQuery)
        age = require_listed(catalogue, query.engine)
        generation = catalogue.generation
        key = generation, catalogue.states, query
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = Body(await self._page(query))
            while len(self._bodies) > _KEPT:
                self._bodies.popitem(last=False)
        return await answer_large(request, body, f"{catalogue.epoch}-{generation}", age)

    async def _page(self, query: InstancesQuery) -> bytes:
        states = self._catalogue.states
        rows = await _fitting(self._catalogue.order, query)
        page, continue_ = cut(rows, query.limit, query.continue_, lambda row: row.place, 3)
        head = {"engines": states, "total": len(rows), "continue": continue_}
        bodies = b",".join([row.body for row in page])
        return encode(head)[:-1] + b',"instances":[' + bodies + b"]}"


async def _fitting(rows: Sequence[Row], query: InstancesQuery) -> Sequence[Row]:
    """The rows that fit, in the same order."""
    tests = list(_tests(query))
    if not tests:
        return rows
    found: list[Row] = []
    for first in range(0, len(rows), _CHUNK):
        chunk = rows[first : first + _CHUNK]
        found += [row for row in chunk if all(test(row) for test in tests)]
        await asyncio.sleep(0)
    return found


def _tests(query: InstancesQuery) -> list[Test]:
    names = ("engine", "zone", "region", "cluster", "host", "status", "managed")
    given = ((name, getattr(query, name)) for name in names)
    tests = [_is(name, wanted) for name, wanted in given if wanted is not None]
    if (tag := query.tag) is not None:
        tests.append(lambda row: tag in row.document.tags)
    if query.q is not None:
        part = query.q.casefold()
        tests.append(lambda row: part in row.text)
    return tests


def _is(name: str, wanted: Any) -> Test:
    return lambda row: bool(getattr(row.document, name) == wanted)


def require_listed(catalogue: Catalogue, engine: str | None) -> float:
    """The age of the oldest newest listing, in seconds; of this engine alone when it is named.

    Problem 400 when there is no such engine, 503 when none has been listed: what is not known
    yet is not an empty list.
    """
    views = catalogue.engines
    if engine is not None and engine not in views:
        detail = f"There is no engine {engine}. Allowed are {', '.join(views)}."
        raise Problem(400, "query-invalid", "The query is not valid", detail)
    concerned = [view for name, view in views.items() if engine in (None, name)]
    listed = [view.age for view in concerned if view.state.as_of]
    if not listed:
        why = " ".join(view.error for view in concerned if view.error)
        detail = f"No engine has been listed yet: {why or 'they are being asked.'}"
        title = "The instances are not known yet"
        raise Problem(503, "absence-unknown", title, detail, retry_after=_RETRY)
    return max(listed)
