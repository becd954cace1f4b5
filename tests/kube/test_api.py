"""What the client relies on, asked of the real API server: writes, races, answers, Events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from provider.errors import Conflict, Forbidden, Invalid, KubeError, NotFound
from provider.kube.access import load_access
from provider.kube.api import METADATA, KubeApi
from provider.kube.encode import JSON_PATCH, MERGE_PATCH, Write
from provider.kube.recorder import EventRecorder
from provider.kube.rights import Right
from provider.kube.transport import Request
from provider.kube.write import apply_patch
from provider.metrics import Metrics
from provider.model import (
    TAINT_UNINITIALIZED,
    Level,
    NewNode,
    Node,
    NodeAddress,
    NodePatch,
    Notice,
    Taint,
)
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.kube.control_plane import ControlPlane

UNINITIALIZED = Taint(TAINT_UNINITIALIZED, "NoSchedule", "true")
ADDRESSES = (NodeAddress("InternalIP", "10.0.0.9"), NodeAddress("InternalIP", "fd00::9"))


@contextlib.asynccontextmanager
async def client(kubeconfig: Path) -> AsyncIterator[KubeApi]:
    access = await load_access(kubeconfig)
    async with KubeApi(access, timedelta(seconds=10), Metrics()) as api:
        yield api


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[KubeApi]:
    async with client(control_plane.kubeconfig) as api:
        yield api


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - any condition, seen from outside
            await asyncio.sleep(0.01)


async def delete(api: KubeApi, name: str) -> None:
    """Delete the Node, which kube-controller-manager may be writing to."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Conflict):
                return await api.delete_node(await api.get_node(name))


def new(name: str, **labels: str) -> NewNode:
    address = NodeAddress("Hostname", name)
    return NewNode(name, "", labels, {}, (UNINITIALIZED,), (address,))


def initialisation(node: Node) -> NodePatch:
    return NodePatch(
        addresses=ADDRESSES,
        labels={"topology.kubernetes.io/zone": "z"},
        annotations={"ccm.ovirt.org/engine": "e"},
        provider_id="ovirt://5a1d0000-0000-4000-8000-000000000001",
        taints=tuple(taint for taint in node.taints if taint.key != TAINT_UNINITIALIZED),
    )


@pytest.mark.parametrize("labels", [{}, {"kept": "yes"}])
async def test_a_node_is_initialised_by_two_writes(
    control_plane: ControlPlane, api: KubeApi, node_prefix: str, labels: dict[str, str]
) -> None:
    node = await api.create_node(new(f"{node_prefix}a", **labels))
    start = control_plane.audit_position()

    version = await apply_patch(api, node, initialisation(node))

    after = await api.get_node(node.name)
    assert after.resource_version == version
    assert not after.is_uninitialized
    assert after.addresses == ADDRESSES
    assert after.labels == labels | {"topology.kubernetes.io/zone": "z"}
    entries = control_plane.audit(
        user_agent="ovirt-ccm", name_prefix=f"{node_prefix}a", since=start
    )
    assert [(e.verb, e.subresource, e.code) for e in entries if e.is_write and e.is_success] == [
        ("patch", "status", 200),
        ("patch", "", 200),
    ]


async def test_a_write_is_answered_with_no_more_than_the_metadata(
    api: KubeApi, node_prefix: str
) -> None:
    node = await api.create_node(new(f"{node_prefix}a"))
    label = {"metadata": {"labels": {"x": "y"}}}
    path = f"/api/v1/nodes/{node.name}"

    raw = await api._transport.send(
        Request("patch", "nodes", path, {}, label, MERGE_PATCH, METADATA)
    )

    answer = json.loads(raw)
    assert answer.keys() == {"kind", "apiVersion", "metadata"}
    assert int(answer["metadata"]["resourceVersion"]) > int(node.resource_version)


async def test_a_write_that_changes_nothing_leaves_the_version(
    api: KubeApi, node_prefix: str
) -> None:
    node = await api.create_node(new(f"{node_prefix}a"))
    version = await apply_patch(api, node, initialisation(node))
    after = await api.get_node(node.name)

    again = await apply_patch(api, after, NodePatch(addresses=ADDRESSES, labels=after.labels))

    assert again == version


async def test_a_foreign_writer_without_pause_loses_nothing_and_does_not_stop_us(
    control_plane: ControlPlane, api: KubeApi, node_prefix: str
) -> None:
    name = f"{node_prefix}a"
    await api.create_node(new(name, first="1"))
    written: list[str] = []
    stop = asyncio.Event()

    async def write_on(foreign: KubeApi) -> None:
        """Puts a taint before all others and a label, as fast as it can, as kubectl would."""
        while not stop.is_set():
            key = f"example.com/n{len(written) % 40}"
            now = await foreign.get_node(name)
            others = [t for t in now.taints if t.key != key]
            taints = [{"key": t.key, "effect": t.effect, "value": t.value} for t in others]
            meta = {"resourceVersion": now.resource_version, "labels": {key: "x"}}
            spec = {"taints": [{"key": key, "effect": "NoSchedule"}, *taints]}
            try:
                await foreign.patch_node(
                    name, Write(MERGE_PATCH, {"metadata": meta, "spec": spec})
                )
            except Conflict:
                continue
            written.append(key)

    async with client(control_plane.kubeconfig) as foreign, asyncio.TaskGroup() as group:
        group.create_task(write_on(foreign))
        await until(lambda: len(written) >= 5)
        await _as_a_controller_would(api, name)
        after = await api.get_node(name)
        count = len(written)
        await until(lambda: len(written) >= count + 5)
        stop.set()

    last = await api.get_node(name)
    assert not after.is_uninitialized
    assert not last.is_uninitialized
    assert {taint.key for taint in last.taints} >= set(written)
    assert last.labels.keys() >= {*written, "first", "topology.kubernetes.io/zone"}


