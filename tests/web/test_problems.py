"""Problem documents: what RFC 9457 wants, and what aiohttp says of its own."""

import json
from typing import Any

import pytest
import structlog
from aiohttp import ClientPayloadError, web

from provider.web.problems import Problem, respond
from tests.web.served import served


def document(response: web.Response) -> dict[str, Any]:
    assert isinstance(response.body, bytes)
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def test_a_problem_says_what_it_is_to_programs_and_to_people() -> None:
    problem = Problem(409, "ambiguous", "Ambiguous key", "Two VMs fit.", candidates=("a", "b"))

    response = respond(problem)

    assert (response.status, response.content_type) == (409, "application/problem+json")
    assert document(response) == {
        "type": "/problems/ambiguous",
        "title": "Ambiguous key",
        "status": 409,
        "detail": "Two VMs fit.",
        "candidates": ["a", "b"],
    }


def test_when_to_come_again_is_a_header_and_a_member() -> None:
    response = respond(Problem(503, "absence-unknown", "Absence unknown", retry_after=30))

    assert response.headers["Retry-After"] == "30"
    assert document(response)["retry_after"] == 30
    assert "detail" not in document(response)


def test_nobody_keeps_a_problem() -> None:
    assert respond(Problem(404, "absent", "Absent")).headers["Cache-Control"] == "no-store"


async def raise_problem(_request: web.Request) -> web.Response:
    raise Problem(409, "ambiguous", "Ambiguous key")


async def raise_fault(_request: web.Request) -> web.Response:
    raise RuntimeError("the secret of the handler")


async def redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/healthz")


ROUTES = [
    web.get("/problem", raise_problem),
    web.get("/fault", raise_fault),
    web.get("/elsewhere", redirect),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/problem", 409, "ambiguous"),
        ("GET", "/fault", 500, "internal-error"),
        ("GET", "/none", 404, "not-found"),
        ("POST", "/healthz", 405, "method-not-allowed"),
    ],
)
async def test_every_error_of_a_request_is_a_problem(
    method: str, path: str, status: int, kind: str
) -> None:
    async with served(routes=ROUTES) as (client, _), client.request(method, path) as reply:
        assert (reply.status, reply.content_type) == (status, "application/problem+json")
        assert (await reply.json(content_type=None))["type"] == f"/problems/{kind}"


async def test_what_is_expected_and_nobody_has_is_a_problem() -> None:
    expecting = {"Expect": "miracles"}
    async with (
        served(routes=ROUTES) as (client, _),
        client.get("/healthz", headers=expecting) as reply,
    ):
        assert (reply.status, reply.content_type) == (417, "application/problem+json")


async def test_an_unforeseen_error_tells_the_log_and_not_the_client() -> None:
    async with served(routes=ROUTES) as (client, _), client.get("/fault") as reply:
        assert "secret" not in await reply.text()


async def test_a_method_that_is_not_allowed_says_which_are() -> None:
    async with served(routes=ROUTES) as (client, _), client.post("/problem") as reply:
        assert reply.headers["Allow"] == "GET,HEAD"


async def test_a_redirect_is_no_problem() -> None:
    async with (
        served(routes=ROUTES) as (client, _),
        client.get("/elsewhere", allow_redirects=False) as reply,
    ):
        assert (reply.status, reply.headers["Location"]) == (302, "/healthz")


async def test_a_stream_that_fails_is_cut_and_gets_no_second_answer() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        raise RuntimeError("the secret of the handler")

    with structlog.testing.capture_logs() as entries:
        async with (
            served(routes=[web.get("/v1/changes", stream)]) as (client, _),
            client.get("/v1/changes") as reply,
        ):
            assert reply.status == 200
            with pytest.raises(ClientPayloadError):
                await reply.read()

    assert [(entry["event"], entry["route"]) for entry in entries] == [
        ("a request failed", "/v1/changes")
    ]
