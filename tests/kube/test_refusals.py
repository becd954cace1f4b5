"""Nodes of which it is not certain what they are stay as they are, on the real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.kube.admin import UNINITIALIZED
from tests.kube.product import is_settled, taint_keys, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin
    from tests.kube.conftest import NewProduct

_ENGINE = "ccm.ovirt.org/engine"
_OTHER_ENGINE = "00000000-0000-4000-8000-000000000001"


async def test_a_foreign_node_is_never_written_nor_spoken_about(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}foreign"
    create = {"mode": "create", "delay": "0s"}
    async with new_product(vm(name, "10.4.1.1"), registration=create) as product:
        # Its name and its system UUID are the VM's, and yet it is another provider's.
        await admin.create_node(
            name, provider_id="aws:///eu-west-1a/i-0abc", system_uuid=product.vm(name).id
        )
        await product.periods(3)
        node = await admin.node(name)
        events = await admin.events(name)

    assert node
    assert UNINITIALIZED["key"] in taint_keys(node)
    assert [event["reason"] for event in events if _is_ours(event)] == []
    assert product.writes() == []


async def test_a_providerid_and_a_system_uuid_that_disagree_are_ambiguous(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    one, two = f"{node_prefix}one", f"{node_prefix}two"
    async with new_product(vm(one, "10.4.2.1"), vm(two, "10.4.2.2")) as product:
        await admin.create_node(
            f"{node_prefix}both",
            provider_id=f"ovirt://{product.vm(one).id}",
            system_uuid=product.vm(two).id,
        )
        event = await product.event(f"{node_prefix}both", "IdentityAmbiguous")
        await product.periods(2)
        node = await admin.node(f"{node_prefix}both")

    assert event["type"] == "Warning"
    assert product.vm(one).id in event["message"]
    assert product.vm(two).id in event["message"]
    assert node
    assert UNINITIALIZED["key"] in taint_keys(node)
    assert product.writes() == []


@pytest.mark.parametrize("taints", [(UNINITIALIZED,), ()], ids=["tainted", "initialised"])
async def test_a_node_of_an_unknown_engine_is_left_alone(
    new_product: NewProduct, admin: Admin, node_prefix: str, taints: tuple[dict[str, str], ...]
) -> None:
    name = f"{node_prefix}elsewhere"
    async with new_product(vm(name, "10.4.3.1")) as product:
        await admin.create_node(name, taints=taints, annotations={_ENGINE: _OTHER_ENGINE})
        event = await product.event(name, "EngineChanged")
        await product.periods(2)

    assert event["type"] == "Warning"
    assert _OTHER_ENGINE in event["message"]
    assert product.writes() == []


async def test_a_node_without_a_vm_waits_and_is_initialised_when_the_vm_is_tagged(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}untagged"
    async with new_product(vm(name, "10.4.4.1", tags=())) as product:
        await admin.create_node(name, system_uuid=product.vm(name).id)
        event = await product.event(name, "InstanceNotFound")
        refused = product.writes()

        product.vm(name).attach("docker-host")
        await product.initialised(name)

    assert event["type"] == "Warning"
    assert product.vm(name).id in event["message"]
    assert refused == []


async def test_a_node_without_taint_or_annotation_is_not_ours_to_change(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}old"
    async with new_product(vm(name, "10.4.5.1")) as product:
        await admin.create_node(name, taints=())
        await product.periods(2)

    assert product.writes() == []


async def test_a_node_whose_vm_lost_its_tag_is_left_as_it_is_and_said(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name, other = f"{node_prefix}untagged", f"{node_prefix}other"
    async with new_product(vm(name, "10.4.6.1"), vm(other, "10.4.6.2")) as product:
        await admin.create_node(name)
        await product.initialised(name)
        before = await product.node_when(name, is_settled)
        written = len(product.writes())

        product.vm(name).detach("docker-host")
        event = await product.event(name, "InstanceNotSelected")
        await product.periods(1)
        after = await admin.node(name)

    assert event["type"] == "Warning"
    assert after == before
    assert len(product.writes()) == written


async def test_a_name_alone_is_not_enough_while_another_rule_points_elsewhere(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name, other = f"{node_prefix}name", f"{node_prefix}uuid"
    async with new_product(vm(name, "10.4.7.1"), vm(other, "10.4.7.2")) as product:
        await admin.create_node(name, system_uuid=product.vm(other).id)
        await product.event(name, "IdentityAmbiguous")
        await admin.delete_node(name)
        await admin.create_node(name, system_uuid=product.vm(name).id)

        node = await product.initialised(name)

    assert node["spec"]["providerID"] == f"ovirt://{product.vm(name).id}"


def _is_ours(event: dict[str, Any]) -> bool:
    return bool(event["source"].get("component") == "ovirt-cloud-controller-manager")
