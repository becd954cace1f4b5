"""Nodes follow their VMs, and an outage of the engine changes nothing, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kube.product import addresses, eventually, is_settled, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct
    from tests.kube.product import Product

_HOST = "ccm.ovirt.org/host"
_ZONE = "topology.kubernetes.io/zone"


async def _settled(product: Product, admin: Admin, name: str) -> Object:
    """The initialised Node, which nobody changes any more."""
    await admin.create_node(name, addresses=[{"type": "Hostname", "address": name}])
    await product.event(name, "Synced")
    return await product.node_when(name, is_settled)


async def test_the_host_label_follows_a_migration_when_it_is_over(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}mover"
    seen: list[tuple[str, str | None]] = []
    async with new_product(vm(name, "10.5.1.1")) as product:
        before = await _settled(product, admin, name)
        watch = asyncio.create_task(_watch_host(product, admin, name, seen))
        machine = product.vm(name)

        machine.migrate("hv-2")
        await eventually(lambda: _is_known_as(product, name, "migrating"), "it is migrating")
        after = await product.node_when(name, lambda node: _host(node) == "hv-2")
        event = await product.event(name, "NodeHostChanged")
        watch.cancel()
        await asyncio.wait([watch])

    changed = [status for host, status in seen if host == "hv-2"]
    assert changed
    assert set(changed) == {"up"}
    assert before["metadata"]["labels"][_ZONE] == after["metadata"]["labels"][_ZONE] == "blue"
    assert addresses(after) == ["10.5.1.1"]
    assert "hv-1 -> hv-2" in event["message"]
    assert len(product.changes(name)) == 3


async def _watch_host(
    product: Product, admin: Admin, name: str, seen: list[tuple[str, str | None]]
) -> None:
    """Note the host label of each state of the Node, and the VM's status then."""
    async for _, node in admin.watch_node(name):
        seen.append((_host(node), product.vm(name).status))


async def _is_known_as(product: Product, name: str, status: str) -> bool:
    """Whether the product has read this status of the VM."""
    return product.instances(status=status) > 0 and product.vm(name).status == status


def _host(node: Object) -> str:
    return str(node["metadata"]["labels"].get(_HOST))


async def test_new_addresses_follow_and_no_address_clears_nothing(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}address"
    async with new_product(vm(name, "10.5.2.1", "fd00:52::1")) as product:
        await _settled(product, admin, name)
        machine = product.vm(name)

        machine.set_addresses(["10.5.2.2", "fd00:52::1"])
        moved = await product.node_when(name, lambda node: "10.5.2.2" in addresses(node))
        event = await product.event(name, "NodeAddressesChanged")
        machine.set_addresses([])
        await product.periods(3)
        later = await admin.node(name)

    assert addresses(moved) == ["10.5.2.2", "fd00:52::1"]
    assert addresses(moved, "Hostname") == [name]
    assert "10.5.2.2" in event["message"]
    assert later == moved


async def test_a_reboot_with_a_silent_agent_changes_nothing(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}reboot"
    async with new_product(vm(name, "10.5.3.1")) as product:
        before = await _settled(product, admin, name)

        product.vm(name).reboot()
        await eventually(lambda: _is_known_as(product, name, "reboot_in_progress"), "it reboots")
        await eventually(lambda: _is_known_as(product, name, "up"), "it is up again")
        await product.periods(2)

        assert await admin.node(name) == before


async def test_a_renamed_vm_keeps_its_node(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}before"
    create = {"mode": "create", "delay": "1s"}
    async with new_product(vm(name, "10.5.4.1"), registration=create) as product:
        await product.event(name, "Registered")
        before = await product.node_when(name, is_settled)

        product.vm(name).rename(f"{node_prefix}after")
        await product.periods(3)
        names = [node["metadata"]["name"] for node in await admin.nodes(node_prefix)]
        after = await admin.node(name)

    assert names == [name]
    assert after == before


async def test_a_changed_size_changes_both_labels_of_the_type(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}bigger"
    async with new_product(vm(name, "10.5.5.1")) as product:
        await _settled(product, admin, name)

        product.vm(name).memory = 8 << 30
        await product.event(name, "NodeInstanceTypeChanged")
        node = await admin.node(name)

    assert node
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "2cpu-8gb"
    assert node["metadata"]["labels"]["beta.kubernetes.io/instance-type"] == "2cpu-8gb"
    assert len(product.changes(name)) == 3


async def test_an_outage_of_the_engine_changes_nothing_and_passes(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}outage"
    async with new_product(vm(name, "10.5.6.1")) as product:
        before = await _settled(product, admin, name)

        product.engine.faults.availability = "down"
        await eventually(lambda: _is_up(product, expected=0), "the outage is known")
        product.vm(name).set_addresses(["10.5.6.2"])
        looks = product.reconciles()
        await eventually(lambda: _has_looked(product, looks + 3), "the node was looked at")
        during = await admin.node(name)
        product.engine.faults.availability = "up"
        after = await product.node_when(name, lambda node: addresses(node) == ["10.5.6.2"])

    assert during == before
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


async def test_an_engine_that_is_away_at_the_start_is_said_and_waited_for(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}early"
    product = new_product(vm(name, "10.5.7.1"))
    product.engine.faults.availability = "down"
    async with product:
        await admin.create_node(name)
        event = await product.event(name, "EngineUnreachable")
        refused = product.writes()
        product.engine.faults.availability = "up"
        await product.initialised(name)

    assert event["type"] == "Warning"
    assert "east" in event["message"]
    assert refused == []


async def _is_up(product: Product, *, expected: int) -> bool:
    return product.metric("ovirt_ccm_engine_up", engine="east") == expected


async def _has_looked(product: Product, count: float) -> bool:
    return product.reconciles() >= count
