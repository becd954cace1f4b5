"""The shipped RBAC on the real API server: each verb is used, and the loss of each is named."""

from __future__ import annotations

import copy
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.reviews import Reviews
from provider.kube.rights import NEEDED, Right, missing_rights
from provider.kube.write import apply_planned
from provider.metrics import Metrics
from provider.model import NodePatch, Taint
from provider.web.guard import Guard
from tests.kube.admin import RefusedError
from tests.kube.layout import ADMIN_TOKEN
from tests.kube.product import RBAC, USER, eventually, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kube.admin import Admin, Object
    from tests.kube.audit import AuditEntry
    from tests.kube.conftest import NewProduct
    from tests.kube.control_plane import ControlPlane
    from tests.kube.product import Product

_NAME = "ovirt-cloud-controller-manager"
_ROLES = "/apis/rbac.authorization.k8s.io/v1"
_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{_NAME}"
_PATHS = {
    "ClusterRole": f"{_ROLES}/clusterroles/{_NAME}",
    "Role": f"{_ROLES}/namespaces/kube-system/roles/{_NAME}",
}
_SHIPPED: dict[str, Object] = {
    item["kind"]: item
    for item in yaml.safe_load_all(RBAC.read_text("utf-8"))
    if item["kind"] in _PATHS
}
Use = tuple[str, str]  # verb and resource
_NEEDED = {(right.verb, right.resource) for right in NEEDED}
_EVENTS = "/api/v1/namespaces/default/events?fieldSelector=reason=RBACMissing"


@pytest.fixture
async def api(controller_kubeconfig: Path) -> AsyncIterator[KubeApi]:
    """The product's own client, with the rights that it has."""
    access = await load_access(controller_kubeconfig)
    async with KubeApi(access, timedelta(seconds=10), Metrics()) as client:
        yield client


@pytest.fixture
async def roles(admin: Admin, api: KubeApi) -> AsyncIterator[Roles]:
    """The roles of the product, which are as they are shipped afterwards."""
    roles = Roles(admin, api)
    yield roles
    await roles.give_back()


class Roles:
    """Takes single rights away from the product's service account."""

    def __init__(self, admin: Admin, api: KubeApi) -> None:
        self._admin = admin
        self._api = api

    async def take(self, right: Right) -> None:
        """Return when the self-check says that this right is missing, and no other."""
        kind = "Role" if right.namespace else "ClusterRole"
        await self._put(_SHIPPED | {kind: _without(right, _SHIPPED[kind])})
        await eventually(lambda: self._is_missing(right), f"only this is missing: {right}")

    async def give_back(self) -> None:
        """Return when the API server works by the shipped roles."""
        await self._put(_SHIPPED)
        await eventually(self._is_missing, "no right is missing")

    async def _put(self, roles: dict[str, Object]) -> None:
        for kind, role in roles.items():
            await self._admin.call("PUT", _PATHS[kind], role)

    async def _is_missing(self, *rights: Right) -> bool:
        return await missing_rights(self._api) == rights


def _without(right: Right, role: Object) -> Object:
    """The role, but for this right."""
    changed = copy.deepcopy(role)
    for rule in changed["rules"]:
        is_its = right.resource in rule["resources"] and right.group in rule["apiGroups"]
        if is_its and rule.get("resourceNames", [""]) == [right.name]:
            rule["verbs"].remove(right.verb)
    changed["rules"] = [rule for rule in changed["rules"] if rule["verbs"]]
    return changed


async def test_the_self_check_names_exactly_the_right_that_is_lost(roles: Roles) -> None:
    for right in NEEDED:
        await roles.take(right)  # waits until it is named, alone


async def test_the_program_says_what_it_lacks_and_does_all_else(
    new_product: NewProduct, admin: Admin, roles: Roles, node_prefix: str
) -> None:
    name = f"{node_prefix}w"
    await roles.take(Right("delete", "nodes"))

    async with new_product(vm(name, "10.11.1.1")) as product:
        await admin.create_node(name)
        await product.initialised(name)
        said = await eventually(lambda: _messages(admin), "an Event names the loss")
        missing = product.metric("ovirt_ccm_rbac_missing")

    assert "refuses us: delete nodes." in said[0]
    assert missing == 1


