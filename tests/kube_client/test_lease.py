"""Leader election in virtual time, on a good API server and on each kind of bad one."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from provider.errors import LeaseLost
from provider.kube.access import load_access
from provider.kube.lease import LeaderElector
from provider.kube.lease_client import NAME, NAMESPACE, LeaseClient
from provider.kube.tenure import Tenure
from provider.metrics import Metrics
from provider.simulator.cluster import (
    BadGateway,
    Conflict,
    EmptyWatch,
    ExpiredWatch,
    GatewayTimeout,
    Refusal,
    Reset,
    SimulatedCluster,
    Throttle,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.kube.api import KubeApi

pytestmark = pytest.mark.looptime

DURATION = 15.0
DEADLINE = 10.0
RETRY = 2.2  # with its jitter
ANSWER = 0.5  # seconds of virtual time that some requests may take
PATH = f"/leases/{NAME}"
FOREVER = "2099-01-01T00:00:00.000000Z"
LONG_AGO = "1999-01-01T00:00:00.000000Z"
OUTAGES: list[Any] = [
    Refusal(500, "InternalError"),
    Refusal(403, "Forbidden"),
    Reset(),
    BadGateway(),
    Throttle(),
    Conflict(),
    GatewayTimeout(is_written=True),
]


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], object], within: float = 100) -> float:
    """When it became true."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, seen from outside
            await asyncio.sleep(0.01)
    return now()


class Candidate:
    """A replica: its elector at work, and when it worked."""

    def __init__(
        self, client: LeaseClient, begins: Callable[[], None], tenure: Tenure | None = None
    ) -> None:
        self.client = client
        self.tenure = tenure or Tenure()
        self._begins = begins
        self.metrics = Metrics()
        self.elector = LeaderElector(client, self.metrics, self.tenure)
        self.started: float | None = None
        self.ended: float | None = None
        self._fails = asyncio.Event()
        self.task = asyncio.create_task(self.elector.run(self._work))

    async def _work(self) -> NoReturn:
        self.started = now()
        self._begins()
        try:
            await self._fails.wait()
            raise ValueError("a bug")
        finally:
            self.ended = now()

    def fail(self) -> None:
        """Have its work raise ValueError."""
        self._fails.set()

    @property
    def is_working(self) -> bool:
        return self.started is not None and self.ended is None

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"leader_election_{name}", {"name": NAME})

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def crash(self) -> None:
        """End it as SIGKILL does: not a byte leaves it any more."""
        await self.client.__aexit__(None, None, None)
        await self.stop()


class Race:
    """Candidates of one cluster, of whom never two may write."""

    def __init__(self, cluster: SimulatedCluster, kubeconfig: Path) -> None:
        self.cluster = cluster
        self.candidates: list[Candidate] = []
        self._kubeconfig = kubeconfig
        self._clients: list[LeaseClient] = []

    async def client(self) -> LeaseClient:
        client = LeaseClient(await load_access(self._kubeconfig), Metrics())
        self._clients.append(client)
        return await client.__aenter__()

    async def candidate(self, tenure: Tenure | None = None) -> Candidate:
        candidate = Candidate(await self.client(), self.require_one, tenure)
        self.candidates.append(candidate)
        return candidate

    async def leader(self) -> Candidate:
        """A new candidate that works."""
        candidate = await self.candidate()
        await until(lambda: candidate.is_working)
        return candidate

    async def standby(self) -> Candidate:
        """A new candidate that watches the Lease of another."""
        candidate = await self.candidate()
        watches = self.cluster.faults.open_watches
        await until(lambda: self.cluster.faults.open_watches > watches)
        return candidate

    @property
    def lease(self) -> dict[str, Any]:
        return self.cluster.lease(NAMESPACE, NAME)

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    def writes(self) -> int:
        return sum(r.method == "PUT" and PATH in r.path for r in self.cluster.requests)

    @property
    def alive(self) -> list[Candidate]:
        return [candidate for candidate in self.candidates if not candidate.task.done()]

    def victim(self, chance: random.Random) -> Candidate:
        """Mostly the leader."""
        leaders = [candidate for candidate in self.candidates if candidate.is_working]
        return chance.choice([*leaders * 6, *self.candidates])

    async def referee(self) -> NoReturn:
        """Look all the time who may write."""
        while True:
            self.require_one()
            await asyncio.sleep(0.5)

    def require_one(self) -> None:
        entitled = [c.elector.identity for c in self.candidates if c.elector.time_left() > 0]
        assert len(entitled) <= 1, f"at {now()}: {entitled}"

    async def end(self) -> None:
        self.cluster.faults.clear()
        await asyncio.gather(*(candidate.stop() for candidate in self.candidates))
        for candidate in self.candidates:
            if not candidate.task.cancelled():
                assert not isinstance(candidate.task.exception(), AssertionError)
        for client in self._clients:
            await client.__aexit__(None, None, None)


