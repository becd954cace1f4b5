"""Tags, networks, users, events and the rest as documents, as engine 4.5.8 writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from provider.simulator.objects import NIL_ID
from provider.simulator.vm_document import API, links, ref

if TYPE_CHECKING:
    from provider.simulator.encoding import Document
    from provider.simulator.eventlog import Event
    from provider.simulator.machine import Vm
    from provider.simulator.objects import Network, Tag, User
    from provider.simulator.world import World

COLLECTIONS = (
    "clusters", "datacenters", "events", "hosts", "networks", "roles", "storagedomains", "tags",
    "bookmarks", "icons", "templates", "instancetypes", "users", "groups", "domains", "vmpools",
    "vms", "disks", "jobs", "storageconnections", "vnicprofiles", "diskprofiles", "cpuprofiles",
    "schedulingpolicyunits", "schedulingpolicies", "permissions", "macpools", "networkfilters",
    "operatingsystems", "externalhostproviders", "openstackimageproviders",
    "openstackvolumeproviders", "openstacknetworkproviders", "katelloerrata", "affinitylabels",
    "clusterlevels", "imagetransfers", "externalvmimports", "externaltemplateimports",
)  # fmt: skip
_SEARCHABLE = frozenset(
    [
        "clusters",
        "datacenters",
        "disks",
        "events",
        "groups",
        "hosts",
        "instancetypes",
        "networks",
        "storagedomains",
        "templates",
        "users",
        "vmpools",
        "vms",
    ]
)
_USER_LINKS = (
    "sshpublickeys", "eventsubscriptions", "groups", "roles", "permissions", "tags", "options",
)  # fmt: skip
_REF_COLLECTIONS = {
    "vm": "vms",
    "host": "hosts",
    "cluster": "clusters",
    "data_center": "datacenters",
    "user": "users",
    "template": "templates",
}
_STATISTICS = (
    ("memory.installed", "integer", "bytes", "Total memory configured"),
    ("memory.used", "integer", "bytes", "Memory used (agent)"),
    ("cpu.current.guest", "decimal", "percent", "CPU used by guest"),
    ("cpu.current.hypervisor", "decimal", "percent", "CPU overhead"),
    ("cpu.current.total", "decimal", "percent", "Total CPU used"),
    ("network.current.total", "decimal", "percent", "Network used"),
)


def root_document(world: World, user: User) -> Document:
    """`GET /api`: product, version, summary (administrators only) and links."""
    document: Document = {
        "product_info": _product(world),
        "special_objects": {
            "blank_template": ref("templates", NIL_ID),
            "root_tag": ref("tags", NIL_ID),
        },
        "time": world.clock.epoch_ms(),
        "authenticated_user": ref("users", user.id),
        "effective_user": ref("users", user.id),
        "link": root_links(),
    }
    if user.is_administrator:
        document |= {"engine_backup": {}, "summary": _summary(world)}
    elif world.version < (4, 3):
        document["summary"] = {}
    return document


def _product(world: World) -> Document:
    major, minor, build = world.version
    product: Document = {
        "name": "oVirt Engine",
        "version": {
            "build": str(build),
            "full_version": f"{major}.{minor}.{build}-0.master",
            "major": str(major),
            "minor": str(minor),
            "revision": "0",
        },
    }
    if world.version < (4, 5):
        product["vendor"] = "ovirt.org"
    if world.version >= (4, 4, 3):
        product["instance_id"] = world.instance_id
    return product


def _summary(world: World) -> Document:
    up_hosts = sum(h.status == "up" for h in world.hosts)
    running = sum(vm.is_dynamic for vm in world.vms.values())
    return {
        "hosts": _active(up_hosts, len(world.hosts)),
        "storage_domains": _active(0, 0),
        "users": _active(len(world.users), len(world.users)),
        "vms": _active(running, len(world.vms)),
    }


def _active(active: int, total: int) -> Document:
    return {"active": str(active), "total": str(total)}


def root_links() -> list[Document]:
    """The collections of the API, each with its search where it has one."""
    found = []
    for name in COLLECTIONS:
        found.append({"href": f"{API}/{name}", "rel": name})
        if name in _SEARCHABLE:
            found.append({"href": f"{API}/{name}?search={{query}}", "rel": f"{name}/search"})
    return found


def tag_document(tag: Tag) -> Document:
    """A tag of the tree."""
    document: Document = {"name": tag.name, "href": f"{API}/tags/{tag.id}", "id": tag.id}
    if tag.parent:
        document["parent"] = ref("tags", tag.parent.id)
    if tag.description is not None:
        document["description"] = tag.description
    return document


def network_document(network: Network) -> Document:
    """A logical network."""
    base = f"{API}/networks/{network.id}"
    return {
        "mtu": "0",
        "port_isolation": "false",
        "stp": "false",
        "usages": {"usage": ["vm"]},
        "vdsm_name": network.name,
        "data_center": ref("datacenters", network.data_center.id),
        "name": network.name,
        "description": "Management Network",
        "comment": "",
        "link": links(base, ("networklabels", "permissions", "vnicprofiles")),
        "href": base,
        "id": network.id,
    }


def vnic_profile_document(network: Network) -> Document:
    """The vNIC profile of a network."""
    base = f"{API}/vnicprofiles/{network.profile_id}"
    return {
        "pass_through": {"mode": "disabled"},
        "port_mirroring": "false",
        "network": ref("networks", network.id),
        "network_filter": ref("networkfilters", "d2370ab4-fee3-11e9-a310-8c1645ce738e"),
        "name": network.name,
        "link": links(base, ("permissions",)),
        "href": base,
        "id": network.profile_id,
    }


def user_document(user: User) -> Document:
    """An account."""
    base = f"{API}/users/{user.id}"
    principal, _, profile = user.name.rpartition("@")
    domain = f"{profile}-authz"
    domain_id = domain.encode().hex().upper()
    return {
        "department": "",
        "domain_entry_id": user.id.encode().hex().upper(),
        "email": f"{principal}@localhost",
        "last_name": "",
        "namespace": "*",
        "principal": principal,
        "user_name": user.audit_name,
        "domain": {"name": domain, "href": f"{API}/domains/{domain_id}", "id": domain_id},
        "name": principal,
        "link": links(base, _USER_LINKS),
        "href": base,
        "id": user.id,
    }


def event_document(event: Event) -> Document:
    """An event; its id is its index, as text and as number."""
    document: Document = {
        "code": str(event.code),
        "custom_id": "-1",
        "flood_rate": "0",
        "index": str(event.id),
        "origin": "oVirt",
        "severity": event.severity,
        "time": event.time,
        "description": event.description,
        "href": f"{API}/events/{event.id}",
        "id": str(event.id),
    }
    if event.correlation_id:
        document["correlation_id"] = event.correlation_id
    for kind, (name, object_id) in event.refs.items():
        document[kind] = {"name": name, **ref(_REF_COLLECTIONS[kind], object_id)}
    return document


def statistic_documents(vm: Vm) -> list[Document]:
    """The statistics of a VM: what is installed, and an idle machine."""
    found = []
    for name, kind, unit, description in _STATISTICS:
        statistic_id = str(uuid5(NAMESPACE_OID, name))
        datum = float(vm.memory) if name == "memory.installed" else 0.0
        found.append(
            {
                "kind": "gauge",
                "type": kind,
                "unit": unit,
                "values": {"value": [{"datum": datum}]},
                "vm": ref("vms", vm.id),
                "name": name,
                "description": description,
                "href": f"{API}/vms/{vm.id}/statistics/{statistic_id}",
                "id": statistic_id,
            }
        )
    return found