async def _messages(admin: Admin) -> list[str]:
    return [event["message"] for event in (await admin.call("GET", _EVENTS))["items"]]


async def test_every_right_is_used(
    new_product: NewProduct,
    admin: Admin,
    api: KubeApi,
    control_plane: ControlPlane,
    controller_kubeconfig: Path,
    node_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A repeated Event is counted in the one that is there, at most every five minutes.
    monkeypatch.setattr("provider.kube.recorder._REPEAT_SECONDS", 0.0)
    await _forget_lease(admin)
    since = control_plane.audit_position()
    lived, made = f"{node_prefix}lived", f"{node_prefix}made"
    machines = vm(lived, "10.11.2.1"), vm(made, "10.11.2.2")
    leading: dict[str, Any] = {"leader_election": {"enabled": True}}
    create = {"mode": "create", "delay": "1s"}
    async with AsyncExitStack() as stack:
        product = await stack.enter_async_context(
            new_product(*machines, registration=create, **leading)
        )
        await eventually(lambda: _is_led(admin), "the product leads")
        await stack.enter_async_context(new_product(**leading))
        await admin.create_node(f"{node_prefix}stranger")
        await _live_and_die(product, admin, lived)
        await product.event(made, "Registered")
        await _lose_a_race(admin, api, made)
        await _ask_who_asks(controller_kubeconfig)
        used = await eventually(lambda: _all_used(control_plane, since), "every right is used")

    assert used == _NEEDED
    await _forget_lease(admin)


async def _live_and_die(product: Product, admin: Admin, name: str) -> None:
    """A kubelet comes, its node is initialised, and its VM is removed."""
    await admin.create_node(name, system_uuid=product.vm(name).id)
    await product.initialised(name)
    product.engine.world.forget(product.vm(name))
    condition = {"type": "Ready", "status": "Unknown"}
    await admin.patch_node(name, {"status": {"conditions": [condition]}}, subresource="status")


async def _lose_a_race(admin: Admin, api: KubeApi, name: str) -> None:
    """Taints are written on a node that another has changed meanwhile."""
    before = await api.get_node(name)
    await admin.patch_node(name, {"metadata": {"labels": {"example.com/by": "another"}}})
    taint = Taint("example.com/raced", "NoSchedule")
    await apply_planned(api, before, lambda now: NodePatch(taints=(*now.taints, taint)))


async def _ask_who_asks(kubeconfig: Path) -> None:
    """A request with a token comes to the guarded port."""
    async with Reviews(await load_access(kubeconfig), Metrics()) as reviews:
        guard = Guard(reviews, Metrics())
        assert await guard.admit(f"Bearer {ADMIN_TOKEN}", "/metrics") == "token-admin"
        await guard.close()


async def _all_used(cluster: ControlPlane, since: int) -> set[Use] | None:
    """What the product was allowed and did, once that is all that it needs."""
    used = {_use_of(entry) for entry in cluster.audit(user=USER, since=since) if entry.is_success}
    used = {use for use in used if not use[1].startswith("selfsubject")}  # everybody may
    return used if used >= _NEEDED else None


def _use_of(entry: AuditEntry) -> Use:
    return entry.verb, f"{entry.resource}/{entry.subresource}".rstrip("/")


async def _is_led(admin: Admin) -> bool:
    try:
        lease = await admin.call("GET", _LEASE)
    except RefusedError:
        return False
    return bool(lease["spec"].get("holderIdentity"))


async def _forget_lease(admin: Admin) -> None:
    """There is no Lease, and no deletion is on record."""
    try:
        await admin.call("DELETE", _LEASE)
    except RefusedError as error:
        if error.code != 404:
            raise
