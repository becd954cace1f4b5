"""`check` against a simulated engine and cluster: what is wrong, and that nothing is written."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import trustme

from provider.simulator.cluster import BadGateway, Refusal
from provider.simulator.scenario import NicSpec, UserSpec
from tests.ovirt.lab import PASSWORD, many, vm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Ended, Lab, MakeLab


def problem(ended: Ended) -> tuple[str, str]:
    """The message and the remedy of the only problem that was found."""
    (found,) = [one for one in ended.json["findings"] if one["result"] == "failed"]
    return found["message"], found["remedy"]


def outcomes(ended: Ended) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["outcome"], one["reason"]) for one in ended.json["instances"]}


def nodes(ended: Ended) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in ended.json["nodes"]}


async def check(lab: Lab, *, has_cluster: bool = True) -> Ended:
    """The result as JSON; nothing was written."""
    ended = await lab.run("check", "--output", "json", has_cluster=has_cluster)
    assert lab.writes() == []
    return ended


# ---- nothing is wrong ------------------------------------------------------------------------


async def test_a_sound_set_up_has_no_problem_and_says_what_would_happen(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(2), vm("asleep", status="down"))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await check(lab)

    assert ended.status == 0
    assert ended.json["ok"] is True
    assert outcomes(ended) == {
        "asleep": ("waits", "the VM is down"),
        "w0": ("would be initialised", ""),
        "w1": ("would be registered", ""),
    }


async def test_the_table_names_node_vm_status_zone_addresses_and_outcome(
    make_lab: MakeLab,
) -> None:
    nic = NicSpec(addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")))
    lab = await make_lab(vm("w0", nics=(nic,)))

    ended = await lab.run("check")

    assert "✓ the tag docker-host exists" in ended.out
    row = next(line for line in ended.out.splitlines() if line.startswith("w0 "))
    assert " ".join(row.split()) == "w0 w0 up blue 10.0.0.1, fd00::1 would be registered"
    assert ended.out.rstrip().endswith("Nothing is wrong.")
    assert "\x1b" not in ended.out


async def test_a_node_that_was_initialised_is_said_to_be(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.nodes.create({"metadata": {"name": "w0"}, "spec": {}})
    annotation = {"ccm.ovirt.org/engine": lab.engine.world.instance_id}
    lab.cluster.nodes.patch("w0", {"metadata": {"annotations": annotation}})

    ended = await check(lab)

    assert outcomes(ended)["w0"][0] == "would be refreshed"


# ---- bad input -------------------------------------------------------------------------------


async def test_a_wrong_configuration_ends_with_2_and_every_fault(make_lab: MakeLab) -> None:
    lab = await make_lab()
    lab.configure(intervals={"pol": "3s"}, selection={"search": "status=up"})

    ended = await lab.run("check")

    assert ended.status == 2
    assert ended.out == ""
    assert "intervals.pol: is not a known key; did you mean 'poll'?" in ended.err
    assert "selection.search: 'status' is not allowed here" in ended.err


async def test_an_engine_that_cannot_be_reached_is_one_sentence(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    await lab.engine.stop()

    ended = await check(lab)

    message, remedy = problem(ended)
    assert ended.status == 1
    assert message.startswith("engine east: cannot connect to 127.0.0.1:")
    assert "its address" in remedy


async def test_a_wrong_password_is_tried_once(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.engine.faults.refusal_seconds = 0
    lab.password_file.write_text("wrong", encoding="utf-8")

    ended = await lab.run("check", "--output", "json")

    message, remedy = problem(ended)
    assert ended.status == 1
    assert "refuses the log-in of reader@internal" in message
    assert "password_file" in remedy
    assert lab.engine.requests.counts["POST /sso/oauth/token"] == 1


async def test_an_untrusted_certificate_says_where_the_ca_is(make_lab: MakeLab) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    lab = await make_lab(many(1), ssl_context=context)

    ended = await check(lab)

    message, remedy = problem(ended)
    assert "certificate is not trusted" in message
    assert "pki-resource" in remedy


async def test_an_unverified_certificate_is_warned_of(make_lab: MakeLab) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    lab = await make_lab(many(1), ssl_context=context)
    lab.configure(engine={"insecure": True})

    ended = await check(lab)

    warnings = [one for one in ended.json["findings"] if one["result"] == "warning"]
    assert ended.status == 0
    assert "anybody on the way can read the password" in warnings[0]["message"]


async def test_a_missing_tag_names_the_command_that_makes_it(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.configure(selection={"tag": "no-such-tag"})

    ended = await check(lab)

    message, remedy = problem(ended)
    assert message == "engine east: has no tag no-such-tag."
    assert "ovirt-ccm tag NAME" in remedy


async def test_a_tag_that_no_vm_carries_is_a_problem(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("other", tags=()))

    ended = await check(lab)

    message, remedy = problem(ended)
    assert message == "no VM carries the tag docker-host."
    assert "ovirt-ccm tag NAME" in remedy


async def test_a_search_that_matches_nothing_is_a_problem(make_lab: MakeLab) -> None:
    lab = await make_lab(many(2))
    lab.configure(selection={"search": "name=nothing*"})

    ended = await check(lab)

    message, _ = problem(ended)
    assert message == "no VM is selected, though 2 carry the tag docker-host."
    assert outcomes(ended)["w0"] == (
        "not selected",
        "selection.search 'name=nothing*' does not find it",
    )


async def test_vms_outside_of_the_selected_clusters_are_named_with_the_reason(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(vm("in"), vm("out", cluster="red", host="hv-2"))
    lab.configure(selection={"clusters": ["blue"]})
    other = await check(lab)
    lab.configure(selection={"data_centers": ["paris"]})

    ended = await check(lab)

    assert outcomes(other)["out"][1] == "its cluster red is not among selection.clusters"
    assert outcomes(ended)["out"][1] == (
        "its data centre rome is not among selection.data_centers"
    )


async def test_a_user_who_may_not_see_everything_is_told_the_role(make_lab: MakeLab) -> None:
    lab = await make_lab(
        many(1), users=(UserSpec(name="plain@internal", password=PASSWORD, role="UserRole"),)
    )
    lab.configure(engine={"username": "plain@internal"})

    ended = await check(lab)

    message, remedy = problem(ended)
    assert message == "engine east: the account may not see all VMs of the engine."
    assert "ReadOnlyAdmin" in remedy


async def test_an_api_server_that_refuses_us_is_one_sentence(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.faults.inject(Refusal(401, "Unauthorized"), times=None)

    ended = await check(lab)

    message, remedy = problem(ended)
    assert ended.status == 1
    assert "refused by a fault" in message
    assert "has not expired" in remedy


async def test_an_api_server_that_is_away_is_one_sentence(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    await lab.cluster.stop()

    ended = await check(lab)

    assert ended.status == 1
    assert "is the API server up?" in problem(ended)[1]
    assert outcomes(ended)["w0"][0] == "would be registered"


async def test_missing_rights_are_named(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.denied |= {"patch nodes/status", "delete nodes"}

    ended = await check(lab)

    message, remedy = problem(ended)
    assert message == "the API server refuses us: delete nodes, patch nodes/status."
    assert "manifests/rbac.yaml" in remedy


async def test_rights_that_cannot_be_asked_for_are_not_checked(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.faults.inject(BadGateway(), times=None, path="reviews")

    ended = await check(lab)

    (skipped,) = [one for one in ended.json["findings"] if one["result"] == "not checked"]
    assert ended.status == 0
    assert skipped["message"].startswith("permissions could not be asked for: ")


async def test_vms_that_no_kubelet_of_this_cluster_uses_hint_at_a_shared_tag(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(7))
    for machine in lab.engine.world.vms.values():
        machine.started -= 3_600_000

    ended = await check(lab)

    (hint,) = [one for one in ended.json["findings"] if one["result"] == "warning"]
    assert ended.status == 0
    assert "w0, w1, w2, w3, w4 and 2 more" in hint["message"]
    assert "a tag of its own" in hint["remedy"]


@pytest.mark.parametrize("content", [None, "nonsense: ["], ids=["missing", "not YAML"])
async def test_a_kubeconfig_that_cannot_be_used_is_one_sentence(
    make_lab: MakeLab, content: str | None
) -> None:
    lab = await make_lab(many(1))
    lab.kubeconfig.unlink()
    if content:
        lab.kubeconfig.write_text(content, encoding="utf-8")

    ended = await check(lab)

    message, remedy = problem(ended)
    assert message.startswith(f"the kubeconfig {lab.kubeconfig} cannot be used")
    assert "kubectl" in remedy


async def test_without_a_cluster_the_engines_are_checked_all_the_same(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    ended = await check(lab, has_cluster=False)

    (skipped,) = [one for one in ended.json["findings"] if one["result"] == "not checked"]
    assert ended.status == 0
    assert "--kubeconfig" in skipped["message"]
    assert outcomes(ended)["w0"][0] == "would be registered"
    assert ended.json["nodes_known"] is False


async def test_nodes_of_an_engine_that_is_away_are_no_problems_of_their_own(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))
    await lab.engine.stop()

    ended = await check(lab)

    assert problem(ended)[0].startswith("engine east: cannot connect")
    assert "VMs of an engine are not known yet" in str(nodes(ended)["w0"]["reason"])


async def test_nodes_that_wait_for_the_same_engine_are_one_line(make_lab: MakeLab) -> None:
    lab = await make_lab(many(2))
    for name in ("w0", "w1"):
        lab.cluster.kubelet(name, system_uuid=lab.id_of(name))
    await lab.engine.stop()

    ended = await lab.run("check")

    (line,) = [line for line in ended.out.splitlines() if line.startswith("  w0")]
    assert line.startswith("  w0, w1: the VMs of an engine are not known yet: engine east: cannot")


async def test_one_engine_that_is_away_does_not_hide_the_other(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    gone = lab.engine_section(name="west", url="http://127.0.0.1:1/ovirt-engine")
    lab.configure(engines=[lab.engine_section(), gone])

    ended = await check(lab)

    assert problem(ended)[0].startswith("engine west: cannot connect")
    assert set(outcomes(ended)) == {"w0"}


# ---- VMs that would become no node -----------------------------------------------------------


async def test_two_vms_of_one_name_are_refused_and_counted(make_lab: MakeLab) -> None:
    lab = await make_lab(
        vm("twin"),
        vm(
            "twin",
            cluster="red",
            host="hv-2",
            id="2" * 8 + "-" + "-".join(["2" * 4] * 3) + "-" + "2" * 12,
        ),
    )

    ended = await check(lab)

    assert ended.status == 1
    assert problem(ended)[0] == "no node can be made of twin, twin."
    assert "2 VMs would be the node 'twin'" in outcomes(ended)["twin"][1]


async def test_a_vm_that_waits_says_for_what(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("silent", agent=False))

    ended = await check(lab)

    assert outcomes(ended)["silent"] == (
        "waits",
        "its guest reports no address that can be an InternalIP",
    )


# ---- nodes that are not ours -----------------------------------------------------------------


def unmanaged(lab: Lab, name: str, system_uuid: str) -> None:
    """A node of a kubelet that was started without an external cloud provider."""
    lab.cluster.kubelet(name, system_uuid=system_uuid)
    lab.cluster.nodes.patch(name, {"spec": {"taints": None}})


async def test_a_node_that_is_a_selected_vm_can_be_adopted(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    unmanaged(lab, "w0", lab.id_of("w0"))

    ended = await check(lab)

    found = nodes(ended)["w0"]
    engine_id = lab.engine.world.instance_id
    assert ended.status == 0
    assert outcomes(ended)["w0"][0] == "not managed"
    assert found["adopt"] == f"kubectl annotate node w0 ccm.ovirt.org/engine={engine_id}"
    assert "zone: none -> blue" in str(found["changes"])


async def test_people_are_told_how_to_adopt_a_node_and_what_that_does(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1), vm("stray", tags=()))
    unmanaged(lab, "w0", lab.id_of("w0"))
    unmanaged(lab, "node-9", lab.id_of("stray"))

    ended = await lab.run("check")

    assert "    adopt it: kubectl annotate node w0 ccm.ovirt.org/engine=" in ended.out
    assert "No pod is stopped or kept away" in ended.out
    assert "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule" in ended.out
    assert "    it is VM stray of engine east" in ended.out


async def test_the_adoption_that_is_advised_lets_the_controller_take_the_node(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    unmanaged(lab, "w0", lab.id_of("w0"))
    key, _, value = str(nodes(await check(lab))["w0"]["adopt"]).split()[-1].partition("=")
    lab.cluster.nodes.patch("w0", {"metadata": {"annotations": {key: value}}})

    ended = await lab.run("check", "--output", "json")

    assert outcomes(ended)["w0"][0] == "would be refreshed"
    assert nodes(ended) == {}


async def test_a_node_whose_vm_lacks_the_tag_names_the_command(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1), vm("stray", tags=()))
    unmanaged(lab, "node-9", lab.id_of("stray"))

    ended = await check(lab)

    assert nodes(ended)["node-9"]["remedy"] == (
        "it is VM stray of engine east, without the tag docker-host: ovirt-ccm tag stray"
    )


async def test_a_node_whose_vm_is_not_selected_says_why(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1), vm("stray", cluster="red", host="hv-2"))
    lab.configure(selection={"clusters": ["blue"]})
    unmanaged(lab, "node-9", lab.id_of("stray"))

    ended = await check(lab)

    assert "its cluster red is not among" in str(nodes(ended)["node-9"]["remedy"])


async def test_a_node_that_waits_for_a_vm_that_is_none_is_a_problem(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("bare-metal", system_uuid="")

    ended = await check(lab)

    assert ended.status == 1
    assert problem(ended)[0] == "nodes that wait to be initialised, and in vain: bare-metal."


async def test_a_node_of_another_cloud_is_left_alone(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.nodes.create(
        {"metadata": {"name": "far"}, "spec": {"providerID": "aws:///eu/i-1"}}
    )

    ended = await check(lab)

    assert ended.status == 0
    assert "another cloud provider" in str(nodes(ended)["far"]["reason"])


# ---- how it looks ----------------------------------------------------------------------------


async def test_people_read_the_problem_its_remedy_and_the_reason_in_the_table(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(vm("in"), vm("out", cluster="red"))
    lab.configure(selection={"clusters": ["blue"], "search": "name=nothing"})

    ended = await lab.run("check", has_cluster=False)

    assert "✗ no VM is selected, though 2 carry the tag docker-host." in ended.out
    assert "Look at clusters, data_centers and search of the selection." in ended.out
    assert "not selected: its cluster red is not among selection.clusters" in ended.out
    assert "this is so if it has none" in ended.out
    assert ended.out.rstrip().endswith("1 problem found.")


async def test_a_terminal_without_utf_8_gets_plain_marks(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await make_lab(vm("узел", tags=()))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    process = await lab.start("check")
    out, err = await process.communicate()

    assert process.returncode == 1
    assert b"FAIL no VM carries the tag docker-host." in out
    assert err == b""


async def test_eighty_columns_are_kept(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = await make_lab(many(3), vm("asleep", status="down"))
    monkeypatch.setenv("COLUMNS", "80")

    ended = await lab.run("check")

    assert max(map(len, ended.out.splitlines())) <= 80
