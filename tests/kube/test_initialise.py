"""Nodes that kubelets register are initialised, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.kube.admin import UNINITIALIZED
from tests.kube.product import USER_AGENT, addresses, eventually, is_initialised, taint_keys, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct
    from tests.kube.control_plane import ControlPlane

_DEDICATED = {"key": "dedicated", "value": "db", "effect": "NoExecute"}
_PROVIDED = "alpha.kubernetes.io/provided-node-ip"


async def test_a_new_node_gets_all_that_its_instance_tells(
    new_product: NewProduct, admin: Admin, control_plane: ControlPlane, node_prefix: str
) -> None:
    name = f"{node_prefix}whole"
    hostname = {"type": "Hostname", "address": name}
    async with new_product(
        vm(name, "10.1.1.1", "fd00:1::1", fqdn=f"{name}.example.com")
    ) as product:
        machine = product.vm(name)
        await admin.create_node(
            name,
            taints=[_DEDICATED, UNINITIALIZED],
            system_uuid=machine.id,
            addresses=[hostname],
        )

        node = await product.initialised(name)
        await product.event(name, "Synced")

    assert node["spec"]["providerID"] == f"ovirt://{machine.id}"
    labels = node["metadata"]["labels"]
    assert (
        labels.items()
        >= {
            "node.kubernetes.io/instance-type": "2cpu-2gb",
            "beta.kubernetes.io/instance-type": "2cpu-2gb",
            "topology.kubernetes.io/zone": "blue",
            "failure-domain.beta.kubernetes.io/zone": "blue",
            "topology.kubernetes.io/region": "east",
            "failure-domain.beta.kubernetes.io/region": "east",
            "ccm.ovirt.org/host": "hv-1",
            "ccm.ovirt.org/cluster": "blue",
            "ccm.ovirt.org/data-center": "paris",
        }.items()
    )
    assert node["metadata"]["annotations"]["ccm.ovirt.org/engine"] == (
        product.engine.world.instance_id
    )
    assert node["status"]["addresses"] == [
        {"type": "InternalIP", "address": "10.1.1.1"},
        {"type": "InternalIP", "address": "fd00:1::1"},
        {"type": "InternalDNS", "address": f"{name}.example.com"},
        hostname,
    ]
    assert _DEDICATED in node["spec"]["taints"]
    described = await asyncio.to_thread(control_plane.kubectl, "describe", "node", name)
    assert "Synced" in described.partition("\nEvents:")[2]
    assert {write.user_agent.startswith(USER_AGENT) for write in product.writes(name)} == {True}


@pytest.mark.parametrize(
    "taint",
    [
        {**UNINITIALIZED, "value": "false"},
        {**UNINITIALIZED, "effect": "NoExecute"},
        {"key": UNINITIALIZED["key"], "effect": "PreferNoSchedule"},
    ],
    ids=["other value", "other effect", "no value"],
)
async def test_the_taint_counts_whatever_its_value_and_effect(
    new_product: NewProduct, admin: Admin, node_prefix: str, taint: dict[str, str]
) -> None:
    name = f"{node_prefix}taint"
    async with new_product(vm(name)) as product:
        await admin.create_node(name, taints=[taint])

        node = await product.initialised(name)

    assert node["spec"]["providerID"] == f"ovirt://{product.vm(name).id}"


async def test_a_watcher_never_sees_the_taint_gone_without_an_internal_ip(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    names = [f"{node_prefix}watched-{n}" for n in range(8)]
    states: list[Object] = []
    vms = [vm(name, f"10.1.2.{n}", agent=False) for n, name in enumerate(names)]
    async with new_product(*vms) as product:
        watch = asyncio.create_task(_collect(admin, node_prefix, states))
        for name in names:
            await admin.create_node(name)
        await product.periods(1)
        for name in names:
            product.vm(name).agent_speaks = True
        for name in names:
            await product.initialised(name)
        await eventually(lambda: _are_all_seen(names, states), "the watch shows the end")
        watch.cancel()
        await asyncio.wait([watch])

    wrong = [s for s in states if is_initialised(s) and not addresses(s)]
    assert wrong == []
    half = [s for s in states if addresses(s) and not is_initialised(s)]
    assert {s["metadata"]["name"] for s in half} == set(names)


async def _collect(admin: Admin, prefix: str, states: list[Object]) -> None:
    async for _, node in admin.watch_nodes():
        if node["metadata"]["name"].startswith(prefix):
            states.append(node)


async def _are_all_seen(names: list[str], states: list[Object]) -> bool:
    return {s["metadata"]["name"] for s in states if is_initialised(s)} == set(names)


# ---- what the kubelet was told ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("provided", "expected"),
    [
        ("10.1.3.2", ["10.1.3.2"]),
        ("10.1.3.2,fd00:3::1", ["10.1.3.2", "fd00:3::1"]),
        ("fd00:3::1,10.1.3.2", ["fd00:3::1", "10.1.3.2"]),
        ("FD00:3:0::1", ["fd00:3::1"]),
    ],
)
async def test_the_provided_ips_come_first_and_alone(
    new_product: NewProduct, admin: Admin, node_prefix: str, provided: str, expected: list[str]
) -> None:
    name = f"{node_prefix}provided"
    async with new_product(vm(name, "10.1.3.1", "10.1.3.2", "fd00:3::1")) as product:
        await admin.create_node(name, annotations={_PROVIDED: provided})

        node = await product.initialised(name)

    assert addresses(node) == expected


@pytest.mark.parametrize(
    ("provided", "reason", "words"),
    [
        ("10.9.9.9", "NodeAddressMismatch", ["10.9.9.9", "10.1.4.1", "fd00:4::1"]),
        ("10.1.4.1,fd00:9::9", "NodeAddressMismatch", ["10.1.4.1, fd00:9::9", "fd00:4::1"]),
        ("10.1.4.1,10.1.4.2", "ProvidedNodeIPInvalid", ["10.1.4.1,10.1.4.2"]),
        ("here", "ProvidedNodeIPInvalid", ["'here'"]),
        ("", "ProvidedNodeIPInvalid", ["''"]),
    ],
)
async def test_a_provided_ip_that_is_wrong_keeps_the_taint_until_it_is_mended(
    new_product: NewProduct,
    admin: Admin,
    node_prefix: str,
    provided: str,
    reason: str,
    words: list[str],
) -> None:
    name = f"{node_prefix}wrong"
    async with new_product(vm(name, "10.1.4.1", "fd00:4::1")) as product:
        await admin.create_node(name, annotations={_PROVIDED: provided})

        event = await product.event(name, reason)
        await product.periods(1)
        node = await admin.node(name)
        assert node
        refused = product.writes(name)
        await admin.patch_node(name, {"metadata": {"annotations": {_PROVIDED: "10.1.4.1"}}})
        mended = await product.initialised(name)

    assert event["type"] == "Warning"
    assert all(word in event["message"] for word in words)
    assert UNINITIALIZED["key"] in taint_keys(node)
    assert refused == []
    assert addresses(mended) == ["10.1.4.1"]


async def test_without_a_guest_agent_the_kubelets_own_address_is_taken(
    new_product: NewProduct, admin: Admin, node_prefix: str
) -> None:
    name = f"{node_prefix}agentless"
    own = [{"type": "InternalIP", "address": "10.1.5.1"}, {"type": "Hostname", "address": name}]
    async with new_product(vm(name, agent=False), addresses={"agent_grace": "1s"}) as product:
        await admin.create_node(name, addresses=own)

        node = await product.initialised(name)
        event = await product.event(name, "NoGuestAgent")

    assert node["status"]["addresses"] == own
    assert event["type"] == "Warning"
