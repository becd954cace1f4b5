"""Who is admitted, for how long an answer counts, and what a flood of tokens does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from provider.kube.access import load_access
from provider.kube.reviews import Reviews
from provider.metrics import Metrics
from provider.web.guard import Guard
from provider.web.problems import Problem
from tests.kube_client.conftest import KUBECONFIG
from tests.kube_client.wire import reply, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kube_client.wire import Request

pytestmark = pytest.mark.looptime

PATH = "/v1/nodes"


@dataclass
class ApiServer:
    """Knows tokens as `token: user` and rights as `user path`; counts what it is asked."""

    tokens: dict[str, str] = field(default_factory=lambda: {"t": "alice"})
    rights: set[str] = field(default_factory=lambda: {f"alice {PATH}"})
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    delay: float = 0.0
    is_away: bool = False

    def answer(self, request: Request) -> list[Any]:
        if self.is_away:
            return [3600.0]
        spec = json.loads(request.body)["spec"]
        if "token" in spec:
            self.asked.append(spec["token"])
            user = self.tokens.get(spec["token"])
            said = {"authenticated": user is not None, "user": {"username": user or ""}}
        else:
            path = spec["nonResourceAttributes"]["path"]
            self.asked.append(path)
            said = {"allowed": f"{spec['user']} {path}" in self.rights}
        return [self.delay, *reply(201, {"status": said})]


class Lab:
    """A guard and the API server that it asks."""

    def __init__(self, guard: Guard, api: ApiServer, metrics: Metrics) -> None:
        self.guard = guard
        self.api = api
        self.metrics = metrics

    async def status(self, shown: str = "t", path: str = PATH) -> int:
        """200 for an admitted request, else the status of the refusal."""
        try:
            await self.guard.admit(f"Bearer {shown}", path)
        except Problem as problem:
            return problem.status
        return 200


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Lab]:
    api, metrics = ApiServer(), Metrics()
    async with serving(api.answer) as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.format(url=server.url))
        async with Reviews(await load_access(kubeconfig), metrics) as reviews:
            guard = Guard(reviews, metrics)
            yield Lab(guard, api, metrics)
            await guard.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with opened(tmp_path) as lab:
        yield lab


async def refusal(lab: Lab, authorization: str | None, path: str = PATH) -> Problem:
    with pytest.raises(Problem) as caught:
        await lab.guard.admit(authorization, path)
    return caught.value


async def test_whoever_has_the_right_is_admitted_by_name(lab: Lab) -> None:
    assert await lab.guard.admit("bearer t", PATH) == "alice"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dDp0", "Bearer ü"])
async def test_without_a_token_nothing_is_asked(header: str | None, lab: Lab) -> None:
    problem = await refusal(lab, header)

    assert problem.status == 401
    assert problem.headers["WWW-Authenticate"] == 'Bearer realm="ovirt-ccm"'
    assert lab.api.asked == []


async def test_a_token_that_is_not_accepted_is_called_invalid(lab: Lab) -> None:
    problem = await refusal(lab, "Bearer other")

    assert problem.status == 401
    assert problem.headers["WWW-Authenticate"].endswith('error="invalid_token"')


async def test_a_refusal_names_user_verb_path_and_the_remedy(lab: Lab) -> None:
    problem = await refusal(lab, "Bearer t", "/metrics")

    assert problem.status == 403
    assert problem.detail.startswith("alice may not get /metrics. Bind it to the ClusterRole")
    assert problem.members == {"user": "alice", "verb": "get", "path": "/metrics"}


async def test_without_a_path_a_token_is_enough(lab: Lab) -> None:
    assert await lab.status(path="") == 200
    assert lab.api.asked == ["t"]


async def test_what_is_allowed_counts_for_ten_seconds(lab: Lab) -> None:
    assert await lab.status() == 200
    lab.api.tokens.clear()
    await asyncio.sleep(9.5)
    assert await lab.status() == 200
    assert lab.api.asked == ["t", PATH]

    await asyncio.sleep(1)

    assert await lab.status() == 401


async def test_a_right_that_is_taken_away_counts_for_ten_seconds(lab: Lab) -> None:
    assert await lab.status() == 200
    lab.api.rights.clear()
    await asyncio.sleep(10.5)

    assert await lab.status() == 403


async def test_a_right_counts_no_longer_than_the_token(lab: Lab) -> None:
    assert await lab.status(path="") == 200
    await asyncio.sleep(6)
    assert await lab.status() == 200
    lab.api.tokens.clear()
    await asyncio.sleep(4.5)

    assert await lab.status() == 401


async def test_what_is_denied_counts_for_five_seconds(lab: Lab) -> None:
    assert await lab.status("new") == 401
    lab.api.tokens["new"] = "alice"
    await asyncio.sleep(4.5)
    assert await lab.status("new") == 401
    assert lab.api.asked == ["new"]

    await asyncio.sleep(1)

    assert await lab.status("new") == 200


async def test_a_hundred_at_once_ask_once(lab: Lab) -> None:
    lab.api.delay = 0.5

    assert set(await asyncio.gather(*(lab.status() for _ in range(100)))) == {200}

    assert lab.api.asked == ["t", PATH]


async def test_one_who_goes_away_takes_the_question_of_the_others_not_along(lab: Lab) -> None:
    lab.api.delay = 0.5
    first, second = (asyncio.create_task(lab.status()) for _ in range(2))
    await asyncio.sleep(0.1)

    first.cancel()

    assert await second == 200


async def test_while_the_api_server_is_away_known_answers_count_until_they_end(lab: Lab) -> None:
    assert await lab.status() == 200
    lab.api.is_away = True
    await asyncio.sleep(5)
    assert await lab.status() == 200
    await asyncio.sleep(5.5)

    problem = await refusal(lab, "Bearer t")

    assert problem.status == 503
    assert problem.headers["Retry-After"] == "5"


async def test_what_fails_is_logged_once_until_it_works(lab: Lab) -> None:
    with structlog.testing.capture_logs() as entries:
        lab.api.is_away = True
        assert {await lab.status("geheim-1"), await lab.status("geheim-2")} == {503}
        lab.api.is_away = False
        assert await lab.status() == 200

    assert [one["event"] for one in entries] == [
        "nobody can be admitted",
        "requests can be admitted again",
    ]
    assert "geheim" not in str(entries)


async def test_a_flood_of_tokens_reaches_the_api_server_in_single_file(lab: Lab) -> None:
    lab.api.is_away = True

    statuses = await asyncio.gather(*(lab.status(f"random-{n}") for n in range(1000)))

    assert set(statuses) == {503}
    taken = lab.metrics.registry.get_sample_value(
        "ovirt_ccm_reviews_total", {"kind": "token", "result": "error"}
    )
    assert taken
    assert taken <= 8  # four at a time, each of three seconds, while anybody waits


async def test_a_flood_of_tokens_keeps_nobody_out_who_was_let_in_before(lab: Lab) -> None:
    lab.api.delay = 1.0
    assert await lab.status() == 200
    await asyncio.sleep(11)
    flood = [asyncio.create_task(lab.status(f"random-{n}")) for n in range(1000)]
    await asyncio.sleep(0.1)

    assert await lab.status() == 200
    await asyncio.gather(*flood)


async def test_answers_are_remembered_within_bounds(lab: Lab) -> None:
    for number in range(5000):
        lab.guard._keep((b"%d" % number, ""), None, 0.0)

    assert len(lab.guard._denied) == 4096