@pytest.fixture
async def race(cluster: SimulatedCluster, tmp_path: Path) -> AsyncIterator[Race]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig(), encoding="utf-8")
    race = Race(cluster, kubeconfig)
    referee = asyncio.create_task(race.referee())
    yield race
    await race.end()
    if referee.done():
        referee.result()
    referee.cancel()


def held_by_another(**spec: Any) -> dict[str, Any]:
    defaults = {
        "holderIdentity": "another",
        "leaseDurationSeconds": 15,
        "acquireTime": LONG_AGO,
        "renewTime": LONG_AGO,
        "leaseTransitions": 4,
    }
    return defaults | spec


# ---- going on in the same process ---------------------------------------------------------------


async def test_the_next_elector_of_a_process_goes_on_with_its_lease(race: Race) -> None:
    old = await race.leader()
    standby = await race.standby()
    before = race.spec
    old.tenure.is_kept = True
    await old.stop()
    assert old.elector.time_left() == 0

    new = await race.candidate(old.tenure)
    began = now()
    await until(lambda: new.is_working)

    assert now() - began < 1
    assert race.spec["acquireTime"] == before["acquireTime"]
    assert race.spec["leaseTransitions"] == before["leaseTransitions"]
    await asyncio.sleep(60)
    assert standby.started is None
    await new.stop()
    await until(lambda: standby.is_working, within=3)


async def test_a_lease_that_is_kept_for_nobody_expires(race: Race) -> None:
    old = await race.leader()
    standby = await race.standby()
    old.tenure.is_kept = True
    await old.stop()

    assert await until(lambda: standby.is_working) - (old.ended or 0) <= DURATION + RETRY


async def test_whoever_comes_too_late_for_a_kept_lease_stands_by(race: Race) -> None:
    old = await race.leader()
    standby = await race.standby()
    old.tenure.is_kept = True
    await old.stop()
    await until(lambda: standby.is_working)

    late = await race.candidate(old.tenure)
    await asyncio.sleep(60)

    assert late.started is None
    assert standby.is_working


# ---- taking ------------------------------------------------------------------------------------


async def test_a_missing_lease_is_made_and_work_begins_at_once(race: Race) -> None:
    began = now()
    leader = await race.leader()

    assert now() - began < ANSWER
    micro_time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    assert re.fullmatch(micro_time, race.spec["acquireTime"])
    assert race.spec["renewTime"] == race.spec["acquireTime"]
    assert race.spec["holderIdentity"] == leader.elector.identity
    assert race.spec["leaseDurationSeconds"] == 15
    assert race.spec["leaseTransitions"] == 0
    assert leader.elector.is_leading
    assert leader.metric("master_status") == 1


@pytest.mark.parametrize("stamp", [LONG_AGO, FOREVER])
async def test_nobody_compares_his_clock_with_the_holders(race: Race, stamp: str) -> None:
    await (await race.client()).create(held_by_another(renewTime=stamp))
    candidate = await race.candidate()
    began = now()

    taken = await until(lambda: candidate.is_working)

    assert DURATION <= taken - began <= DURATION + RETRY
    assert race.spec["leaseTransitions"] == 5


async def test_a_lease_says_how_long_it_lasts(race: Race) -> None:
    await (await race.client()).create(held_by_another(leaseDurationSeconds=40))
    candidate = await race.candidate()
    began = now()

    assert await until(lambda: candidate.is_working) - began >= 40


async def test_a_lease_that_is_renewed_is_left_alone(race: Race) -> None:
    client = await race.client()
    lease = await client.create(held_by_another())
    candidate = await race.candidate()

    for second in range(60):
        await asyncio.sleep(1)
        stamp = f"1999-01-01T00:00:{second:02}.000000Z"
        lease = await client.replace(lease, {"renewTime": stamp})

    assert candidate.started is None
    assert candidate.metric("master_status") == 0


@pytest.mark.parametrize("spec", [{"holderIdentity": ""}, {}])
async def test_a_lease_without_a_holder_is_taken_at_once(race: Race, spec: dict[str, Any]) -> None:
    await (await race.client()).create(spec)
    began = now()

    await race.leader()

    assert now() - began < ANSWER


