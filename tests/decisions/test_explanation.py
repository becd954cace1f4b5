"""All that is said about one node."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from provider.decisions.decision import decide
from provider.decisions.explanation import EvidenceSoFar, Explanation, MatchedInstance, explain
from provider.decisions.explanation_text import text
from provider.decisions.identity import directory
from provider.decisions.lifecycle import Evidence, Presence
from provider.decisions.plan import apply
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    ANNOTATION_PROVIDED_NODE_IP,
    LABEL_INSTANCE_TYPE,
    LABEL_ZONE,
    Cluster,
    InstanceStatus,
    Taint,
)
from tests.builders import (
    ENGINE_ID,
    config,
    instance,
    node,
    snapshot,
    uuid_of,
)

if TYPE_CHECKING:
    from provider.model import Instance, Node

OURS = {ANNOTATION_ENGINE: ENGINE_ID}
RULE = {"tag": "gpu", "labels": {"pool": "gpu"}}


def explained(
    node: Node,
    *vms: Instance,
    evidence: Evidence | None = None,
    silent: str = "",
    **sections: Any,
) -> Explanation:
    """The explanation at the time 100, of one engine that has these VMs."""
    known = directory(
        [] if silent else [snapshot(*vms, shared_addresses={ip_address("10.0.0.9")})],
        {"east": silent},
        match_fqdn=False,
    )
    settings = config(**sections)
    return explain(node, decide(node, known, settings), known, settings, evidence, 100.0)


def changes(explanation: Explanation) -> dict[tuple[str, str], str]:
    return {(change.sign, change.text): change.why for change in explanation.changes}


def settled() -> Node:
    """A node of ours that has all that its VM gives it."""
    known = directory([snapshot(instance())], {"east": ""}, match_fqdn=False)
    patch = decide(node(), known, config()).plan.patch
    assert patch is not None
    return replace(apply(node(), patch), is_ready=False)


def gone(**facts: Any) -> Node:
    """A node of ours that is not ready and whose VM is in no listing."""
    facts = {"annotations": OURS, "provider_id": f"ovirt://{uuid_of('gone')}"} | facts
    return node("gone", taints=(), is_ready=False, **facts)


# ---- the two sides ---------------------------------------------------------------------------


def test_a_node_that_is_found_names_its_vm_and_the_rule() -> None:
    said = explained(node(), instance())

    assert said.instance == MatchedInstance(uuid_of("worker-1"), "worker-1", "east")
    assert (said.match, said.rule) == ("found", "systemUUID")
    assert said.identity.endswith("of engine east, by its systemUUID")
    assert said.instance_facts["cluster"] == "blue"
    assert said.engine_facts["selected"] == "1 VMs, 0 unreadable"
    assert said.engine_facts["shared"] == "10.0.0.9"


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("absent", "no selected VM, by no rule", explained(node())),
        ("absent", "has the id", explained(gone())),
        ("foreign", "aws:///i-1", explained(node(provider_id="aws:///i-1"))),
        ("unknown", "not known now: ", explained(node(), silent="engine east: away.")),
        (
            "ambiguous",
            "in doubt: more than one instance fits",
            explained(
                node("twin", system_uuid=""),
                instance("twin"),
                instance("twin", id=uuid_of("other")),
            ),
        ),
    ],
)
def test_a_node_that_is_not_found_says_why(kind: str, words: str, said: Explanation) -> None:
    assert said.match == kind
    assert words in said.identity
    assert (said.instance, said.rule, said.instance_facts, said.engine_facts) == (
        None,
        None,
        {},
        {},
    )


def test_engines_that_are_silent_are_named_with_the_reason() -> None:
    said = explained(node(), silent="engine east: away.")

    assert said.silent_engines == {"east": "engine east: away."}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"is_deleting": True}, "it is being deleted"),
        ({}, "it waits to be initialised"),
        ({"taints": (), "annotations": OURS}, "registered or initialised by this controller"),
        ({"taints": ()}, "not managed"),
    ],
)
def test_what_is_done_to_the_node_at_all_comes_first(facts: dict[str, Any], words: str) -> None:
    assert words in explained(node(**facts), instance()).attitude


def test_what_is_not_known_is_shown_as_such() -> None:
    bare = node(created=None, is_ready=None, kubelet_version="", addresses=(), taints=())
    vm = instance(
        status=None, started=None, host=None, cluster=None, interfaces=(), nics=(), fqdn=None
    )

    said = explained(bare, vm)

    assert said.node_facts["ready"] == "not known"
    assert said.node_facts["created"] == "-"
    assert said.instance_facts["guest"] == "reports nothing"
    assert said.instance_facts["status"] == "not known"
    assert said.instance_facts["cluster"] == "-"


# ---- what would be written -------------------------------------------------------------------


def test_every_change_has_its_reason() -> None:
    rules = [RULE, {"custom_property": "rack", "taints": ["rack=r7:NoSchedule"]}]
    vm = instance(properties=(("rack", "r7"),))

    found = changes(explained(node(), vm, rules=rules))

    assert found["+", f"providerID ovirt://{vm.id}"] == "the VM's id"
    assert found["+", f"label {LABEL_ZONE}=blue"] == "topology.zone is cluster"
    assert found["+", f"label {LABEL_INSTANCE_TYPE}=4cpu-8gb"] == "the VM's CPUs and memory"
    assert found["+", "taint rack=r7:NoSchedule"] == "rule: custom property rack"
    assert found["+", "address InternalIP 10.0.0.1"] == "the guest reports it now"
    assert found[" ", "address Hostname worker-1"] == ""
    gone = next(key for key in found if key[1].startswith("taint node.cloudprovider"))
    assert (gone[0], found[gone]) == ("-", "an InternalIP is known: the node can be used")


def test_a_vm_with_an_instance_type_says_that_the_label_is_from_it() -> None:
    found = changes(explained(node(), instance(instance_type="Large")))

    assert found["+", f"label {LABEL_INSTANCE_TYPE}=Large"] == "the VM's instance type"


def test_what_changes_is_shown_before_and_after() -> None:
    there = settled()
    vm = instance(cluster=Cluster("red", "paris"), ips=("10.0.0.2",))

    found = changes(explained(there, vm))

    assert found["-", f"label {LABEL_ZONE}=blue"] == ""
    assert found["+", f"label {LABEL_ZONE}=red"] == "topology.zone is cluster"
    assert ("-", "address InternalIP 10.0.0.1") in found


def test_what_no_rule_wants_any_more_is_shown_to_go() -> None:
    there = settled()
    pool = Taint("pool", "NoSchedule")
    record = '{"labels":{"pool":"gpu"},"taints":["pool:NoSchedule"]}'
    there = replace(
        there,
        labels={**there.labels, "pool": "gpu"},
        annotations={**there.annotations, ANNOTATION_APPLIED: record},
        taints=(pool, Taint("mine", "NoSchedule")),
    )

    found = changes(explained(there, instance()))

    assert found["-", "label pool=gpu"] == "no rule wants it any more"
    assert found["-", "taint pool:NoSchedule"] == "no rule wants it any more"
    assert not any("mine" in line for _, line in found)


def test_an_address_says_where_it_was_learned() -> None:
    down = explained(node(), instance(status=InstanceStatus.DOWN))
    provided = {ANNOTATION_PROVIDED_NODE_IP: "10.9.9.9"}
    mute = explained(node(annotations=provided), instance(interfaces=()))

    assert changes(down)["+", "address InternalIP 10.0.0.1"] == "last reported by the guest"
    assert changes(mute)["+", "address InternalIP 10.9.9.9"] == "no guest agent: the kubelet's own"


def test_a_node_that_is_not_managed_says_how_it_could_be() -> None:
    said = explained(node(taints=()), instance())

    assert said.changes == ()
    assert said.adoption is not None
    assert f"  to adopt it: {said.adoption.command}\n" in text(said)
    assert "  nothing\n  when adopted: " in text(said)


def test_the_text_is_aligned_and_says_what_stays_what_goes_and_what_comes() -> None:
    there = settled()
    vm = instance(ips=("10.0.0.2",))

    told = text(explained(there, vm))

    assert "  - address InternalIP 10.0.0.1  # the guest reports it now\n" in told
    assert "    address Hostname worker-1\n" in told
    assert "  ready       no\n" in told


# ---- what becomes of it ----------------------------------------------------------------------


def test_without_a_running_controller_one_listing_is_all_the_evidence() -> None:
    said = explained(gone())

    assert (said.verdict.kind, said.evidence) == ("wait", None)
    assert said.verdict.missing[0] == "1 of 3 complete listings without it"
    assert "  still missing: 1 of 3 complete listings without it\n" in text(said)
    assert "What has been seen" not in text(said)


def test_a_running_controller_tells_its_evidence_and_judges_by_it() -> None:
    evidence = Evidence(
        listed=98.0,
        not_ready_since=40.0,
        absences=3,
        presence=Presence.GONE,
        asked=97.0,
        obstacle="the budget is exceeded",
    )

    said = explained(gone(), evidence=evidence)

    assert said.verdict.kind == "hold"
    assert said.evidence == EvidenceSoFar(
        listed=2.0,
        not_ready=60.0,
        absences=3,
        confirmations=3,
        presence="gone",
        asked=3.0,
        down_first=None,
        down_last=None,
        obstacle="the budget is exceeded",
    )
    told = text(said)
    assert "  absences   3 of 3 complete listings lack the VM\n" in told
    assert "  asked      gone, 3 s ago\n" in told
    assert "  not ready  for 60 s\n" in told
    assert "  obstacle   the budget is exceeded\n" in told


def test_evidence_that_is_not_there_yet_is_said_to_be_missing() -> None:
    told = text(explained(settled(), instance(), evidence=Evidence()))

    assert "  listed     the engine cannot be listed now\n" in told
    assert "  not ready  no\n" in told
    assert "  asked      not yet\n" in told
    assert "  obstacle   none: the budget lets nodes be deleted\n" in told


def test_the_readings_that_said_down_are_told() -> None:
    evidence = Evidence(listed=99.0, not_ready_since=10.0, down_since=80.0, down_at=95.0)

    told = text(
        explained(settled(), instance(status=InstanceStatus.DOWN, started=None), evidence=evidence)
    )

    assert "  down       first 20 s ago, last 5 s ago\n" in told


# ---- the forms -------------------------------------------------------------------------------


def test_what_would_be_said_is_a_paragraph_of_its_own() -> None:
    told = text(explained(node(), instance(interfaces=(), status=InstanceStatus.POWERING_UP)))

    assert "\n\nWhat would be said\n  Waiting NoInternalIP: " in told


def test_every_explanation_survives_the_way_to_a_client() -> None:
    evidence = Evidence(listed=98.0, absences=1, presence=Presence.UNSELECTED, asked=99.0)
    said = explained(gone(), evidence=evidence)
    also = explained(node(taints=()), instance(), rules=[RULE])

    for one in (said, also):
        assert msgspec.json.decode(msgspec.json.encode(one), type=Explanation) == one
