from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import kubernetes
import pytest
import trustme

from provider.simulator.cluster import SimulatedCluster
from provider.simulator.cluster.patch import STRATEGIC, apply_patch
from provider.simulator.cluster.table import human_duration
from tests.simulator.cluster_wire import NODES, node, started

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_official_client_lists_patches_and_watches(tmp_path: Path) -> None:
    async with started() as wire:
        wire.cluster.kubelet("a", system_uuid="u", provided_node_ip="10.0.0.1").ready()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(wire.cluster.kubeconfig())

        names, provider_id, events = await asyncio.to_thread(_use_client, str(kubeconfig))

    assert names == ["a"]
    assert provider_id == "ovirt://1"
    assert events == [("ADDED", "a")]


def _use_client(kubeconfig: str) -> tuple[list[str], str, list[tuple[str, str]]]:
    library: Any = kubernetes  # typed in part
    with library.config.new_client_from_config(kubeconfig) as client:
        core = library.client.CoreV1Api(client)
        core.patch_node("a", {"spec": {"providerID": "ovirt://1"}})
        core.patch_node_status(
            "a", {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}}
        )
        nodes = core.list_node().items
        stream = library.watch.Watch().stream(core.list_node, timeout_seconds=1)
        events = [(event["type"], event["object"].metadata.name) for event in stream]
    return [node.metadata.name for node in nodes], nodes[0].spec.provider_id, events


async def test_metadata_alone_is_told_when_that_is_wanted() -> None:
    brief = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    headers = {"Content-Type": "application/merge-patch+json"}
    async with started() as wire:
        wire.cluster.nodes.create(node("a"))
        documents = []
        for accept in (f"{brief}, application/json", "application/json", brief):
            wanted = headers | {"Accept": accept}
            async with wire.session.patch(f"{NODES}/a", json={}, headers=wanted) as reply:
                documents.append(await reply.json())

    kinds = [one["kind"] for one in documents]
    assert kinds == ["PartialObjectMetadata", "Node", "PartialObjectMetadata"]
    assert documents[0].keys() == {"kind", "apiVersion", "metadata"}
    assert documents[0]["metadata"] == documents[1]["metadata"]


async def test_a_wrong_token_is_refused() -> None:
    async with started(token="right") as wire:
        answers = []
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer right"}):
            async with wire.session.get(NODES, headers=header) as reply:
                answers.append(reply.status)

        assert answers == [401, 401, 200]
        assert "token: right" in wire.cluster.kubeconfig()


async def test_it_serves_over_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    cluster = SimulatedCluster()
    url = await cluster.start(ssl_context=context)

    async with aiohttp.ClientSession(url) as session, session.get(NODES, ssl=trusted) as reply:
        status = reply.status
    await cluster.stop()

    assert (url[:5], status) == ("https", 200)
    assert "insecure-skip-tls-verify: true" in cluster.kubeconfig()
    assert "certificate-authority-data: cGVt" in cluster.kubeconfig(ca_pem=b"pem")


async def test_it_comes_up_again_on_its_port() -> None:
    cluster = SimulatedCluster()
    url = await cluster.start()

    await cluster.down()
    await cluster.up()
    await cluster.up()

    assert cluster.url == url
    await cluster.stop()
    await cluster.stop()


async def test_requests_are_logged() -> None:
    async with started() as wire:
        await wire.patch(f"{NODES}/none?fieldManager=us", {})

        (record,) = wire.cluster.requests

    assert (record.method, record.path, record.status) == ("PATCH", f"{NODES}/none", 404)
    assert record.query == {"fieldManager": "us"}
    assert record.content_type == "application/merge-patch+json"
    assert record.user_agent.startswith("Python/")


async def test_an_open_watch_is_logged_with_its_status() -> None:
    async with started() as wire, wire.watch():
        assert [record.status for record in wire.cluster.requests] == [200]


@pytest.mark.parametrize(
    "path",
    ["/api", "/apis", "/api/v1", "/apis/coordination.k8s.io/v1", "/version", "/openapi/v3"],
)
async def test_discovery_is_answered(path: str) -> None:
    async with started() as wire:
        code, body = await wire.send("GET", path)

    assert (code, isinstance(body, dict)) == (200, True)


async def test_events_and_leases_are_seen_from_the_side() -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Node", "name": "a"}}
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "us"}}
    async with started() as wire:
        await wire.send("POST", "/api/v1/namespaces/default/events", event)
        await wire.send(
            "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease
        )

        assert [found["involvedObject"]["name"] for found in wire.cluster.events()] == ["a"]
        assert wire.cluster.lease("kube-system", "l")["spec"] == {"holderIdentity": "us"}


async def test_two_writers_of_one_version_meet_in_a_conflict() -> None:
    async with started() as wire:
        version = wire.cluster.nodes.create(node())["metadata"]["resourceVersion"]
        bodies = [
            {"metadata": {"resourceVersion": version, "labels": {"x": value}}} for value in "yz"
        ]

        answers = await asyncio.gather(*(wire.patch(f"{NODES}/a", body) for body in bodies))

    assert sorted(code for code, _ in answers) == [200, 409]


def test_a_patch_leaves_its_target_as_it_was() -> None:
    target: dict[str, Any] = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    patched = apply_patch(STRATEGIC, patch, target)

    assert patched["status"]["conditions"][0]["status"] == "True"
    assert target["status"]["conditions"][0]["status"] == "False"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_100, "3h5m"),
        (100_000, "27h"),
        (180_000, "2d2h"),
        (700_000, "8d"),
        (70_000_000, "2y80d"),
        (300_000_000, "9y"),
    ],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


async def test_access_reviews_say_what_is_denied_and_take_json_only() -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    question = {"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}}
    async with started() as wire:
        allowed = await wire.send("POST", path, question)
        wire.cluster.denied.add("list nodes")
        denied = await wire.send("POST", path, question)
        refused, _ = await wire.send("POST", path, question, "application/vnd.kubernetes.protobuf")

    answers = [(code, body["status"]["allowed"]) for code, body in (allowed, denied)]
    assert answers == [(201, True), (201, False)]
    assert refused == 415
