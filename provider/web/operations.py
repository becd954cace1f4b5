"""The operations of the lookup API: one list makes the routes and the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct, field

from provider.web.query import NoQuery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import msgspec

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Operation(Struct, frozen=True):
    """What is served at `path` for GET and HEAD.

    `answer` is the shape of a 200, `media_type` what it is sent as. `problems` say by status what
    may be answered instead, beside what every request may get. `parts` describe the variable
    parts of the path.
    """

    path: str
    name: str
    summary: str
    handler: Handler
    answer: Any
    problems: Mapping[int, str] = field(default_factory=dict)
    query: type[msgspec.Struct] = NoQuery
    parts: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"

    @property
    def route(self) -> web.RouteDef:
        """The route of it."""
        return web.get(self.path, self.handler)
