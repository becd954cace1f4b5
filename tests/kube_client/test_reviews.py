"""TokenReview and SubjectAccessReview on the wire."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from provider.errors import ApiUnavailable, Forbidden
from provider.kube.access import load_access
from provider.kube.reviews import Identity, Reviews
from tests.kube_client.conftest import KUBECONFIG
from tests.kube_client.wire import Request, reply, serving, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from provider.metrics import Metrics

    Open = Callable[[str], Awaitable[Reviews]]

pytestmark = pytest.mark.looptime

ALICE = Identity("alice", "7", ("admins", "system:authenticated"), {"example.com/x": ("y",)})
USER_INFO = {
    "username": "alice",
    "uid": "7",
    "groups": ["admins", "system:authenticated"],
    "extra": {"example.com/x": ["y"]},
}


@pytest.fixture
async def reviews_at(tmp_path: Path, metrics: Metrics) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(url: str) -> Reviews:
            path = tmp_path / "config"
            path.write_text(KUBECONFIG.format(url=url))
            return await stack.enter_async_context(Reviews(await load_access(path), metrics))

        yield make


def body(request: Request) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.body)
    return content


async def test_a_token_is_reviewed(reviews_at: Open) -> None:
    answer = {"status": {"authenticated": True, "user": USER_INFO, "audiences": ["kubernetes"]}}
    async with serving(lambda _: reply(201, answer)) as server:
        user = await (await reviews_at(server.url)).authenticate("geheim")

    (request,) = server.requests
    assert user == ALICE
    assert (request.method, request.target) == (
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
    )
    assert body(request)["kind"] == "TokenReview"
    assert body(request)["spec"] == {"token": "geheim"}


@pytest.mark.parametrize(
    "said", [{}, {"authenticated": False, "error": "token expired"}, {"user": USER_INFO}]
)
async def test_a_token_that_is_not_accepted_is_nobodys(
    said: dict[str, Any], reviews_at: Open
) -> None:
    async with serving(lambda _: reply(201, {"status": said})) as server:
        assert await (await reviews_at(server.url)).authenticate("geheim") is None


async def test_a_right_is_asked_for_with_all_that_is_known_of_the_user(reviews_at: Open) -> None:
    async with serving(lambda _: reply(201, {"status": {"allowed": True}})) as server:
        assert await (await reviews_at(server.url)).may(ALICE, "get", "/v1/nodes")

    (request,) = server.requests
    assert request.target == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert body(request)["spec"] == {
        "user": "alice",
        "uid": "7",
        "groups": ["admins", "system:authenticated"],
        "extra": {"example.com/x": ["y"]},
        "nonResourceAttributes": {"verb": "get", "path": "/v1/nodes"},
    }


@pytest.mark.parametrize("said", [{}, {"allowed": False, "evaluationError": "no such role"}])
async def test_what_is_not_allowed_is_refused(said: dict[str, Any], reviews_at: Open) -> None:
    async with serving(lambda _: reply(201, {"status": said})) as server:
        assert not await (await reviews_at(server.url)).may(ALICE, "get", "/v1/nodes")


@pytest.mark.parametrize("answer", [{"kind": "Status"}, [], b"<html>"])
async def test_an_answer_that_is_no_review_is_none(answer: Any, reviews_at: Open) -> None:
    async with serving(lambda _: reply(201, answer)) as server:
        with pytest.raises(ApiUnavailable):
            await (await reviews_at(server.url)).authenticate("geheim")


async def test_without_the_right_to_ask_it_says_so(reviews_at: Open) -> None:
    refusal = status(403, "tokenreviews is forbidden", "Forbidden")
    async with serving(lambda _: reply(403, refusal)) as server:
        with pytest.raises(Forbidden, match="tokenreviews"):
            await (await reviews_at(server.url)).authenticate("geheim")


async def test_it_waits_for_three_seconds(reviews_at: Open, metrics: Metrics) -> None:
    async with serving(lambda _: [3600.0]) as server:
        with pytest.raises(ApiUnavailable) as caught:
            await (await reviews_at(server.url)).authenticate("geheim")

    assert "geheim" not in str(caught.value)
    labels = {"verb": "review", "resource": "tokenreviews", "code": "error"}
    assert metrics.registry.get_sample_value("ovirt_ccm_api_requests_total", labels) == 1
