from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from provider.errors import Conflict as ChangedMeanwhile
from provider.errors import KubeError
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.ledger import ANNOTATION, Ledger
from provider.metrics import Metrics
from provider.simulator.cluster import Conflict, Refusal, SimulatedCluster
from provider.simulator.cluster.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LEASE = "kube-system", "ovirt-cloud-controller-manager"
SPEC = {"holderIdentity": "somebody", "leaseDurationSeconds": 15}


@asynccontextmanager
async def ledger(folder: Path) -> AsyncIterator[tuple[Ledger, SimulatedCluster]]:
    cluster = SimulatedCluster()
    await cluster.start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig(), encoding="utf-8")
    try:
        access = await load_access(kubeconfig)
        async with KubeApi(access, timedelta(seconds=5), Metrics()) as api:
            yield Ledger(api), cluster
    finally:
        await cluster.stop()


def hold(cluster: SimulatedCluster) -> None:
    """Somebody holds the Lease and has an annotation of his own on it."""
    metadata = {"name": LEASE[1], "annotations": {"others": "stay"}}
    cluster.nodes._registry.create(LEASES, LEASE[0], {"metadata": metadata, "spec": SPEC})


async def test_there_is_no_text_at_first(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, _):
        assert await one.read() == ""


async def test_a_text_is_kept_on_a_lease_that_is_made_for_it(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        assert await one.update(lambda text: f"{text}a") == "a"
        assert await one.update(lambda text: f"{text}b") == "ab"

        assert await one.read() == "ab"
        assert "holderIdentity" not in cluster.lease(*LEASE)["spec"]


async def test_the_holder_and_others_are_left_alone(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        hold(cluster)

        await one.update(lambda _text: "a")

        lease = cluster.lease(*LEASE)
        assert lease["spec"] == SPEC
        assert lease["metadata"]["annotations"] == {"others": "stay", ANNOTATION: "a"}


async def test_what_does_not_change_is_not_written(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        await one.update(lambda _text: "")

        assert [request.method for request in cluster.requests] == ["GET"]


async def test_a_change_is_made_again_of_what_another_wrote_meanwhile(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        hold(cluster)
        seen = []

        def change(text: str) -> str:
            seen.append(text)
            if len(seen) == 1:  # between our reading and our writing
                patch = {"metadata": {"annotations": {ANNOTATION: "theirs"}}}
                cluster.nodes._registry.patch(
                    LEASES,
                    LEASE,
                    lambda lease: lease | {"metadata": lease["metadata"] | patch["metadata"]},
                )
            return f"{text}+ours"

        assert await one.update(change) == "theirs+ours"
        assert seen == ["", "theirs"]


async def test_a_lease_that_another_makes_meanwhile_is_used(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        seen = []

        def change(text: str) -> str:
            seen.append(text)
            if len(seen) == 1:
                hold(cluster)
            return "ours"

        assert await one.update(change) == "ours"
        assert cluster.lease(*LEASE)["spec"] == SPEC


async def test_it_gives_up_when_others_always_win(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        hold(cluster)
        cluster.faults.inject(Conflict(), times=None, path="/leases")

        with pytest.raises(ChangedMeanwhile):
            await one.update(lambda _text: "a")

        assert sum(request.method == "PATCH" for request in cluster.requests) == 5


async def test_what_goes_wrong_is_raised_and_nothing_written(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (one, cluster):
        hold(cluster)

        def fail(_text: str) -> str:
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 - the one above
            await one.update(fail)
        cluster.faults.inject(Refusal(403, "Forbidden"), path="/leases")
        with pytest.raises(KubeError):
            await one.read()

        assert ANNOTATION not in cluster.lease(*LEASE)["metadata"]["annotations"]
