"""Many nodes at once cost two writes each, on the real API server."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from tests.kube.product import eventually, is_initialised, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin
    from tests.kube.conftest import NewProduct

_COUNT = 200


async def test_two_hundred_nodes_at_once_cost_two_writes_each(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    names = [f"{node_prefix}{n}" for n in range(_COUNT)]
    many = vm(f"{node_prefix}{{n}}", "10.6.0.1", "fd00:6::1", count=_COUNT)
    async with new_product(many) as product:
        await asyncio.gather(
            *(admin.create_node(name, system_uuid=product.vm(name).id) for name in names)
        )
        await eventually(lambda: _has(product.reconciles("written")), "all are initialised")
        assert all(map(is_initialised, await admin.nodes(node_prefix)))
        await product.periods(1)

    # Those that lost a race against kube-controller-manager for the taints are no success.
    writes = product.changes(node_prefix)
    assert Counter((write.verb, write.subresource) for write in writes) == {
        ("patch", "status"): _COUNT,
        ("patch", ""): _COUNT,
    }
    assert set(Counter(write.name for write in writes).values()) == {2}


async def test_two_hundred_vms_without_nodes_cost_one_write_each(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    many = vm(f"{node_prefix}{{n}}", "10.6.1.1", "fd00:61::1", count=_COUNT)
    create = {"mode": "create", "delay": "0s"}
    async with new_product(many, registration=create) as product:
        created = "ovirt_ccm_registrations_total"
        await eventually(
            lambda: _has(product.metric(created, result="created")), "all are registered"
        )
        await product.periods(1)

    writes = product.writes(node_prefix)
    assert [(write.verb, write.code) for write in writes] == [("create", 201)] * _COUNT


async def _has(count: float) -> bool:
    return count >= _COUNT
