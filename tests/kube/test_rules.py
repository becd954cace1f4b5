"""Labels and taints by tag and custom property, and the zone by host, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.kube.product import is_settled, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct
    from tests.kube.product import Product

_GPU = "example.com/gpu"
_RACK = "example.com/rack"
_ZONE = "topology.kubernetes.io/zone"
_ZONE_BETA = "failure-domain.beta.kubernetes.io/zone"
_HOST = "ccm.ovirt.org/host"
_APPLIED = "ccm.ovirt.org/applied"
_RULES: Any = [
    {"tag": "docker-host", "labels": {_GPU: "yes"}, "taints": [f"{_GPU}=yes:NoSchedule"]},
    {"custom_property": "rack", "label": _RACK},
]
_TAINT = {"key": _GPU, "value": "yes", "effect": "NoSchedule"}
_MINE = {"key": "mine", "effect": "NoSchedule"}


async def _settled(product: Product, admin: Admin, name: str) -> Object:
    """The initialised Node, which nobody changes any more."""
    await admin.create_node(name, addresses=[{"type": "Hostname", "address": name}])
    await product.event(name, "Synced")
    return await product.node_when(name, is_settled)


def _labels(node: Object) -> dict[str, str]:
    found: dict[str, str] = node["metadata"]["labels"]
    return found


async def test_rules_cost_no_write_more_and_take_back_what_they_gave_alone(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}ruled"
    machine = vm(name, "10.7.1.1", custom_properties={"rack": "r7"})
    async with new_product(machine, rules=_RULES) as product:
        node = await _settled(product, admin, name)
        assert _labels(node).items() >= {_GPU: "yes", _RACK: "r7"}.items()
        assert node["spec"]["taints"] == [_TAINT]
        await product.periods(2)
        assert len(product.changes(name)) == 2

        await admin.patch_node(
            name,
            {"metadata": {"labels": {"mine": "x"}}, "spec": {"taints": [_TAINT, _MINE]}},
        )
        product.vm(name).custom_properties = {}
        after = await product.node_when(name, lambda node: _RACK not in _labels(node))
        await product.event(name, "NodeRulesApplied")

        assert _labels(after).items() >= {_GPU: "yes", "mine": "x"}.items()
        assert after["spec"]["taints"] == [_TAINT, _MINE]
        await product.periods(2)
        assert len(product.changes(name)) == 3


async def test_a_rule_that_is_gone_after_a_restart_takes_its_labels_and_taints_along(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}unruled"
    async with new_product(vm(name, "10.7.2.1"), rules=_RULES) as product:
        await _settled(product, admin, name)
    await admin.patch_node(name, {"spec": {"taints": [_MINE, _TAINT]}})

    async with new_product(vm(name, "10.7.2.1")) as product:
        after = await product.node_when(name, lambda node: _GPU not in _labels(node))

        assert after["spec"]["taints"] == [_MINE]
        assert _APPLIED not in after["metadata"]["annotations"]
        await product.periods(2)
        assert len(product.changes(name)) == 1


async def test_what_somebody_else_has_set_is_warned_of_and_left(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}foreign"
    async with new_product(vm(name, "10.7.3.1"), rules=_RULES) as product:
        await admin.create_node(
            name,
            addresses=[{"type": "Hostname", "address": name}],
            labels={_GPU: "perhaps"},
        )
        event = await product.event(name, "NodeRuleConflict")
        node = await product.node_when(name, is_settled)
        await product.periods(2)

    assert event["type"] == "Warning"
    assert "'perhaps', which somebody else has set" in event["message"]
    assert _labels(node)[_GPU] == "perhaps"
    assert len(product.changes(name)) == 2


async def test_a_zone_by_host_moves_after_the_migration_with_its_twin(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}zoned"
    seen: list[tuple[str, str, str | None]] = []
    async with new_product(vm(name, "10.7.4.1"), topology={"zone": "host"}) as product:
        await _settled(product, admin, name)
        watch = asyncio.create_task(_watch_zone(product, admin, name, seen))

        product.vm(name).migrate("hv-2")
        await product.node_when(name, lambda node: _labels(node)[_ZONE] == "hv-2")
        zone = await product.event(name, "NodeZoneChanged")
        host = await product.event(name, "NodeHostChanged")
        watch.cancel()
        await asyncio.wait([watch])

    assert zone["message"] == "zone: hv-1 -> hv-2"
    assert host["message"] == "host: hv-1 -> hv-2"
    assert {(beta, ga) for beta, ga, _ in seen} == {("hv-1", "hv-1"), ("hv-2", "hv-2")}
    assert {status for _, zone, status in seen if zone == "hv-2"} == {"up"}
    assert len(product.changes(name)) == 3


async def _watch_zone(
    product: Product, admin: Admin, name: str, seen: list[tuple[str, str, str | None]]
) -> None:
    """Note both zone labels of each state of the Node, and the VM's status then."""
    async for _, node in admin.watch_node(name):
        labels = _labels(node)
        seen.append((labels[_ZONE_BETA], labels[_ZONE], product.vm(name).status))