async def test_what_others_have_put_into_the_lease_stays(race: Race) -> None:
    client = await race.client()
    lease = await client.create({"holderIdentity": "", "strategy": "OldestEmulationVersion"})
    lease.raw["metadata"]["annotations"] = {"someone": "cares"}
    await client.replace(lease, {})

    await race.leader()
    writes = race.writes()
    await until(lambda: race.writes() > writes + 2)

    assert race.lease["metadata"]["annotations"] == {"someone": "cares"}
    assert race.spec["strategy"] == "OldestEmulationVersion"


async def test_times_are_utc_wherever_the_process_is(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        await race.leader()
    finally:
        monkeypatch.undo()
        time.tzset()

    assert race.spec["renewTime"][:13] == time.strftime("%Y-%m-%dT%H", time.gmtime())


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: type(one).__name__)
async def test_it_goes_on_trying_until_it_has_the_lease(race: Race, outage: Any) -> None:
    await (await race.client()).create({"holderIdentity": ""})
    injected = race.cluster.faults.inject(outage, times=None, path="/leases")
    candidate = await race.candidate()
    await asyncio.sleep(60)
    tried = sum(PATH in request.path for request in race.cluster.requests)
    race.cluster.faults.remove(injected)
    began = now()

    assert await until(lambda: candidate.is_working) - began <= RETRY + ANSWER
    assert tried < 200


# ---- keeping -----------------------------------------------------------------------------------


async def test_it_is_renewed_every_two_seconds_with_jitter(race: Race) -> None:
    await race.leader()
    await asyncio.sleep(60)

    times = [r.at for r in race.cluster.requests if r.method == "PUT"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(1.8 - ANSWER <= pause <= RETRY + ANSWER for pause in pauses)
    assert max(pauses) - min(pauses) > 0.1
    reads = [r for r in race.cluster.requests if r.method == "GET"]
    assert len(reads) == 1


async def test_the_time_left_counts_from_when_the_renewal_was_sent(race: Race) -> None:
    race.cluster.faults.latency = 3.0
    leader = await race.leader()

    assert leader.elector.time_left() == pytest.approx(DURATION - 3.0, abs=0.2)


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: type(one).__name__)
async def test_a_short_outage_does_not_end_it(race: Race, outage: Any) -> None:
    leader = await race.leader()
    injected = race.cluster.faults.inject(outage, times=None, path="/leases")
    await asyncio.sleep(6)
    race.cluster.faults.remove(injected)
    await asyncio.sleep(60)

    assert leader.is_working


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: type(one).__name__)
async def test_who_cannot_renew_for_ten_seconds_stops(race: Race, outage: Any) -> None:
    leader = await race.leader()
    await asyncio.sleep(5)
    race.cluster.faults.inject(outage, times=None, path="/leases")
    left = leader.elector.time_left()

    began = now()

    with pytest.raises(LeaseLost, match="not renewed for 10 s"):
        await leader.task

    assert leader.ended is not None
    assert leader.ended - began <= DEADLINE + ANSWER
    assert now() - began < left
    assert leader.metric("master_status") == 0


async def test_an_api_server_that_hangs_is_no_reason_to_go_on(race: Race) -> None:
    leader = await race.leader()
    renewed = now()
    race.cluster.faults.freeze()

    ended = await until(lambda: leader.ended)

    assert ended - renewed <= DEADLINE + ANSWER
    with pytest.raises(LeaseLost):
        await leader.task
    assert now() - renewed < DURATION


async def test_one_request_that_hangs_leaves_time_for_another(race: Race) -> None:
    leader = await race.leader()
    race.cluster.faults.freeze()
    await asyncio.sleep(6)
    race.cluster.faults.thaw()
    await asyncio.sleep(60)

    assert leader.is_working


async def test_a_change_by_others_is_read_and_kept(race: Race) -> None:
    leader = await race.leader()
    client = await race.client()
    for number in range(20):
        lease = await client.read()
        lease.raw["metadata"]["annotations"] = {"number": str(number)}
        await client.replace(lease, {})
        await asyncio.sleep(3)

    assert leader.is_working
    assert race.lease["metadata"]["annotations"] == {"number": "19"}
    assert leader.metric("slowpath_total") == 20


async def test_who_finds_another_in_the_lease_stops_at_once(race: Race) -> None:
    leader = await race.leader()
    client = await race.client()
    await client.replace(await client.read(), {"holderIdentity": "another"})
    began = now()

    with pytest.raises(LeaseLost, match="another has taken it"):
        await leader.task

    assert now() - began <= RETRY + ANSWER
    assert race.spec["holderIdentity"] == "another"


