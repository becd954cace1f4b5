from __future__ import annotations

from typing import Any

import pytest

from provider.simulator.cluster import SimulatedCluster, StatusError

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


def taints(node: dict[str, Any]) -> list[tuple[str, str]]:
    return [(taint["key"], taint["effect"]) for taint in node["spec"].get("taints", ())]


def addresses(node: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["type"], item["address"]) for item in node["status"].get("addresses", ())]


def ready(node: dict[str, Any]) -> str:
    conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
    return str(conditions["Ready"])


def test_a_kubelet_registers_tainted_and_not_ready() -> None:
    cluster = SimulatedCluster()

    cluster.kubelet("a", system_uuid="5a1d0000-0000-4000-8000-000000000001", labels={"x": "y"})

    node = cluster.nodes.get("a")
    assert taints(node) == [(UNINITIALIZED, "NoSchedule"), (NOT_READY, "NoSchedule")]
    assert addresses(node) == [("Hostname", "a")]
    assert ready(node) == "False"
    assert node["status"]["nodeInfo"]["systemUUID"] == "5a1d0000-0000-4000-8000-000000000001"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "a"
    assert node["metadata"]["labels"]["x"] == "y"


def test_a_kubelet_with_a_node_ip_reports_it() -> None:
    cluster = SimulatedCluster()

    cluster.kubelet("a", system_uuid="u", provided_node_ip="10.0.0.1,fd00::1")

    node = cluster.nodes.get("a")
    annotation = node["metadata"]["annotations"]["alpha.kubernetes.io/provided-node-ip"]
    assert annotation == "10.0.0.1,fd00::1"
    assert addresses(node) == [
        ("InternalIP", "10.0.0.1"),
        ("InternalIP", "fd00::1"),
        ("Hostname", "a"),
    ]


def test_a_kubelet_keeps_the_taints_and_addresses_of_a_node_that_it_finds() -> None:
    cluster = SimulatedCluster()
    status = {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    spec = {"providerID": "ovirt://1"}
    cluster.nodes.create({"metadata": {"name": "a"}, "spec": spec, "status": status})

    cluster.kubelet("a", system_uuid="u", provided_node_ip="10.0.0.9", labels={"x": "y"})

    node = cluster.nodes.get("a")
    assert taints(node) == [(NOT_READY, "NoSchedule")]
    assert addresses(node) == [("InternalIP", "10.0.0.1")]
    assert node["spec"]["providerID"] == "ovirt://1"
    assert "x" not in node["metadata"]["labels"]
    assert "kubernetes.io/os" in node["metadata"]["labels"]
    assert "alpha.kubernetes.io/provided-node-ip" in node["metadata"]["annotations"]
    assert node["status"]["nodeInfo"]["kubeletVersion"]


def test_a_ready_kubelet_loses_the_taints_of_its_health_only() -> None:
    cluster = SimulatedCluster()
    kubelet = cluster.kubelet("a", system_uuid="u")

    kubelet.ready()

    assert ready(cluster.nodes.get("a")) == "True"
    assert taints(cluster.nodes.get("a")) == [(UNINITIALIZED, "NoSchedule")]


def test_a_kubelet_that_stops_becomes_unreachable() -> None:
    cluster = SimulatedCluster()
    kubelet = cluster.kubelet("a", system_uuid="u")
    kubelet.ready()

    kubelet.stop()

    assert ready(cluster.nodes.get("a")) == "Unknown"
    assert taints(cluster.nodes.get("a"))[1:] == [
        (UNREACHABLE, "NoSchedule"),
        (UNREACHABLE, "NoExecute"),
    ]


def test_a_kubelet_that_is_not_ready_says_so() -> None:
    cluster = SimulatedCluster()
    kubelet = cluster.kubelet("a", system_uuid="u")
    kubelet.ready()

    kubelet.not_ready()

    assert ready(cluster.nodes.get("a")) == "False"
    assert (NOT_READY, "NoExecute") in taints(cluster.nodes.get("a"))


def test_a_node_deleted_under_its_kubelet_stays_away_until_the_kubelet_starts_again() -> None:
    cluster = SimulatedCluster()
    kubelet = cluster.kubelet("a", system_uuid="u")
    cluster.nodes.delete("a")

    kubelet.ready()
    is_back_while_running = "a" in cluster.nodes
    kubelet.start()

    assert not is_back_while_running
    assert "a" in cluster.nodes


def test_a_kubelet_does_not_touch_what_others_wrote() -> None:
    cluster = SimulatedCluster()
    kubelet = cluster.kubelet("a", system_uuid="u")
    foreign = {"key": "k", "value": "v", "effect": "NoExecute"}
    cluster.nodes.patch("a", {"spec": {"taints": [foreign]}, "metadata": {"labels": {"x": "y"}}})

    kubelet.ready()
    kubelet.not_ready()

    assert foreign in cluster.nodes.get("a")["spec"]["taints"]
    assert cluster.nodes.get("a")["metadata"]["labels"]["x"] == "y"


def test_nodes_are_read_and_written_from_the_side() -> None:
    cluster = SimulatedCluster()

    created = cluster.nodes.create({"metadata": {"name": "b"}})
    cluster.nodes.put({"metadata": {"name": "a"}})
    changed = cluster.nodes.get("b") | {"status": {"phase": "Running"}}
    cluster.nodes.put(changed)

    assert [node["metadata"]["name"] for node in cluster.nodes] == ["a", "b"]
    assert len(cluster.nodes) == 2
    assert cluster.nodes.get("b")["status"]["phase"] == "Running"
    with pytest.raises(StatusError, match="already exists"):
        cluster.nodes.create({"metadata": {"name": "b"}})
    with pytest.raises(StatusError, match="the object has been modified"):
        cluster.nodes.put(created | {"spec": {"unschedulable": True}})
