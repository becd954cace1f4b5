"""`deletions` and `deletions allow` against a simulated engine and cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from provider.model import ANNOTATION_ENGINE, ANNOTATION_HOLD
from provider.simulator.cluster.resources import LEASES
from tests.ovirt.lab import many

if TYPE_CHECKING:
    from tests.commands.conftest import Lab, MakeLab

LEASE = "kube-system", "ovirt-cloud-controller-manager"
RECORD = "ccm.ovirt.org/deletions"
LATCHED = {"deletions": [], "latched": "2026-05-04T12:00:00Z", "allowed": []}


def gone(lab: Lab, name: str, **annotations: str) -> str:
    """The uid of a new node of ours that is not ready and whose VM does not exist."""
    engine = lab.engine.world.instance_id
    node = lab.cluster.nodes.create(
        {
            "metadata": {"name": name, "annotations": {ANNOTATION_ENGINE: engine, **annotations}},
            "spec": {"providerID": f"ovirt://00000000-0000-4000-8000-{len(name):012}"},
        }
    )
    return str(node["metadata"]["uid"])


def write(lab: Lab, record: Any) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    metadata = {"name": LEASE[1], "annotations": {RECORD: text}}
    lab.cluster.nodes._registry.create(LEASES, LEASE[0], {"metadata": metadata, "spec": {}})


def record(lab: Lab) -> Any:
    return json.loads(lab.cluster.lease(*LEASE)["metadata"]["annotations"][RECORD])


async def test_what_is_held_is_listed_with_the_reason(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    write(lab, LATCHED)
    gone(lab, "lost")
    gone(lab, "kept", **{ANNOTATION_HOLD: "true"})
    lab.cluster.nodes.create({"metadata": {"name": "stranger"}})

    ended = await lab.run("deletions", "--output", "json")

    assert ended.status == 0
    assert ended.json["latched"] == "2026-05-04T12:00:00+00:00"
    assert ended.json["budget"] == {"limit": 1, "used": 0}
    reasons = {held["node"]: held["reason"] for held in ended.json["held"]}
    assert set(reasons) == {"lost", "kept"}
    assert "budget of deletions is exceeded" in reasons["lost"]
    assert f"the annotation {ANNOTATION_HOLD} keeps the node" in reasons["kept"]
    assert lab.writes() == []


async def test_people_get_a_table_and_are_told_what_to_do(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    write(lab, LATCHED)
    gone(lab, "lost")

    ended = await lab.run("deletions")

    assert "Nothing is deleted since 2026-05-04 12:00 UTC" in ended.out
    assert "WHY IT IS STILL THERE" in ended.out
    assert "`ovirt-ccm deletions allow [NODE…]` lets them go." in ended.out


async def test_without_a_lease_nothing_was_ever_deleted(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    ended = await lab.run("deletions")

    assert ended.status == 0
    assert "Deletions are allowed; 0 of 1 deletions of this hour are used." in ended.out
    assert "No node is held." in ended.out


async def test_a_node_that_only_waits_for_proof_says_so(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    gone(lab, "lost")

    ended = await lab.run("deletions", "--output", "json")

    assert ended.json["held"][0]["reason"].startswith("the running controller has not proven")


async def test_allow_lifts_the_latch_for_all_that_is_held(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    write(lab, LATCHED)
    uids = [gone(lab, "lost"), gone(lab, "lost-too")]

    ended = await lab.run("deletions", "allow")

    assert ended.status == 0
    rest: dict[str, Any] = {"deletions": [], "latched": None, "events": {}}
    assert record(lab) == rest | {"allowed": sorted(uids)}
    assert "lost, lost-too" in ended.out


async def test_allow_lets_only_those_go_that_are_named(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    write(lab, LATCHED)
    gone(lab, "lost")
    uid = gone(lab, "lost-too")

    await lab.run("deletions", "allow", "lost-too")

    assert record(lab)["allowed"] == [uid]


async def test_a_name_that_is_no_node_changes_nothing(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    write(lab, LATCHED)

    ended = await lab.run("deletions", "allow", "lots")

    assert ended.status == 1
    assert "the cluster has no node lots." in ended.err
    assert record(lab) == LATCHED


async def test_an_engine_that_is_away_lets_nothing_go_but_what_is_named(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    write(lab, LATCHED)
    uid = gone(lab, "lost")
    lab.engine.faults.availability = "down"

    refused = await lab.run("deletions", "allow")
    assert refused.status == 1
    assert "Or name the nodes." in refused.err
    assert record(lab) == LATCHED

    allowed = await lab.run("deletions", "allow", "lost")
    assert allowed.status == 0
    assert record(lab)["allowed"] == [uid]


@pytest.mark.parametrize("text", ["{", "[]"])
async def test_a_record_that_nobody_can_read_is_said_and_replaced(
    text: str, make_lab: MakeLab
) -> None:
    lab = await make_lab(many(1))
    write(lab, text)
    gone(lab, "lost")

    ended = await lab.run("deletions")
    assert "the record of deletions cannot be understood" in ended.out

    await lab.run("deletions", "allow")
    assert record(lab)["latched"] is None
