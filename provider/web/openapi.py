"""The OpenAPI 3.1 document, made of the operations that are served and of their documents."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from provider.web.answers import Body, answer_large
from provider.web.documents import ProblemDocument
from provider.web.guard import READER
from provider.web.operations import Operation
from provider.web.problems import CONTENT_TYPE
from provider.web.query import NoQuery, parameters, read
from provider.web.rows import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import web

_SCHEMAS = "#/components/schemas/{name}"
_ANYWHERE = {
    400: "The request is not valid; the detail says what is allowed.",
    401: "No bearer token that the API server accepts.",
    403: f"The user may not get this path: the ClusterRole {READER} lets them.",
    503: "The API server cannot be asked about the token.",
}


class OpenApi:
    """The handler of `/openapi.json`, which describes `operations` and itself."""

    def __init__(self, operations: Sequence[Operation], engines: Iterable[str]) -> None:
        self.operation = Operation(
            "/openapi.json", "getOpenApi", "This document.", self.get, dict[str, Any]
        )
        self.document = describe((*operations, self.operation), tuple(engines))
        self._body = Body(encode(self.document))
        self._etag = f"{version('cloud-provider-ovirt')}-{crc32(self._body.plain):x}"

    async def get(self, request: web.Request) -> web.Response:
        """The document."""
        read(request, NoQuery)
        return await answer_large(request, self._body, self._etag, 0)


def describe(operations: Sequence[Operation], engines: tuple[str, ...]) -> dict[str, Any]:
    """The OpenAPI document of `operations`; `engines` are the values of the filter `engine`."""
    kinds = list({one.answer: None for one in operations} | {ProblemDocument: None})
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    by_kind = dict(zip(kinds, schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cloud-provider-ovirt lookup API",
            "version": version("cloud-provider-ovirt"),
            "description": "What the controller knows of oVirt's VMs and Kubernetes' Nodes."
            " HEAD is answered wherever GET is.",
        },
        "security": [{"token": []}],
        "paths": {one.path: _path(one, by_kind, engines) for one in operations},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _path(operation: Operation, schemas: dict[Any, Any], engines: tuple[str, ...]) -> Any:
    return {
        "get": {
            "operationId": operation.name,
            "summary": operation.summary,
            "parameters": [*_parts(operation), *_query(operation, engines)],
            "responses": _responses(operation, schemas),
        }
    }


def _parts(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string", "minLength": 1},
        }
        for name, text in operation.parts.items()
    ]


def _query(operation: Operation, engines: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for name, schema in parameters(operation.query).items():
        description = schema.pop("description", "")
        if name == "engine":
            schema["enum"] = list(engines)
        found.append({"name": name, "in": "query", "description": description, "schema": schema})
    return found


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    content = {operation.media_type: {"schema": schemas[operation.answer]}}
    problem = {CONTENT_TYPE: {"schema": schemas[ProblemDocument]}}
    told = dict(_ANYWHERE)
    for status, text in operation.problems.items():
        told[status] = f"{text} {told[status]}" if status in told else text
    responses: dict[str, Any] = {
        "200": {"description": "The answer.", "headers": _HEADERS, "content": content},
        "304": {"description": "What the client has is true still.", "headers": _HEADERS},
    }
    for status, text in sorted(told.items()):
        responses[str(status)] = {"description": text, "content": problem}
    other = {"description": f"{HTTPStatus(500).phrase}, or too many requests.", "content": problem}
    return responses | {"default": other}


_HEADERS = {
    "Age": {
        "description": "Seconds since the oldest listing began that the answer rests on.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {"schema": {"type": "string"}},
}
