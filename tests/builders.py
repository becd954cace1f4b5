"""Valid values of every kind, so that a test names only the facts that matter to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, uuid5

from provider.config import Config
from provider.model import (
    TAINT_UNINITIALIZED,
    AddressType,
    Cluster,
    Freshness,
    Instance,
    InstanceMetadata,
    InstanceStatus,
    Interface,
    Nic,
    Node,
    NodeAddress,
    Snapshot,
    Tag,
    Taint,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ENGINE_ID = "9f4a7e52-0c1d-4c7b-8a53-6f6f4c1d2e3a"
UNINITIALIZED = Taint(TAINT_UNINITIALIZED, "NoSchedule", "true")


def uuid_of(name: str) -> str:
    """The id that the VM called `name` has in all tests."""
    return str(uuid5(NAMESPACE_DNS, name))


def mac_of(name: str) -> str:
    """The MAC of the first vNIC of the VM called `name`."""
    digits = uuid_of(name).replace("-", "")
    return ":".join(("56", "6f", *(digits[i : i + 2] for i in range(0, 8, 2))))


def interface(*ips: str, name: str = "eth0", mac: str | None = None) -> Interface:
    """A guest interface with these addresses."""
    return Interface(name, mac, tuple(ip_address(ip) for ip in ips))


def instance(
    name: str = "worker-1", *, ips: Iterable[str] = ("10.0.0.1",), **facts: Any
) -> Instance:
    """A VM that has been up for an hour, with one vNIC whose guest interface has `ips`."""
    defaults: dict[str, Any] = {
        "id": uuid_of(name),
        "engine": "east",
        "engine_id": ENGINE_ID,
        "status": InstanceStatus.UP,
        "cluster": Cluster("blue", "paris"),
        "host": "hv-1",
        "tags": frozenset({Tag("docker-host")}),
        "cpus": 4,
        "memory": 8 << 30,
        "started": NOW - timedelta(hours=1),
        "nics": (Nic("nic1", mac_of(name)),),
        "interfaces": (interface(*ips, mac=mac_of(name)),),
    }
    return Instance(name=name, **(defaults | facts))


def snapshot(
    *instances: Instance, unreadable: Iterable[Unreadable] = (), **facts: Any
) -> Snapshot:
    """A complete listing of these instances, taken `NOW`."""
    defaults: dict[str, Any] = {
        "engine": "east",
        "engine_id": ENGINE_ID,
        "taken": NOW,
        "started": 0.0,
        "instances": {one.id: one for one in instances},
        "unreadable": {one.id: one for one in unreadable},
    }
    return Snapshot(**(defaults | facts))


def address(kind: str, value: str) -> NodeAddress:
    """A node address by the short name of its type: `internal`, `external`, `hostname`, `dns`."""
    types = {
        "internal": AddressType.INTERNAL_IP,
        "external": AddressType.EXTERNAL_IP,
        "hostname": AddressType.HOSTNAME,
        "dns": AddressType.INTERNAL_DNS,
    }
    return NodeAddress(types[kind], value)


def internal(*ips: str) -> tuple[NodeAddress, ...]:
    """InternalIP addresses in this order."""
    return tuple(address("internal", ip) for ip in ips)


def node(name: str = "worker-1", **facts: Any) -> Node:
    """A Node that a kubelet has just registered: uninitialised, with nothing but its hostname."""
    defaults: dict[str, Any] = {
        "uid": uuid_of(f"{name}.node"),
        "resource_version": "1",
        "created": NOW,
        "taints": (UNINITIALIZED,),
        "addresses": (address("hostname", name),),
        "system_uuid": uuid_of(name),
        "kubelet_version": "v1.37.2",
        "is_ready": True,
    }
    return Node(name=name, **(defaults | facts))


def metadata(name: str = "worker-1", **facts: Any) -> InstanceMetadata:
    """What the VM called `name` gives its node: a type, a zone, a region and one address."""
    defaults: dict[str, Any] = {
        "provider_id": f"ovirt://{uuid_of(name)}",
        "engine_id": ENGINE_ID,
        "instance_type": "4cpu-8gb",
        "zone": "blue",
        "region": "east",
        "addresses": internal("10.0.0.1"),
        "freshness": Freshness.LIVE,
        "labels": {},
    }
    return InstanceMetadata(**(defaults | facts))


def engine(name: str = "east", **facts: Any) -> dict[str, Any]:
    """One engine of a configuration."""
    return {
        "name": name,
        "url": f"https://{name}.example.com/ovirt-engine",
        "username": "kubernetes@internal",
        "password_file": f"/etc/ovirt-ccm/{name}/password",
    } | facts


def config(**sections: Any) -> Config:
    """A configuration with one engine, `east`, and defaults beside the given sections."""
    return Config(**({"engines": [engine()]} | sections))