async def _as_a_controller_would(api: KubeApi, name: str) -> None:
    async with asyncio.timeout(60):
        while True:
            node = await api.get_node(name)
            try:
                await apply_patch(api, node, initialisation(node))
            except Conflict:
                continue
            return


async def test_another_node_of_the_same_name_is_not_touched(
    api: KubeApi, node_prefix: str
) -> None:
    node = await api.create_node(new(f"{node_prefix}a", kept="yes"))
    await delete(api, node.name)
    other = await api.create_node(new(f"{node_prefix}a", kept="yes"))

    for patch in (initialisation(node), NodePatch(labels={"x": "y"}, taints=())):
        with pytest.raises(Conflict):
            await apply_patch(api, node, patch)
    now = await api.get_node(other.name)
    assert (now.uid, now.addresses, now.provider_id) == (other.uid, other.addresses, "")
    assert now.labels == {"kept": "yes"}
    assert now.is_uninitialized


async def test_a_provider_id_stays_as_it_was_set(api: KubeApi, node_prefix: str) -> None:
    node = await api.create_node(new(f"{node_prefix}a", kept="yes"))
    await api.patch_node(node.name, Write(MERGE_PATCH, {"spec": {"providerID": "ovirt://1"}}))

    with pytest.raises(Invalid, match="cannot be modified once set"):
        await apply_patch(api, node, initialisation(node))
    assert (await api.get_node(node.name)).is_uninitialized


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/uid", "value": "another"},
        {"op": "test", "path": "/status/addresses", "value": []},
        {"op": "test", "path": "/spec/taints/7/key", "value": "x"},
        {"op": "remove", "path": "/spec/taints/7"},
        {"op": "add", "path": "/metadata/none/x", "value": "y"},
    ],
)
async def test_a_json_patch_that_does_not_fit_is_a_conflict(
    api: KubeApi, node_prefix: str, operation: dict[str, Any]
) -> None:
    node = await api.create_node(new(f"{node_prefix}a"))

    with pytest.raises(Conflict):
        await api.patch_node(node.name, Write(JSON_PATCH, [operation]))


async def test_refusals_are_told_apart(
    control_plane: ControlPlane, api: KubeApi, node_prefix: str
) -> None:
    node = await api.create_node(new(f"{node_prefix}a"))

    async def refusal(call: Any) -> type[KubeError]:
        with pytest.raises(KubeError) as caught:
            await call
        return type(caught.value)

    label = Write(MERGE_PATCH, {"metadata": {"labels": {"a": "not valid"}}})
    old = Write(MERGE_PATCH, {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}})
    assert await refusal(api.get_node(f"{node_prefix}none")) is NotFound
    assert await refusal(api.create_node(new(node.name))) is Conflict
    assert await refusal(api.patch_node(node.name, label)) is Invalid
    assert await refusal(api.patch_node(node.name, old)) is Conflict
    await api.patch_node(node.name, Write(MERGE_PATCH, {"metadata": {"labels": {"a": "b"}}}))
    assert await refusal(api.delete_node(node)) is Conflict
    async with client(control_plane.kubeconfig_for("nobody")) as nobody:
        assert await refusal(nobody.get_node(node.name)) is Forbidden
    async with client(control_plane.kubeconfig_with("wrong")) as wrong:
        assert await refusal(wrong.get_node(node.name)) is Forbidden


async def test_questions_about_ourselves_are_answered(control_plane: ControlPlane) -> None:
    async with client(control_plane.kubeconfig_for("nobody")) as nobody:
        assert await nobody.version() == control_plane.version()
        assert await nobody.whoami() == "nobody"
        assert not await nobody.may(Right("patch", "nodes/status"))
    async with client(control_plane.kubeconfig) as admin:
        assert await admin.may(Right("patch", "nodes/status"))


async def test_kubectl_shows_our_events_with_the_node(
    control_plane: ControlPlane, api: KubeApi, node_prefix: str
) -> None:
    node = await api.create_node(new(f"{node_prefix}a"))
    metrics = Metrics()
    recorder = EventRecorder(api, metrics)
    notice = Notice(Level.WARNING, Reason.ADDRESS_MISMATCH, "wanted 10.0.0.1")
    task = asyncio.create_task(recorder.run())
    recorder.record(node, notice)
    recorder.record_engine("east", Notice(Level.WARNING, Reason.ENGINE_UNREACHABLE, "HTTP 503"))
    for reason in ("NodeAddressMismatch", "EngineUnreachable"):
        await _until_sent(metrics, reason)
    task.cancel()

    described = await asyncio.to_thread(control_plane.kubectl, "describe", "node", node.name)
    events = await asyncio.to_thread(control_plane.kubectl, "get", "events")

    (line,) = [row for row in described.splitlines() if "NodeAddressMismatch" in row]
    assert "ovirt-cloud-controller-manager" in line
    assert "wanted 10.0.0.1" in line
    assert "namespace/kube-system" in events
    assert "engine east: HTTP 503" in events


async def _until_sent(metrics: Metrics, reason: str) -> None:
    labels = {"type": "Warning", "reason": reason}
    await until(
        lambda: metrics.registry.get_sample_value("ovirt_ccm_events_total", labels) is not None
    )
