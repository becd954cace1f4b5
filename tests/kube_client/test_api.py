"""The calls, and what every answer and every break of the wire means."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from provider.errors import (
    ApiUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    OutcomeUnknown,
    TooManyRequests,
)
from provider.kube.encode import MERGE_PATCH, Write
from provider.kube.rights import Right
from provider.model import NewNode, NodeAddress
from provider.simulator.cluster import GatewayTimeout
from tests.kube_client import wire
from tests.kube_client.wire import reply, serving, status

if TYPE_CHECKING:
    from provider.kube.api import KubeApi
    from provider.metrics import Metrics
    from provider.simulator.cluster import SimulatedCluster
    from tests.kube_client.conftest import Connect

pytestmark = pytest.mark.looptime

NEW = NewNode("a", "ovirt://1", {"x": "y"}, {}, (), (NodeAddress("InternalIP", "10.0.0.1"),))
LABEL = Write(MERGE_PATCH, {"metadata": {"labels": {"zone": "z"}}})
ABOUT = {"name": "a", "kind": "nodes"}
PAGE = b"<html><body>Service unavailable</body></html>"


async def _error(connect: Connect, answer: list[Any], *, is_write: bool) -> KubeError:
    """What the API raises for that answer to a read or a write."""
    async with serving(lambda _: answer) as server:
        api = await connect(server.url)
        with pytest.raises(KubeError) as caught:
            await (api.patch_node("a", LABEL) if is_write else api.get_node("a"))
    return caught.value


# ---- calls -------------------------------------------------------------------------------------


async def test_a_node_is_created_read_patched_and_deleted(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    created = await api.create_node(NEW)
    patched = await api.patch_node("a", LABEL)
    addresses = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}}
    again = await api.patch_node_status("a", Write(MERGE_PATCH, addresses))

    assert created.addresses == NEW.addresses
    assert patched.labels == {"x": "y", "zone": "z"}
    assert again.addresses == (NodeAddress("InternalIP", "10.0.0.2"),)
    assert await api.get_node("a") == again
    await api.delete_node(again)
    assert "a" not in cluster.nodes


async def test_a_node_is_deleted_only_as_it_was_read(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    read = await api.create_node(NEW)
    cluster.nodes.patch("a", {"metadata": {"labels": {"busy": "yes"}}})

    with pytest.raises(Conflict):
        await api.delete_node(read)
    assert "a" in cluster.nodes


async def test_requests_say_who_we_are_and_what_a_patch_is(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    await api.create_node(NEW)
    await api.patch_node("a", LABEL)

    create, patch = cluster.requests
    assert create.user_agent.startswith("ovirt-ccm/")
    assert create.content_type == "application/json"
    assert patch.content_type == "application/merge-patch+json"


async def test_the_cluster_says_its_version(api: KubeApi) -> None:
    assert (await api.version()).startswith("v1.")


async def test_questions_about_ourselves_are_answered(connect: Connect) -> None:
    def answer(request: wire.Request) -> list[Any]:
        if b"SelfSubjectReview" in request.body:
            return reply(201, {"status": {"userInfo": {"username": "system:sa:ccm"}}})
        is_status = b'"subresource":"status"' in request.body
        return reply(201, {"status": {"allowed": is_status}})

    async with serving(answer) as server:
        api = await connect(server.url)

        assert await api.whoami() == "system:sa:ccm"
        assert await api.may(Right("patch", "nodes/status"))
        assert not await api.may(Right("patch", "nodes"))


async def test_a_strange_answer_to_a_question_is_no_answer(connect: Connect) -> None:
    async with serving(lambda _: reply(200, ["no", "version"])) as server:
        api = await connect(server.url)

        with pytest.raises(ApiUnavailable, match="gitVersion"):
            await api.version()


async def test_a_name_cannot_leave_its_place_in_the_path(connect: Connect) -> None:
    async with serving(lambda _: reply(404, status(404, "no", "NotFound", **ABOUT))) as server:
        api = await connect(server.url)
        with pytest.raises(NotFound):
            await api.get_node("../../secrets?x=1")

    assert server.requests[0].target == "/api/v1/nodes/..%2F..%2Fsecrets%3Fx=1"


# ---- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (409, Conflict),
        (410, Gone),
        (413, Invalid),
        (415, Invalid),
        (429, TooManyRequests),
    ],
)
@pytest.mark.parametrize("is_write", [False, True])
async def test_a_refusal_is_what_its_status_says_and_keeps_its_message(
    connect: Connect, code: int, expected: type[KubeError], *, is_write: bool
) -> None:
    answer = reply(code, status(code, 'nodes "a" of the message', **ABOUT))

    error = await _error(connect, answer, is_write=is_write)

    assert type(error) is expected
    assert 'nodes "a" of the message' in error.message


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([{"field": "spec.providerID", "message": "cannot be modified once set"}], Invalid),
        ([{"field": "metadata.uid", "message": "field is immutable"}], Conflict),
        ([], Conflict),
    ],
)
async def test_a_422_that_names_no_field_or_the_uid_is_a_conflict(
    connect: Connect, causes: list[Any], expected: type[KubeError]
) -> None:
    answer = reply(422, status(422, "invalid", "Invalid", causes=causes))

    assert type(await _error(connect, answer, is_write=True)) is expected


@pytest.mark.parametrize("code", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [PAGE, status(500, "etcdserver: request timed out")])
async def test_a_server_error_leaves_a_write_unknown_and_a_read_unanswered(
    connect: Connect, code: int, body: Any
) -> None:
    read = await _error(connect, reply(code, body), is_write=False)
    write = await _error(connect, reply(code, body), is_write=True)

    assert type(read) is ApiUnavailable
    assert type(write) is OutcomeUnknown


@pytest.mark.parametrize("code", [200, 301, 404, 409, 410, 422])
async def test_a_page_of_a_proxy_proves_nothing(connect: Connect, code: int) -> None:
    error = await _error(connect, reply(code, PAGE, "text/html"), is_write=False)

    assert type(error) is ApiUnavailable
    assert "Service unavailable" in error.message


async def test_a_404_about_the_path_does_not_prove_that_a_node_is_gone(connect: Connect) -> None:
    wrong = status(404, "the server could not find the requested resource", "NotFound")

    assert type(await _error(connect, reply(404, wrong), is_write=False)) is ApiUnavailable


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"metadata": {"name": 1}}'])
async def test_an_answer_that_is_no_node_is_no_answer(connect: Connect, body: bytes) -> None:
    assert type(await _error(connect, reply(200, body), is_write=False)) is ApiUnavailable


async def test_an_answer_that_is_no_list_is_no_answer(connect: Connect) -> None:
    async with serving(lambda _: reply(200, {"kind": "NodeList", "items": []})) as server:
        api = await connect(server.url)

        with pytest.raises(ApiUnavailable, match="metadata"):
            await api.nodes_page(500, "")


@pytest.mark.parametrize(
    ("field", "seconds"), [({"Retry_After": "7"}, 7), ({"Retry_After": "x"}, 1), ({}, 1)]
)
async def test_a_429_says_how_long_to_wait(
    connect: Connect, field: dict[str, str], seconds: float
) -> None:
    error = await _error(connect, reply(429, status(429, "slow"), **field), is_write=True)

    assert isinstance(error, TooManyRequests)
    assert error.retry_after == seconds


async def test_an_overloaded_server_says_how_long_a_read_shall_wait(connect: Connect) -> None:
    answer = reply(503, status(503, "starting"), Retry_After="3")

    assert type(await _error(connect, answer, is_write=False)) is TooManyRequests
    assert type(await _error(connect, answer, is_write=True)) is OutcomeUnknown


# ---- breaks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        [wire.Reset],
        [],
        [b"SSH-2.0-OpenSSH\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"],
        [3600.0],
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n", 60.0],
    ],
    ids=["reset", "closed", "no HTTP", "cut", "silent", "stalled"],
)
async def test_a_broken_connection_leaves_a_write_unknown_and_a_read_unanswered(
    connect: Connect, broken: list[Any]
) -> None:
    assert type(await _error(connect, broken, is_write=False)) is ApiUnavailable
    assert type(await _error(connect, broken, is_write=True)) is OutcomeUnknown


async def test_a_refused_connection_means_that_nothing_was_sent(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    await cluster.stop()

    with pytest.raises(ApiUnavailable, match=r":\d+: Connection refused"):
        await api.patch_node("a", LABEL)


async def test_no_call_takes_longer_than_its_time_out(connect: Connect) -> None:
    async with serving(lambda _: [3600.0]) as server:
        api = await connect(server.url)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ApiUnavailable):
            await api.get_node("a")

        assert asyncio.get_running_loop().time() - started == pytest.approx(3, abs=0.1)


async def test_a_write_that_was_done_behind_a_504_is_unknown(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    await api.create_node(NEW)
    cluster.faults.inject(GatewayTimeout(is_written=True))

    with pytest.raises(OutcomeUnknown):
        await api.patch_node("a", LABEL)
    assert (await api.get_node("a")).labels["zone"] == "z"


async def test_a_silent_watch_ends_with_a_time_out(api: KubeApi) -> None:
    started = asyncio.get_running_loop().time()
    lines = api.watch_nodes("1", timedelta(minutes=5), timedelta(seconds=20))

    with pytest.raises(TimeoutError):
        await anext(lines)
    assert asyncio.get_running_loop().time() - started == pytest.approx(20, abs=0.1)


# ---- credentials -------------------------------------------------------------------------------


async def test_a_401_that_persists_is_refused_after_one_more_try(connect: Connect) -> None:
    async with serving(lambda _: reply(401, status(401, "Unauthorized"))) as server:
        api = await connect(server.url)
        with pytest.raises(Forbidden, match="token"):
            await api.patch_node("a", LABEL)

    assert len(server.requests) == 2


# ---- metrics -----------------------------------------------------------------------------------


async def test_requests_are_counted_by_verb_resource_and_code(
    cluster: SimulatedCluster, api: KubeApi, metrics: Metrics
) -> None:
    await api.create_node(NEW)
    with pytest.raises(NotFound):
        await api.get_node("b")
    await cluster.stop()
    with pytest.raises(ApiUnavailable):
        await api.get_node("a")

    def count(verb: str, code: str) -> float | None:
        labels = {"verb": verb, "resource": "nodes", "code": code}
        return metrics.registry.get_sample_value("ovirt_ccm_api_requests_total", labels)

    assert (count("create", "201"), count("get", "404"), count("get", "error")) == (1, 1, 1)
