"""What others write on nodes stays, and what is right is not written, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kube.admin import UNINITIALIZED
from tests.kube.product import addresses, is_initialised, is_settled, taint_keys, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct

_NOT_READY = "node.kubernetes.io/not-ready"


async def test_a_dual_stack_node_that_is_right_is_never_written(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}dual"
    ips = "10.3.1.1", "10.3.1.2", "fd00:31::1", "fd00:31::2"
    hostname = {"type": "Hostname", "address": name}
    async with new_product(vm(name, *ips, fqdn=f"{name}.example.com")) as product:
        product.engine.faults.turns_addresses = True
        await admin.create_node(name, addresses=[hostname])
        await product.initialised(name)
        node = await product.node_when(name, is_settled)
        await product.event(name, "Synced")
        written = len(product.writes())

        await product.periods(3)
        later = await admin.node(name)
        rewritten = product.writes()[written:]

    assert addresses(node) == list(ips)
    assert later
    assert later["metadata"]["resourceVersion"] == node["metadata"]["resourceVersion"]
    assert rewritten == []
    assert [write.verb for write in product.writes(name)] == ["patch", "patch"]


async def test_a_restart_of_the_product_writes_nothing(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}again"
    machine = vm(name, "10.3.2.1", "fd00:32::1")
    async with new_product(machine) as product:
        await admin.create_node(name)
        await product.initialised(name)
        await product.node_when(name, is_settled)

    async with new_product(machine) as product:
        await product.periods(2)

    assert product.writes() == []


async def test_a_client_that_writes_in_a_tight_loop_loses_nothing(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}fought"
    async with new_product(vm(name, "10.3.3.1", agent=False)) as product:
        await admin.create_node(name, taints=[UNINITIALIZED])
        stop = asyncio.Event()
        labeller = asyncio.create_task(_write_labels(admin, name, stop))
        tainter = asyncio.create_task(_write_taints(admin, name, stop))
        await product.node_when(name, _has_foreign_taints)

        product.vm(name).agent_speaks = True
        await product.initialised(name)
        await product.event(name, "Synced")
        stop.set()
        labels, taints = await labeller, await tainter
        node = await admin.node(name)

    assert node
    assert node["metadata"]["labels"].items() >= labels.items()
    assert taint_keys(node) - {_NOT_READY} == taints
    assert node["spec"]["providerID"] == f"ovirt://{product.vm(name).id}"
    assert addresses(node) == ["10.3.3.1"]


def _has_foreign_taints(node: Object) -> bool:
    return len(taint_keys(node)) > 10


async def _write_labels(admin: Admin, name: str, stop: asyncio.Event) -> dict[str, str]:
    """The labels that were written until `stop`."""
    written: dict[str, str] = {}
    while not stop.is_set():
        key = f"example.com/label-{len(written)}"
        await admin.patch_node(name, {"metadata": {"labels": {key: "kept"}}})
        written[key] = "kept"
    return written


async def _write_taints(admin: Admin, name: str, stop: asyncio.Event) -> set[str]:
    """The taints that were written until `stop`, each first or last in the list by turns."""
    written: set[str] = set()
    while not stop.is_set():
        taint = {"key": f"example.com/taint-{len(written)}", "effect": "NoSchedule"}
        place = "0" if len(written) % 2 else "-"
        await admin.patch_node(
            name, [{"op": "add", "path": f"/spec/taints/{place}", "value": taint}]
        )
        written.add(taint["key"])
    return written


async def test_kube_controller_manager_takes_the_node_and_its_taints_stay(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}kcm"
    async with new_product(vm(name, "10.3.4.1", agent=False)) as product:
        await admin.create_node(name)
        await _report(admin, name, Ready="True", MemoryPressure="True")
        tainted = await product.node_when(name, _is_pressed)

        product.vm(name).agent_speaks = True
        node = await product.initialised(name)
        await _report(admin, name, Ready="True", MemoryPressure="False")
        relieved = await product.node_when(name, _has_no_taints)
        await product.node_when(name, is_settled)
        await product.periods(1)

    assert not is_initialised(tainted)
    assert _is_pressed(node)
    assert addresses(relieved) == ["10.3.4.1"]
    assert [write.verb for write in product.writes(name)] == ["patch", "patch"]


async def _report(admin: Admin, name: str, **conditions: str) -> None:
    """What the kubelet says of itself."""
    told = [{"type": kind, "status": status} for kind, status in conditions.items()]
    await admin.patch_node(name, {"status": {"conditions": told}}, subresource="status")


def _is_pressed(node: Object) -> bool:
    return "node.kubernetes.io/memory-pressure" in taint_keys(node)


def _has_no_taints(node: Object) -> bool:
    return not node["spec"].get("taints")