async def test_a_lease_that_is_deleted_stays_the_leaders(race: Race) -> None:
    leader = await race.leader()
    standby = await race.standby()
    race.cluster._registry.delete(_leases(), (NAMESPACE, NAME))
    await asyncio.sleep(60)

    assert leader.is_working
    assert race.spec["holderIdentity"] == leader.elector.identity
    assert standby.started is None


async def test_a_lease_that_is_deleted_and_made_anew_stays_the_leaders(race: Race) -> None:
    leader = await race.leader()
    standby = await race.standby()
    race.cluster._registry.delete(_leases(), (NAMESPACE, NAME))
    await (await race.client()).create({})
    await asyncio.sleep(60)

    assert leader.is_working
    assert race.spec["holderIdentity"] == leader.elector.identity
    assert standby.started is None


async def test_a_lease_whose_holder_is_wiped_out_is_not_taken_before_its_time(race: Race) -> None:
    client = await race.client()
    lease = await client.create(held_by_another())
    standby = await race.standby()
    await asyncio.sleep(5)
    await client.replace(lease, {"holderIdentity": ""})
    began = now()

    taken = await until(lambda: standby.is_working)

    assert DURATION - 5 - ANSWER <= taken - began <= DURATION - 5 + ANSWER


async def test_liveness_fails_only_when_its_own_end_has_failed(race: Race) -> None:
    leader = await race.leader()

    leader.elector._renewed = now() - DURATION - 19
    assert leader.elector.overdue() is None
    leader.elector._renewed = now() - DURATION - 21
    assert leader.elector.overdue() == "the lease ended 21 s ago"


def _leases() -> Any:
    from provider.simulator.cluster.resources import LEASES

    return LEASES


async def test_a_deadline_counts_that_falls_on_the_end_of_a_request(
    cluster: SimulatedCluster, api: KubeApi
) -> None:
    """As after SIGSTOP, when both times are over: aiohttp would swallow one of the two."""
    cluster.faults.freeze()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await api.get_node("n1")


# ---- giving up and taking over -----------------------------------------------------------------


async def test_it_is_released_at_the_end_after_the_work(race: Race) -> None:
    leader = await race.leader()
    await leader.stop()

    assert leader.task.cancelled()
    assert race.spec["holderIdentity"] == ""
    assert race.spec["leaseDurationSeconds"] == 1
    assert leader.elector.time_left() == 0
    assert leader.metric("master_status") == 0
    released = race.cluster.requests[-2].at
    assert leader.ended is not None
    assert leader.ended <= released


async def test_a_lease_that_is_released_is_taken_at_once(race: Race) -> None:
    leader = await race.leader()
    standbys = [await race.standby(), await race.standby()]
    await asyncio.sleep(30)
    await leader.stop()
    began = now()

    taken = await until(lambda: any(one.is_working for one in standbys))

    assert taken - began < ANSWER
    assert race.spec["leaseTransitions"] == 1


async def test_a_crash_is_noticed_when_the_lease_has_expired(race: Race) -> None:
    leader = await race.leader()
    standbys = [await race.standby(), await race.standby()]
    await asyncio.sleep(30)
    await leader.crash()
    began = now()

    taken = await until(lambda: any(one.is_working for one in standbys))

    assert DURATION - RETRY <= taken - began <= DURATION + ANSWER


async def test_what_the_work_raises_is_raised_and_the_lease_released(race: Race) -> None:
    leader = await race.leader()
    leader.fail()

    with pytest.raises(ValueError, match="a bug"):
        await leader.task

    assert race.spec["holderIdentity"] == ""


async def test_an_end_while_the_api_server_hangs_takes_three_seconds(race: Race) -> None:
    leader = await race.leader()
    race.cluster.faults.freeze()
    began = now()
    await leader.stop()

    assert now() - began <= 3 + ANSWER


async def test_a_lease_that_was_changed_meanwhile_is_released_all_the_same(race: Race) -> None:
    leader = await race.leader()
    client = await race.client()
    lease = await client.read()
    lease.raw["metadata"]["annotations"] = {"a": "b"}
    await client.replace(lease, {})

    await leader.stop()

    assert race.spec["holderIdentity"] == ""


async def test_the_lease_of_another_is_not_released(race: Race) -> None:
    leader = await race.leader()
    client = await race.client()
    await client.replace(await client.read(), {"holderIdentity": "another"})

    await leader.stop()

    assert race.spec["holderIdentity"] == "another"


