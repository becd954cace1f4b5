"""One request and the parts that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


@dataclass(frozen=True)
class Step:
    """One request; `<rv>`, `<uid>`, `<token>` stand for those of the answer before."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"


def merge(path: str, body: Any) -> Step:
    return Step("PATCH", path, body, MERGE)


def strategic(path: str, body: Any) -> Step:
    return Step("PATCH", path, body, STRATEGIC)


def json_patch(path: str, *operations: dict[str, Any]) -> Step:
    return Step("PATCH", path, list(operations), JSON_PATCH)


def node(name: str = "a", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name} | rest.pop("metadata", {})
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata} | rest


def addresses(*pairs: str) -> dict[str, Any]:
    listed = [dict(zip(("type", "address"), pair.split("="), strict=True)) for pair in pairs]
    return {"status": {"addresses": listed}}


def lease(**spec: Any) -> dict[str, Any]:
    typed = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return typed | {"metadata": {"name": "l"}, "spec": spec}


def event(namespace: str = "", name: str = "e") -> dict[str, Any]:
    about = {"kind": "Node", "name": "a", "uid": "a", "apiVersion": "v1"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": about | ({"namespace": namespace} if namespace else {}),
        "reason": "Synced",
        "message": "text",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "us"},
    }


def conditions(kind: str, state: str) -> dict[str, Any]:
    stamp = {"lastHeartbeatTime": TIME, "lastTransitionTime": TIME}
    return {"status": {"conditions": [{"type": kind, "status": state} | stamp]}}


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ROLES = {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/infra": "x"}
TIME = "2026-01-01T00:00:00.000000Z"
A = f"{NODES}/a"
CREATE = Step("POST", NODES, node())
TAINTED = Step("POST", NODES, node(spec={"taints": [{"key": "k", "effect": "NoSchedule"}]}))
DUAL = addresses("InternalIP=10.0.0.1", "InternalIP=fd00::1", "Hostname=a")
FULL = {
    "status": {
        "addresses": [
            *DUAL["status"]["addresses"],
            {"type": "ExternalIP", "address": "192.0.2.1"},
        ],
        "nodeInfo": {
            "kubeletVersion": "v1.37.2",
            "osImage": "Debian",
            "kernelVersion": "6.1",
            "containerRuntimeVersion": "containerd://2",
        },
        "conditions": conditions("Ready", "True")["status"]["conditions"],
        "capacity": {"cpu": "2"},
    }
}
