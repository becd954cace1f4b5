"""`check` and `explain` against the real API server: RBAC, and the adoption that they advise."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from tests.commands.conftest import make_lab
from tests.kube.product import grant
from tests.ovirt.lab import vm

if TYPE_CHECKING:
    from tests.commands.conftest import Ended, MakeLab
    from tests.kube.admin import Admin
    from tests.kube.control_plane import ControlPlane

__all__ = ["make_lab"]  # a fixture of the commands, used here too


def findings(ended: Ended, subject: str) -> list[tuple[str, str]]:
    return [
        (one["result"], one["message"])
        for one in ended.json["findings"]
        if one["subject"] == subject
    ]


async def test_the_role_of_the_product_is_enough(
    control_plane: ControlPlane, make_lab: MakeLab
) -> None:
    lab = await make_lab(vm("w0"))
    lab.kubeconfig = await asyncio.to_thread(grant, control_plane)

    ended = await lab.run("check", "--output", "json")

    results = findings(ended, "cluster")
    assert ("ok", "we may do all that the controller does") in results
    assert "knows us as system:serviceaccount:kube-system:" in results[0][1]


async def test_a_user_without_rights_is_told_each_of_them(
    control_plane: ControlPlane, make_lab: MakeLab
) -> None:
    lab = await make_lab(vm("w0"))
    lab.kubeconfig = control_plane.kubeconfig_for("nobody")

    ended = await lab.run("check", "--output", "json")

    failed = [message for result, message in findings(ended, "cluster") if result == "failed"]
    assert ended.status == 1
    assert failed[0] == (
        "the API server refuses us: get nodes, list nodes, watch nodes, create nodes, patch"
        " nodes, delete nodes, patch nodes/status, create events, patch events, get"
        " leases.coordination.k8s.io, update leases.coordination.k8s.io, patch"
        " leases.coordination.k8s.io, watch leases.coordination.k8s.io, create"
        " leases.coordination.k8s.io, create tokenreviews.authentication.k8s.io, create"
        " subjectaccessreviews.authorization.k8s.io."
    )
    assert "nodes is forbidden" in failed[1]


async def test_the_command_that_adopts_a_node_works_with_kubectl(
    control_plane: ControlPlane, admin: Admin, node_prefix: str, make_lab: MakeLab
) -> None:
    name = f"{node_prefix}w"
    lab = await make_lab(vm(name))
    lab.kubeconfig = control_plane.kubeconfig
    await admin.create_node(name, taints=(), system_uuid=lab.id_of(name))
    before = await lab.run("explain", name)
    command = re.search(r"to adopt it: kubectl (.*)", before.out)
    assert command

    await asyncio.to_thread(control_plane.kubectl, *command[1].split())

    after = await lab.run("explain", name, "--output", "json")
    texts = [one["text"] for one in after.json["changes"]]
    assert after.json["managed"].startswith("managed: ")
    assert f"providerID ovirt://{lab.id_of(name)}" in texts
    assert "label topology.kubernetes.io/zone=blue" in texts