async def test_an_end_before_the_answer_to_the_first_claim_leaves_no_holder(race: Race) -> None:
    await (await race.client()).create({"holderIdentity": ""})
    race.cluster.faults.inject(GatewayTimeout(is_written=True), times=1, methods=["PUT"])
    candidate = await race.candidate()
    await until(lambda: race.spec["holderIdentity"])
    await candidate.stop()

    assert race.spec["holderIdentity"] == ""
    assert candidate.started is None


async def test_a_standby_that_ends_writes_nothing(race: Race) -> None:
    leader = await race.leader()
    standby = await race.standby()
    race.cluster.requests.clear()
    await standby.stop()

    assert all(request.method == "GET" for request in race.cluster.requests)
    assert leader.is_working


async def test_both_changes_of_leader_are_events_on_the_lease(race: Race) -> None:
    leader = await race.leader()
    await until(lambda: len(race.cluster.events()) == 1)
    await leader.stop()

    events = [event for event in race.cluster.events() if event["reason"] == "LeaderElection"]
    messages = {event["message"] for event in events}
    identity = leader.elector.identity
    assert messages == {f"{identity} became leader", f"{identity} stopped leading"}
    involved = events[0]["involvedObject"]
    assert (involved["kind"], involved["namespace"], involved["name"]) == (
        "Lease",
        NAMESPACE,
        NAME,
    )
    assert involved["uid"] == race.lease["metadata"]["uid"]


async def test_events_that_cannot_be_sent_do_not_matter(race: Race) -> None:
    race.cluster.faults.inject(Refusal(403, "Forbidden"), times=None, path="/events")
    leader = await race.leader()
    await leader.stop()

    assert race.spec["holderIdentity"] == ""


# ---- watching ----------------------------------------------------------------------------------


async def test_standbys_cost_the_api_server_next_to_nothing(race: Race) -> None:
    await race.leader()
    await race.standby()
    race.cluster.requests.clear()
    await asyncio.sleep(120)

    assert sum(r.method == "GET" for r in race.cluster.requests) <= 4


@pytest.mark.parametrize(
    "fault",
    [Refusal(403, "Forbidden"), Reset(), BadGateway(), EmptyWatch(), ExpiredWatch(), Throttle()],
    ids=lambda one: type(one).__name__,
)
async def test_without_a_watch_the_lease_is_read_every_two_seconds(race: Race, fault: Any) -> None:
    leader = await race.leader()
    watch = race.cluster.faults.inject(fault, times=None, methods=["GET"], path="/leases")
    watch.fits = lambda request, **_: request.query.get("watch") == "true"  # type: ignore[method-assign]
    standby = await race.candidate()
    await asyncio.sleep(60)
    tried = sum(r.method == "GET" for r in race.cluster.requests)
    await leader.stop()
    began = now()

    assert await until(lambda: standby.is_working) - began <= RETRY + ANSWER
    assert tried <= 80


async def test_a_watch_that_hangs_is_noticed(race: Race) -> None:
    leader = await race.leader()
    standby = await race.standby()
    race.cluster.faults.silence_watches()
    await leader.stop()
    began = now()

    assert await until(lambda: standby.is_working) - began <= 6 + ANSWER


async def test_watches_that_are_cut_are_opened_again(race: Race) -> None:
    leader = await race.leader()
    standby = await race.standby()
    for _ in range(10):
        race.cluster.faults.cut_watches()
        await asyncio.sleep(20)
    await until(lambda: race.cluster.faults.open_watches == 1)
    await leader.stop()
    began = now()

    assert await until(lambda: standby.is_working) - began < ANSWER


# ---- never two ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_of_four_candidates_never_two_lead(race: Race, seed: int) -> None:
    """Through crashes, orderly ends, outages and hangs; the referee looks all the time."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    faults = race.cluster.faults
    for _ in range(15):
        while len(race.alive) < 4:
            await race.candidate()
        await asyncio.sleep(chance.uniform(0, 20))
        match chance.choice(["stop", "crash", "freeze", "fault"]):
            case "stop":
                await race.victim(chance).stop()
            case "crash":
                await race.victim(chance).crash()
            case "freeze":
                faults.freeze()
                await asyncio.sleep(chance.uniform(0, 25))
                faults.thaw()
            case _:
                times = chance.randrange(1, 20)
                faults.inject(chance.choice(OUTAGES), times=times, path="/leases")
    faults.clear()
    await race.candidate()

    await until(lambda: any(one.is_working for one in race.candidates))
    assert sum(one.started is not None for one in race.candidates) > 2
