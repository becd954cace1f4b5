"""What runs on the cluster beside the product."""

from __future__ import annotations

from typing import Any

from tests.e2e.image import PRODUCT

_SCRIPT = "trap 'exit 0' TERM; while :; do sleep 1; done"


def pod(name: str) -> dict[str, Any]:
    """A pod that tolerates nothing."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(name), "spec": _spec(name)}


def replicated(kind: str, name: str, *, at_first: str) -> dict[str, Any]:
    """A Deployment or StatefulSet of one pod that prefers this node and leaves a dead one soon."""
    labels = {"app": name}
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [at_first]}
    preference = {"weight": 100, "preference": {"matchExpressions": [term]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    patience = [
        {"key": f"node.kubernetes.io/{key}", "effect": "NoExecute", "tolerationSeconds": 5}
        for key in ("unreachable", "not-ready")
    ]
    spec = {**_spec(name), "affinity": affinity, "tolerations": _existing(patience)}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": _metadata(name),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _existing(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "operator": "Exists"} for one in tolerations]


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "labels": {"app": name}}


def _spec(name: str) -> dict[str, Any]:
    container = {
        "name": name,
        "image": PRODUCT,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", _SCRIPT],
    }
    return {"containers": [container]}
