"""VMs without a node get one, and it gives way to a kubelet's, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kube.admin import UNINITIALIZED
from tests.kube.product import (
    Product,
    addresses,
    eventually,
    grant,
    is_initialised,
    is_settled,
    taint_keys,
    vm,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewControlPlane, NewProduct

_CREATE = {
    "mode": "create",
    "delay": "1s",
    "labels": {"role": "docker"},
    "taints": ["dedicated=db:NoSchedule"],
}


async def test_a_vm_without_a_node_gets_one(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}registered"
    async with new_product(vm(name, "10.2.1.1", "fd00:21::1"), registration=_CREATE) as product:
        node = await product.node_when(name, is_settled)
        event = await product.event(name, "Registered")
        version = node["metadata"]["resourceVersion"]
        await product.periods(3)
        later = await admin.node(name)

    machine = product.vm(name)
    assert node["spec"]["providerID"] == f"ovirt://{machine.id}"
    assert (
        node["metadata"]["labels"].items()
        >= {
            "role": "docker",
            "topology.kubernetes.io/zone": "blue",
            "topology.kubernetes.io/region": "east",
            "node.kubernetes.io/instance-type": "2cpu-2gb",
        }.items()
    )
    assert (
        node["metadata"]["annotations"].items()
        >= {
            "ccm.ovirt.org/registered": "true",
            "ccm.ovirt.org/engine": product.engine.world.instance_id,
        }.items()
    )
    assert addresses(node) == ["10.2.1.1", "fd00:21::1"]
    assert addresses(node, "Hostname") == [name]
    assert "dedicated" in taint_keys(node)
    # Pods stay away although kube-controller-manager has looked at it: no kubelet is there.
    assert "node.kubernetes.io/not-ready" in taint_keys(later or {})
    assert UNINITIALIZED["key"] not in taint_keys(node)
    assert event["type"] == "Normal"
    assert [write.verb for write in product.writes()] == ["create"]
    assert later
    assert later["metadata"]["resourceVersion"] == version


async def test_a_kubelet_that_comes_in_time_registers_its_node_itself(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    mine, other = f"{node_prefix}mine", f"{node_prefix}other"
    vms = vm(mine, "10.2.2.1"), vm(other, "10.2.2.2")
    slow = {"mode": "create", "delay": "4s"}
    async with new_product(*vms, registration=slow) as product:
        await admin.create_node(f"{node_prefix}kubelet", system_uuid=product.vm(mine).id)
        await product.initialised(f"{node_prefix}kubelet")
        await product.node_when(other, is_initialised)
        await product.periods(1)
        names = [node["metadata"]["name"] for node in await admin.nodes(node_prefix)]

    assert names == [f"{node_prefix}kubelet", other]


async def test_adopt_registers_nothing(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    vms = vm(f"{node_prefix}a", "10.2.3.1"), vm(f"{node_prefix}b", "10.2.3.2")
    adopt = {"mode": "adopt", "delay": "0s"}
    async with new_product(*vms, registration=adopt) as product:
        await admin.create_node(f"{node_prefix}a")
        await product.initialised(f"{node_prefix}a")
        await product.periods(3)
        names = [node["metadata"]["name"] for node in await admin.nodes(node_prefix)]

    assert names == [f"{node_prefix}a"]
    assert {write.verb for write in product.writes()} == {"patch"}


async def test_a_vm_that_is_not_up_or_has_no_address_gets_no_node(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    down, silent, up = (f"{node_prefix}{kind}" for kind in ("down", "silent", "up"))
    vms = (
        vm(down, "10.2.4.1", status="down"),
        vm(silent, "10.2.4.2", agent=False),
        vm(up, "10.2.4.3"),
    )
    async with new_product(*vms, registration=_CREATE) as product:
        await product.node_when(up, is_initialised)
        await product.periods(2)
        before = {node["metadata"]["name"] for node in await admin.nodes(node_prefix)}
        product.vm(silent).agent_speaks = True
        product.vm(down).start()
        await product.node_when(silent, is_initialised)
        await product.node_when(down, is_initialised)

    assert before == {up}


async def test_equal_names_register_neither_and_a_strange_name_is_sanitised(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    twin, odd = f"{node_prefix}twin", f"{node_prefix}Odd_Größe"
    vms = (
        vm(twin, "10.2.5.1"),
        vm(twin, "10.2.5.2", cluster="red", host="hv-3"),
        vm(odd, "10.2.5.3"),
    )
    async with new_product(*vms, registration=_CREATE) as product:
        await product.node_when(f"{node_prefix}odd-gro-e", is_initialised)
        said = await product.event(f"{node_prefix}odd-gro-e", "NodeNameSanitised")
        clash = await eventually(lambda: _engine_event(admin, "NodeNameClash", twin), "the clash")
        await product.periods(1)
        names = {node["metadata"]["name"] for node in await admin.nodes(node_prefix)}

    assert names == {f"{node_prefix}odd-gro-e"}
    assert odd in said["message"]
    assert clash["type"] == "Warning"
    assert product.vm(twin).id in clash["message"]


async def test_our_node_gives_way_to_a_kubelets_of_another_name(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    ours, theirs = f"{node_prefix}ours", f"{node_prefix}theirs"
    async with new_product(vm(ours, "10.2.6.1"), registration=_CREATE) as product:
        spare = await product.node_when(ours, is_settled)
        machine = product.vm(ours)

        await admin.create_node(theirs, system_uuid=machine.id)
        node = await product.initialised(theirs)
        await eventually(lambda: _is_gone(admin, ours), "our node is gone")
        event = await product.event(ours, "NodeSuperseded")
        await product.periods(2)
        names = [found["metadata"]["name"] for found in await admin.nodes(node_prefix)]

    assert node["spec"]["providerID"] == spare["spec"]["providerID"] == f"ovirt://{machine.id}"
    assert names == [theirs]
    assert theirs in event["message"]
    assert event["involvedObject"]["uid"] == spare["metadata"]["uid"]
    assert [write.verb for write in product.writes(ours)] == ["create", "delete"]


async def test_a_node_that_a_kubelet_took_over_stays(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    ours, theirs = f"{node_prefix}used", f"{node_prefix}second"
    async with new_product(vm(ours, "10.2.7.1"), registration=_CREATE) as product:
        await product.node_when(ours, is_settled)
        info = {"nodeInfo": {"kubeletVersion": "v1.37.2"}}
        await admin.patch_node(ours, {"status": info}, subresource="status")

        await admin.create_node(theirs, system_uuid=product.vm(ours).id)
        await product.initialised(theirs)
        await product.periods(2)

        assert await admin.node(ours)


async def test_kube_controller_manager_treats_a_registered_node_as_silent(
    new_control_plane: NewControlPlane, tmp_path: Path
) -> None:
    grace = {
        "node-monitor-period": "500ms",
        "node-startup-grace-period": "3s",
        "node-monitor-grace-period": "3s",
    }
    cluster = await asyncio.to_thread(
        new_control_plane, kcm=True, flags={"kube-controller-manager": grace}
    )
    access = await asyncio.to_thread(grant, cluster)
    async with Product(cluster, access, tmp_path, [vm("lonely")], registration=_CREATE) as product:
        first = await product.node_when("lonely", has_pod_network)
        silent = await product.node_when("lonely", is_unreachable)
        await product.periods(2)
        later = await product.node_when("lonely", is_unreachable)

    assert is_initialised(first)
    assert later["metadata"]["uid"] == silent["metadata"]["uid"] == first["metadata"]["uid"]
    assert "dedicated" in taint_keys(later)
    assert [write.verb for write in product.writes()] == ["create"]


def has_pod_network(node: Object) -> bool:
    """Whether kube-controller-manager has given it one."""
    return bool(node["spec"].get("podCIDR"))


def is_unreachable(node: Object) -> bool:
    """Whether its kubelet has been silent for too long."""
    return "node.kubernetes.io/unreachable" in taint_keys(node)


async def _is_gone(admin: Admin, name: str) -> bool:
    return await admin.node(name) is None


async def _engine_event(admin: Admin, reason: str, word: str) -> Object | None:
    path = f"/api/v1/namespaces/default/events?fieldSelector=reason={reason}"
    found = (await admin.call("GET", path))["items"]
    return next((event for event in found if word in event["message"]), None)
