"""What a cluster shows of nodes and pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.product import eventually, taint_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cluster import Cluster

Object = dict[str, Any]

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


async def node_when(
    cluster: Cluster, name: str, what: str, is_so: Callable[[Object], bool], within: float = 60
) -> Object:
    """The Node once it is so; AssertionError says that it never was."""

    async def look() -> Object | None:
        node = await cluster.admin.node(name)
        return node if node and is_so(node) else None

    return await eventually(look, f"node {name} {what}", within=within)


async def pods(cluster: Cluster, labels: str, namespace: str = "default") -> list[Object]:
    """The pods with these labels (`a=b`), those that are ending included."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={labels}"
    found: list[Object] = (await cluster.admin.call("GET", path))["items"]
    return found


async def pod_when(
    cluster: Cluster,
    labels: str,
    what: str,
    is_so: Callable[[Object], bool],
    *,
    namespace: str = "default",
    within: float = 60,
) -> Object:
    """The first pod with these labels that is so."""

    async def look() -> Object | None:
        found = await pods(cluster, labels, namespace)
        return next((pod for pod in found if is_so(pod)), None)

    return await eventually(look, f"a pod {labels} {what}", within=within)


def has_taint(key: str) -> Callable[[Object], bool]:
    """Whether a Node has a taint of this key."""
    return lambda node: key in taint_keys(node)


def lacks_taints(*keys: str) -> Callable[[Object], bool]:
    """Whether a Node has no taint of these keys."""
    return lambda node: not taint_keys(node).intersection(keys)


def is_ready(thing: Object) -> bool:
    """Whether the Node or pod is ready."""
    conditions = thing["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_open(node: Object) -> bool:
    """Whether the Node is ready, and Kubernetes has taken its own taints away as well."""
    return is_ready(node) and not taint_keys(node)


def is_unschedulable(pod: Object) -> bool:
    """Whether the scheduler has found no node for it."""
    conditions = pod["status"].get("conditions", ())
    return any(one.get("reason") == "Unschedulable" for one in conditions)


def is_ending(pod: Object) -> bool:
    """Whether it has been asked to end and is still there."""
    return "deletionTimestamp" in pod["metadata"]


def runs_on(node: str) -> Callable[[Object], bool]:
    """Whether a pod is ready on this node and not ending."""
    return lambda pod: pod["spec"].get("nodeName") == node and is_ready(pod) and not is_ending(pod)
