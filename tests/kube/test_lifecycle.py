"""Nodes whose VM has stopped or is gone, on the real API server and kube-controller-manager."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.kube.admin import RefusedError
from tests.kube.product import eventually, is_initialised, taint_keys, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct
    from tests.kube.product import Product

SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
UNREACHABLE = "node.kubernetes.io/unreachable"
LEDGER = "ccm.ovirt.org/deletions"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ovirt-cloud-controller-manager"
PODS = "/api/v1/namespaces/default/pods"
QUICK = {"out_of_service": {"enabled": True, "grace": "1s"}}


@pytest.fixture(autouse=True)
async def _new_record(admin: Admin) -> AsyncIterator[None]:
    """No deletion is on record, before and after."""
    await _forget(admin)
    yield
    await _forget(admin)


async def _forget(admin: Admin) -> None:
    try:
        await admin.call("DELETE", LEASE)
    except RefusedError as error:
        if error.code != 404:
            raise


async def _report(admin: Admin, name: str, status: str) -> None:
    """What the kubelet, or for it kube-controller-manager, says of the node."""
    condition = {"type": "Ready", "status": status}
    await admin.patch_node(name, {"status": {"conditions": [condition]}}, subresource="status")


async def _join(product: Product, admin: Admin, *names: str) -> None:
    """These nodes are initialised and ready."""
    for name in names:
        await admin.create_node(name, system_uuid=product.vm(name).id)
    for name in names:
        await product.initialised(name)
        await _report(admin, name, "True")
        await product.node_when(name, _is_clean)


def _is_clean(node: Object) -> bool:
    return not taint_keys(node)


async def _is_gone(admin: Admin, name: str) -> bool:
    return await admin.node(name) is None


async def test_a_node_whose_vm_was_removed_is_deleted_and_recorded_before(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    gone, kept = f"{node_prefix}gone", f"{node_prefix}kept"
    async with new_product(vm(gone, "10.9.1.1"), vm(kept, "10.9.1.2")) as product:
        await _join(product, admin, gone, kept)
        product.engine.world.forget(product.vm(gone))
        await product.periods(8)
        assert await admin.node(gone), "a ready node stays"

        await _report(admin, gone, "Unknown")
        await eventually(lambda: _is_gone(admin, gone), "the node is deleted")
        event = await product.event(gone, "DeletingNode")
        await product.periods(3)
        lease = await admin.call("GET", LEASE)
        writes = product.writes(gone)

    assert await admin.node(kept)
    assert event["type"] == "Normal"
    record = json.loads(lease["metadata"]["annotations"][LEDGER])
    assert [one["node"] for one in record["deletions"]] == [gone]
    assert [write.verb for write in writes if write.verb == "delete"] == ["delete"]


async def test_more_than_the_budget_latches_on_the_lease(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    names = [f"{node_prefix}w{n}" for n in range(5)]
    machines = [vm(name, f"10.9.2.{n + 1}") for n, name in enumerate(names)]
    async with new_product(*machines) as product:
        await _join(product, admin, *names)
        for name in names[:3]:
            product.engine.world.forget(product.vm(name))
            await _report(admin, name, "Unknown")
        await eventually(lambda: _is_latched(admin), "the budget is latched")
        await product.periods(5)
        left = {node["metadata"]["name"] for node in await admin.nodes(node_prefix)}
    async with new_product(*machines[3:]) as product:
        await product.periods(8)
        later = {node["metadata"]["name"] for node in await admin.nodes(node_prefix)}

    assert len(left) == 4
    assert later == left


async def _is_latched(admin: Admin) -> bool:
    with contextlib.suppress(RefusedError):
        annotations = (await admin.call("GET", LEASE))["metadata"].get("annotations", {})
        return json.loads(annotations.get(LEDGER, "{}")).get("latched") is not None
    return False


async def test_a_mark_comes_and_goes_beside_the_taints_of_others(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}down"
    async with new_product(vm(name, "10.9.3.1")) as product:
        await _join(product, admin, name)
        stop = asyncio.Event()
        foreign = asyncio.create_task(_write_taints(admin, name, stop))
        product.vm(name).stop()
        await _report(admin, name, "Unknown")
        await product.node_when(name, lambda node: {SHUTDOWN, UNREACHABLE} <= taint_keys(node))
        stop.set()
        written = await foreign
        marked = await admin.node(name)

        product.vm(name).start()
        await _report(admin, name, "True")
        clean = await product.node_when(name, lambda node: SHUTDOWN not in taint_keys(node))
        settled = await product.node_when(name, lambda node: UNREACHABLE not in taint_keys(node))

    assert marked
    assert taint_keys(marked) >= written | {UNREACHABLE, SHUTDOWN}
    assert taint_keys(clean) >= written
    assert taint_keys(settled) == written


async def _write_taints(admin: Admin, name: str, stop: asyncio.Event) -> set[str]:
    """The keys of the taints that a client wrote until `stop`, without a pause."""
    written: set[str] = set()
    while not stop.is_set():
        node = await admin.node(name)
        assert node
        key = f"example.com/taint-{len(written)}"
        taints = [*node["spec"].get("taints", []), {"key": key, "effect": "NoSchedule"}]
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            await admin.patch_node(name, {"metadata": version, "spec": {"taints": taints}})
        except RefusedError as error:
            if error.code != 409:
                raise
        else:
            written.add(key)
    return written


async def test_a_pod_leaves_a_node_whose_vm_is_proven_down(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}oos"
    async with new_product(vm(name, "10.9.4.1"), **QUICK) as product:
        await _join(product, admin, name)
        await admin.call("POST", PODS, _pod(name))
        product.vm(name).stop()
        await _report(admin, name, "Unknown")

        out = await product.node_when(name, lambda node: OUT_OF_SERVICE in taint_keys(node))
        await eventually(lambda: _has_left(admin, name), "the pod is gone")
        product.vm(name).start()
        back = await product.node_when(name, lambda node: OUT_OF_SERVICE not in taint_keys(node))

    mark = "ccm.ovirt.org/out-of-service"
    assert mark in out["metadata"]["annotations"]
    assert mark not in back["metadata"]["annotations"]
    assert is_initialised(back)


def _pod(name: str) -> Object:
    """A pod of no kubelet on this node, which only force removes once it is to end."""
    container = {"name": "c", "image": "example.com/none"}
    spec = {
        "nodeName": name,
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 600,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def _has_left(admin: Admin, name: str) -> bool:
    try:
        await admin.call("GET", f"{PODS}/{name}")
    except RefusedError as error:
        return error.code == 404
    return False
