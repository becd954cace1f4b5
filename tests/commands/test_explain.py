"""`explain` against a simulated engine and cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from provider.decisions.decision import decide
from provider.decisions.explanation import explain as explain_node
from provider.decisions.explanation_text import text
from provider.decisions.identity import directory
from provider.decisions.lifecycle import Evidence, Presence
from provider.model import ANNOTATION_ENGINE
from provider.simulator.scenario import NicSpec
from tests.builders import ENGINE_ID, config, node, snapshot, uuid_of
from tests.commands.controllers import serving
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Ended, Lab, MakeLab

OTHER_ID = "22222222-2222-4222-8222-222222222222"


async def explain(lab: Lab, node: str) -> Ended:
    ended = await lab.run("explain", node, "--output", "json")
    assert lab.writes() == []
    return ended


async def test_a_waiting_node_shows_vm_rule_and_every_change_with_its_reason(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await explain(lab, "w0")

    said = ended.json
    changes = {(one["sign"], one["text"]): one["why"] for one in said["changes"]}
    assert ended.status == 0
    assert (said["match"], said["rule"]) == ("found", "systemUUID")
    assert changes["+", "label topology.kubernetes.io/zone=blue"] == "topology.zone is cluster"
    assert changes["+", "address InternalIP 10.0.0.1"] == "the guest reports it now"
    assert changes["+", f"providerID ovirt://{lab.id_of('w0')}"] == "the VM's id"
    assert any(sign == "-" and "uninitialized" in text for sign, text in changes)


async def test_people_get_a_diff(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await lab.run("explain", "w0")

    assert "of engine east, by its systemUUID" in ended.out
    assert "  + label topology.kubernetes.io/region=east" in ended.out
    assert "    address Hostname w0" in ended.out
    assert "Normal Synced: initialised from" in ended.out


async def test_a_node_that_waits_says_for_what(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("w0", nics=(NicSpec(addresses=()),)))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await explain(lab, "w0")

    assert ended.json["changes"] == []
    assert [(one["level"], one["reason"]) for one in ended.json["notices"]] == [
        ("Waiting", "NoInternalIP")
    ]


async def test_a_node_that_is_not_managed_says_how_it_could_be(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    lab.cluster.nodes.patch("w0", {"spec": {"taints": None}})

    ended = await lab.run("explain", "w0")

    assert "to adopt it: kubectl annotate node w0 ccm.ovirt.org/engine=" in ended.out


async def test_a_node_of_another_cloud_is_named_as_such(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.nodes.create(
        {"metadata": {"name": "far"}, "spec": {"providerID": "aws:///eu/i-1"}}
    )

    ended = await explain(lab, "far")

    assert (ended.json["match"], ended.json["changes"]) == ("foreign", [])
    assert "aws:///eu/i-1" in ended.json["is"]


async def test_an_unknown_node_lists_close_names(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("worker-1", system_uuid="")

    ended = await lab.run("explain", "worker-l")

    assert ended.status == 1
    assert ended.out == ""
    assert ended.err == "error: the cluster has no node worker-l. Did you mean worker-1?\n"


async def test_an_engine_that_is_away_is_said_and_makes_the_status_1(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    await lab.engine.stop()

    ended = await explain(lab, "w0")

    assert ended.status == 1
    assert ended.json["match"] == "unknown"
    assert ended.err.startswith("error: engine east: cannot connect")


async def test_without_a_cluster_it_is_one_sentence(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    await lab.cluster.stop()

    ended = await lab.run("explain", "w0")

    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: list nodes: ")


async def test_a_cluster_without_nodes_says_so(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    ended = await lab.run("explain", "w0")

    assert ended.err == "error: the cluster has no node w0. It has no node at all.\n"


async def test_nothing_alike_points_at_kubectl(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("alpha", system_uuid="")

    ended = await lab.run("explain", "zzz")

    assert "`kubectl get nodes` lists them." in ended.err


async def test_a_node_in_doubt_is_said_to_be(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("twin"), vm("twin", cluster="red", host="hv-2", id=OTHER_ID))
    lab.cluster.kubelet("twin", system_uuid="")

    ended = await lab.run("explain", "twin")

    assert "in doubt: more than one instance fits" in ended.out
    assert "Warning IdentityAmbiguous" in ended.out


async def test_an_initialised_node_shows_only_what_changes(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    engine_id = lab.engine.world.instance_id
    labels = {"topology.kubernetes.io/zone": "red"}
    lab.cluster.nodes.patch(
        "w0",
        {
            "metadata": {"annotations": {"ccm.ovirt.org/engine": engine_id}, "labels": labels},
            "spec": {"taints": None, "providerID": f"ovirt://{lab.id_of('w0')}"},
        },
    )
    addresses = [{"type": "InternalIP", "address": "10.9.9.9"}]
    lab.cluster.nodes.patch("w0", {"status": {"addresses": addresses}}, subresource="status")

    ended = await lab.run("explain", "w0")

    assert "managed: it was registered or initialised by this controller" in ended.out
    assert "  - label topology.kubernetes.io/zone=red" in ended.out
    assert "  + label topology.kubernetes.io/zone=blue" in ended.out
    assert "  - address InternalIP 10.9.9.9" in ended.out
    assert "+ providerID" not in ended.out


async def test_without_a_guest_agent_the_kubelets_address_is_kept(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("w0", agent=False))
    own = [("InternalIP", "10.9.9.9"), ("Hostname", "w0")]
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"), addresses=own)

    ended = await explain(lab, "w0")

    assert ("Warning", "NoGuestAgent") in [
        (one["level"], one["reason"]) for one in ended.json["notices"]
    ]
    assert not any("address" in one["text"] for one in ended.json["changes"])


GPU = "example.com/gpu"
RULE = {"tag": "gpu", "labels": {GPU: "yes"}, "taints": [f"{GPU}:NoSchedule"]}


async def test_what_rules_want_is_shown_with_the_rule_that_wants_it(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("w0", tags=("gpu",), custom_properties={"rack": "r7"}))
    lab.configure(rules=[RULE])
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await explain(lab, "w0")

    changes = {(one["sign"], one["text"]): one["why"] for one in ended.json["changes"]}
    assert changes["+", f"label {GPU}=yes"] == "rule: tag gpu"
    assert changes["+", f"taint {GPU}:NoSchedule"] == "rule: tag gpu"
    assert ended.json["instance_facts"]["properties"] == "rack=r7"


async def test_what_no_rule_wants_any_more_is_shown_to_go(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    record = f'{{"labels":{{"{GPU}":"yes"}},"taints":["{GPU}:NoSchedule"]}}'
    taints = [*lab.cluster.nodes.get("w0")["spec"]["taints"], {"key": GPU, "effect": "NoSchedule"}]
    metadata = {"labels": {GPU: "yes"}, "annotations": {"ccm.ovirt.org/applied": record}}
    lab.cluster.nodes.patch("w0", {"metadata": metadata, "spec": {"taints": taints}})

    ended = await explain(lab, "w0")

    changes = {(one["sign"], one["text"]): one["why"] for one in ended.json["changes"]}
    assert changes["-", f"label {GPU}=yes"] == "no rule wants it any more"
    assert changes["-", f"taint {GPU}:NoSchedule"] == "no rule wants it any more"


async def test_what_becomes_of_a_node_is_told_with_what_is_missing(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("w0", status="down"))
    engine = {"ccm.ovirt.org/engine": lab.engine.world.instance_id}
    for name, vm_id in (("down", lab.id_of("w0")), ("gone", OTHER_ID)):
        metadata = {"name": name, "annotations": engine}
        lab.cluster.nodes.create(
            {"metadata": metadata, "spec": {"providerID": f"ovirt://{vm_id}"}}
        )

    down, gone = await explain(lab, "down"), await explain(lab, "gone")
    told = await lab.run("explain", "gone")

    assert down.json["verdict"] == {
        "kind": "mark",
        "reason": "the VM is down and the node is not ready",
        "missing": [],
    }
    assert gone.json["verdict"]["kind"] == "wait"
    assert gone.json["verdict"]["missing"][0] == "1 of 3 complete listings without it"
    assert "  still missing: 1 of 3 complete listings without it" in told.out


async def test_the_table_is_the_text_that_the_api_serves(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    table = await lab.run("explain", "w0")
    told = await lab.run("get", "node", "w0", "--output", "json")

    shown = [line.rstrip() for line in table.out.splitlines()]
    assert shown == told.json["text"].splitlines()


# ---- a running controller --------------------------------------------------------------------


def answer_of_a_controller(**engine: Any) -> dict[str, Any]:
    """What a replica that does not lead says of a node whose VM is missing from two listings."""
    gone = node(
        "gone",
        taints=(),
        is_ready=False,
        annotations={ANNOTATION_ENGINE: ENGINE_ID},
        provider_id=f"ovirt://{uuid_of('gone')}",
    )
    known = directory([snapshot()], {"east": ""}, match_fqdn=False)
    evidence = Evidence(listed=98.0, absences=2, presence=Presence.GONE, asked=90.0)
    told = explain_node(gone, decide(gone, known, config()), known, config(), evidence, 100.0)
    return {
        "name": "gone",
        "ready": False,
        "managed": True,
        "initialized": True,
        "deleting": False,
        "provider_id": gone.provider_id,
        "match": told.match,
        "drift": [],
        "notices": [],
        "verdict": msgspec.to_builtins(told.verdict),
        "engines": [{"name": "east", "as_of": "2026-05-04T12:00:00Z", "error": None} | engine],
        "leading": False,
        "explanation": msgspec.to_builtins(told),
        "text": text(told),
    }


async def test_a_running_controller_adds_its_evidence_and_whether_it_leads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path, capsys) as controller:
        controller.answers["/v1/nodes/gone"] = answer_of_a_controller()

        table = await controller.run("explain", "gone")
        told = await controller.run("explain", "gone", "--output", "json")

    assert table.status == 0
    assert "  still missing: 2 of 3 complete listings without it" in table.out
    assert "2 of 3 complete listings lack the VM" in table.out
    assert "gone, 10 s ago" in table.out
    assert table.out.endswith("This replica does not lead: the leader may know more.\n")
    assert (told.json["leading"], told.json["evidence"]["absences"]) == (False, 2)


@pytest.mark.parametrize("command", [("explain",), ("get", "node")])
async def test_a_controller_whose_engine_is_away_tells_what_it_knows_and_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    async with serving(tmp_path, capsys) as controller:
        answer = answer_of_a_controller(error="engine east: cannot connect.")
        controller.answers["/v1/nodes/gone"] = answer

        ended = await controller.run(*command, "gone")

    assert ended.status == 1
    assert ended.out.startswith("Node gone\n")
    assert "What is shown of it is as of 2026-05-04 12:00:00 UTC." in ended.err
