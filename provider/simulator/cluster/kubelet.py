"""A kubelet with `--cloud-provider=external`, and what kube-controller-manager does about it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from .registry import WriteOptions, now
from .resources import LEASES, NODES, Object
from .rules import NOT_READY_TAINT
from .status import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .registry import Registry

UNINITIALIZED_TAINT = "node.cloudprovider.kubernetes.io/uninitialized"
UNREACHABLE_TAINT = "node.kubernetes.io/unreachable"
PROVIDED_NODE_IP = "alpha.kubernetes.io/provided-node-ip"

_MAIN = WriteOptions()
_STATUS = WriteOptions(subresource="status")

_LEASES_NAMESPACE = "kube-node-lease"


class Kubelet:
    """Handle on one simulated kubelet; every write of it produces watch events."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        *,
        system_uuid: str,
        provided_node_ip: str | None,
        addresses: Sequence[tuple[str, str]] | None,
        labels: dict[str, str],
        version: str,
    ) -> None:
        self.name = name
        self._registry = registry
        self._system_uuid = system_uuid
        self._node_ip = provided_node_ip
        self._addresses = addresses
        self._labels = labels
        self._version = version

    def start(self) -> None:
        """Register the Node, not ready yet; one that exists keeps its taints and addresses.

        A real kubelet of 1.37 adds to a Node that it finds neither taints nor its own labels,
        only hostname, os and arch, its annotations and its status, and no Hostname address when
        there are addresses.
        """
        try:
            self._registry.create(NODES, "", self._new_node())
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            self._registry.patch(NODES, ("", self.name), self._adopted, _STATUS)
        self._renew_lease()

    def ready(self) -> None:
        """Report Ready; the not-ready and unreachable taints are removed, as kcm does."""
        self._report("True", "KubeletReady", "kubelet is posting ready status", ())
        self._renew_lease()

    def not_ready(self) -> None:
        """Report Ready=False; kcm taints the Node not-ready."""
        self._report("False", "KubeletNotReady", "container runtime is down", (NOT_READY_TAINT,))
        self._renew_lease()

    def stop(self) -> None:
        """Fall silent: Ready=Unknown and unreachable, with no wait for kcm's grace period."""
        message = "Kubelet stopped posting node status."
        self._report("Unknown", "NodeStatusUnknown", message, (UNREACHABLE_TAINT,))

    def _new_node(self) -> Object:
        annotations = self._annotations()
        taint = {"key": UNINITIALIZED_TAINT, "value": "true", "effect": "NoSchedule"}
        return {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name,
                "labels": self._own_labels() | self._labels,
                "annotations": annotations,
            },
            "spec": {"taints": [taint]},
            "status": self._status() | {"addresses": self._own_addresses()},
        }

    def _adopted(self, node: Object) -> Object:
        metadata = node["metadata"]
        labels = (metadata.get("labels") or {}) | self._own_labels()
        annotations = (metadata.get("annotations") or {}) | self._annotations()
        status = node.get("status") or {}
        addresses = status.get("addresses") or self._own_addresses()
        return node | {
            "metadata": metadata | {"labels": labels, "annotations": annotations},
            "status": status | self._status() | {"addresses": addresses},
        }

    def _annotations(self) -> dict[str, str]:
        own = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
        return own | ({PROVIDED_NODE_IP: self._node_ip} if self._node_ip else {})

    def _own_labels(self) -> dict[str, str]:
        return {
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
        }

    def _own_addresses(self) -> list[Object]:
        """With `--node-ip` that InternalIP, and always Hostname (an external cloud provider)."""
        if self._addresses is not None:
            return [{"type": kind, "address": address} for kind, address in self._addresses]
        given = self._node_ip.split(",") if self._node_ip else []
        internal = [{"type": "InternalIP", "address": address.strip()} for address in given]
        return [*internal, {"type": "Hostname", "address": self.name}]

    def _status(self) -> Object:
        resources = {"cpu": "2", "memory": "4018920Ki", "pods": "110"}
        pressure = [
            _condition(kind, "False", f"KubeletHas{reason}", f"kubelet has {reason}")
            for kind, reason in _PRESSURES.items()
        ]
        waiting = _condition("Ready", "False", "KubeletNotReady", "container runtime is starting")
        return {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [*pressure, waiting],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": self._node_info(),
        }

    def _node_info(self) -> Object:
        return {
            "architecture": "amd64",
            "bootID": self._system_uuid,
            "containerRuntimeVersion": "containerd://2.1.4",
            "kernelVersion": "6.1.0-25-amd64",
            "kubeProxyVersion": "",
            "kubeletVersion": self._version,
            "machineID": self._system_uuid.replace("-", ""),
            "operatingSystem": "linux",
            "osImage": "Debian GNU/Linux 12 (bookworm)",
            "systemUUID": self._system_uuid,
        }

    def _report(self, is_ready: str, reason: str, message: str, taints: Sequence[str]) -> None:
        """Write the Ready condition, then the taints that follow from it."""
        condition = _condition("Ready", is_ready, reason, message)
        self._write(lambda node: _with_condition(node, condition), _STATUS)
        self._write(lambda node: _with_health_taints(node, taints), _MAIN)

    def _write(self, transform: Callable[[Object], Object], options: WriteOptions) -> None:
        """Write to the Node; one that was deleted is not registered again, as in 1.37."""
        try:
            self._registry.patch(NODES, ("", self.name), transform, options)
        except StatusError as error:
            if error.reason != "NotFound":
                raise

    def _renew_lease(self) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": stamp}
        key = (_LEASES_NAMESPACE, self.name)
        try:
            self._registry.patch(LEASES, key, lambda lease: lease | {"spec": spec})
        except StatusError:
            manifest = {"metadata": {"name": self.name}, "spec": spec}
            self._registry.create(LEASES, _LEASES_NAMESPACE, manifest)


_PRESSURES = {
    "MemoryPressure": "SufficientMemory",
    "DiskPressure": "NoDiskPressure",
    "PIDPressure": "SufficientPID",
}


def _condition(kind: str, is_true: str, reason: str, message: str) -> Object:
    stamp = now()
    return {
        "type": kind,
        "status": is_true,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }


def _with_condition(node: Object, condition: Object) -> Object:
    status = node.get("status") or {}
    conditions = [
        item for item in status.get("conditions") or [] if item["type"] != condition["type"]
    ]
    return node | {"status": status | {"conditions": [*conditions, condition]}}


def _with_health_taints(node: Object, keys: Sequence[str]) -> Object:
    spec = node.get("spec") or {}
    kept = [
        taint
        for taint in spec.get("taints") or []
        if taint["key"] not in (NOT_READY_TAINT, UNREACHABLE_TAINT)
    ]
    stamp = now()
    added = [
        {"key": key, "effect": effect, "timeAdded": stamp}
        for key in keys
        for effect in ("NoSchedule", "NoExecute")
    ]
    return node | {"spec": spec | {"taints": [*kept, *added]}}
