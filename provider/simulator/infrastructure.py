"""Data centres, clusters, hosts and instance types as documents, as engine 4.5.8 writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.simulator.vm_document import API, links, ref, yes_no

if TYPE_CHECKING:
    from provider.simulator.encoding import Document
    from provider.simulator.objects import Cluster, DataCenter, Host, InstanceType
    from provider.simulator.world import World

_MAC_POOL = "58ca604b-017d-0374-0220-00000000014e"
_HOST_ACTIONS = (
    "activate", "install", "deactivate", "upgrade", "fence", "forceselectspm", "iscsidiscover",
    "discoveriscsi", "iscsilogin", "unregisteredstoragedomainsdiscover", "upgradecheck",
    "copyhostnetworks", "setupnetworks", "approve", "commitnetconfig", "enrollcertificate",
    "syncallnetworks", "refresh",
)  # fmt: skip
_HOST_LINKS = (
    "katelloerrata", "permissions", "tags", "affinitylabels", "fenceagents", "devices", "hooks",
    "nics", "numanodes", "storage", "networkattachments", "storageconnectionextensions",
    "unmanagednetworks", "externalnetworkproviderconfigurations", "cpuunits", "statistics",
)  # fmt: skip
_CLUSTER_ACTIONS = (
    "upgrade",
    "resetemulatedmachine",
    "syncallnetworks",
    "refreshglusterhealstatus",
)
_CLUSTER_LINKS = (
    "glusterhooks", "glustervolumes", "enabledfeatures", "externalnetworkproviders",
    "cpuprofiles", "networkfilters", "networks", "permissions", "affinitygroups",
)  # fmt: skip
_DATA_CENTER_LINKS = (
    "clusters", "networks", "storagedomains", "permissions", "quotas", "qoss", "iscsibonds",
)  # fmt: skip


def _version(full: str, major: str, minor: str, build: str, revision: str) -> Document:
    return {
        "build": build,
        "full_version": full,
        "major": major,
        "minor": minor,
        "revision": revision,
    }


_CLUSTER_SETTINGS: Document = {
    "ballooning_enabled": "true",
    "bios_type": "q35_ovmf",
    "custom_scheduling_policy_properties": {
        "property": [
            {"name": "HighUtilization", "value": "80"},
            {"name": "CpuOverCommitDurationMinutes", "value": "2"},
        ]
    },
    "error_handling": {"on_error": "migrate"},
    "fencing_policy": {
        "enabled": "true",
        "skip_if_connectivity_broken": {"enabled": "false", "threshold": "50"},
        "skip_if_gluster_bricks_up": "false",
        "skip_if_gluster_quorum_not_met": "false",
        "skip_if_sd_active": {"enabled": "false"},
    },
    "fips_mode": "undefined",
    "firewall_type": "firewalld",
    "gluster_service": "false",
    "ha_reservation": "false",
    "ksm": {"enabled": "true", "merge_across_nodes": "true"},
    "log_max_memory_used_threshold": "95",
    "log_max_memory_used_threshold_type": "percentage",
    "memory_policy": {
        "over_commit": {"percent": "100"},
        "transparent_hugepages": {"enabled": "true"},
    },
    "migration": {
        "auto_converge": "inherit",
        "bandwidth": {"assignment_method": "auto"},
        "compressed": "inherit",
        "encrypted": "inherit",
        "parallel_migrations_policy": "disabled",
        "policy": {"id": "80554327-0569-496b-bdeb-fcbbf52b827b"},
    },
    "required_rng_sources": {"required_rng_source": ["urandom"]},
    "switch_type": "legacy",
    "threads_as_cores": "false",
    "trusted_service": "false",
    "tunnel_migration": "false",
    "upgrade_in_progress": "false",
    "upgrade_percent_complete": "0",
    "version": {"major": "4", "minor": "8"},
    "virt_service": "true",
    "vnc_encryption": "false",
    "mac_pool": ref("macpools", _MAC_POOL),
    "scheduling_policy": ref("schedulingpolicies", "b4ed2332-a7ac-4d5f-9596-99a439cb2812"),
}
_HOST_HARDWARE: Document = {
    "auto_numa_status": "disable",
    "cpu": {
        "name": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
        "speed": 2100,
        "topology": {"cores": "8", "sockets": "2", "threads": "2"},
        "type": "Intel Nehalem Family",
    },
    "device_passthrough": {"enabled": "false"},
    "external_status": "ok",
    "hardware_information": {
        "manufacturer": "Dell Inc.",
        "product_name": "PowerEdge R740",
        "serial_number": "SIMULATED",
        "supported_rng_sources": {"supported_rng_source": []},
        "uuid": "4c4c4544-0148-4410-8053-b4c04f4d5133",
    },
    "kdump_status": "unknown",
    "ksm": {"enabled": "false"},
    "libvirt_version": _version("libvirt-10.0.0-6.el9", "10", "0", "0", "0"),
    "max_scheduling_memory": "180563738624",
    "memory": "202375168000",
    "numa_supported": "false",
    "os": {
        "custom_kernel_cmdline": "",
        "description": "AlmaLinux 9.4",
        "type": "RHEL",
        "version": {"full_version": "9.4 - 1.el9", "major": "9", "minor": "4"},
    },
    "ovn_configured": "false",
    "port": "54321",
    "power_management": {
        "automatic_pm_enabled": "true",
        "enabled": "false",
        "kdump_detection": "false",
        "pm_proxies": {},
    },
    "protocol": "stomp",
    "reinstallation_required": "false",
    "se_linux": {"mode": "enforcing"},
    "ssh": {"port": "22"},
    "transparent_hugepages": {"enabled": "true"},
    "type": "rhel",
    "update_available": "false",
    "version": _version("vdsm-4.50.5.1-1.el9", "4", "50", "5", "1"),
    "vgpu_placement": "consolidated",
}
_TYPE_SETTINGS: Document = {
    "display": {
        "allow_override": "false",
        "copy_paste_enabled": "true",
        "disconnect_action": "LOCK_SCREEN",
        "disconnect_action_delay": "0",
        "file_transfer_enabled": "true",
        "monitors": "1",
        "smartcard_enabled": "false",
        "type": "spice",
        "video_type": "vga",
    },
    "io": {"threads": "0"},
    "migration": {
        "auto_converge": "inherit",
        "compressed": "inherit",
        "encrypted": "inherit",
        "parallel_migrations_policy": "inherit",
    },
    "os": {"boot": {"devices": {"device": ["hd"]}}},
    "usb": {"enabled": "false"},
    "creation_time": 1399237200000,
    "high_availability": {"enabled": "false", "priority": "0"},
    "migration_downtime": "-1",
    "placement_policy": {"affinity": "migratable"},
}


def data_center_document(data_center: DataCenter) -> Document:
    """A data centre."""
    base = f"{API}/datacenters/{data_center.id}"
    document: Document = {
        "local": yes_no(data_center.is_local),
        "quota_mode": "disabled",
        "status": data_center.status,
        "supported_versions": {"version": [{"major": "4", "minor": "8"}]},
        "version": {"major": "4", "minor": "8"},
        "mac_pool": ref("macpools", _MAC_POOL),
        "actions": {"link": links(base, ("setmaster", "cleanfinishedtasks"))},
        "name": data_center.name,
        "link": links(base, _DATA_CENTER_LINKS),
        "href": base,
        "id": data_center.id,
    }
    if data_center.description:
        document["description"] = data_center.description
    return document


def cluster_document(cluster: Cluster) -> Document:
    """A cluster; without `data_center` when it has lost it."""
    base = f"{API}/clusters/{cluster.id}"
    document: Document = {
        "cpu": {"architecture": cluster.architecture, "type": "Intel Nehalem Family"},
        **_CLUSTER_SETTINGS,
        "actions": {"link": links(base, _CLUSTER_ACTIONS)},
        "name": cluster.name,
        "description": cluster.description,
        "comment": "",
        "link": links(base, _CLUSTER_LINKS),
        "href": base,
        "id": cluster.id,
    }
    if cluster.data_center:
        document["data_center"] = ref("datacenters", cluster.data_center.id)
    return document


def host_document(host: Host, world: World) -> Document:
    """A hypervisor."""
    base = f"{API}/hosts/{host.id}"
    mine = [vm for vm in world.vms.values() if vm.host is host]
    return {
        "address": host.address,
        "certificate": {"organization": "oVirt", "subject": f"O=oVirt,CN={host.address}"},
        **_HOST_HARDWARE,
        "spm": {"priority": "5", "status": "none"},
        "status": host.status,
        "summary": {
            "active": str(sum(vm.is_up for vm in mine)),
            "migrating": str(sum(vm.status == "migrating" for vm in mine)),
            "total": str(len(mine)),
        },
        "cluster": ref("clusters", host.cluster.id),
        "actions": {"link": links(base, _HOST_ACTIONS)},
        "name": host.name,
        "comment": "",
        "link": links(base, _HOST_LINKS),
        "href": base,
        "id": host.id,
    }


def instance_type_document(instance_type: InstanceType) -> Document:
    """An instance type."""
    base = f"{API}/instancetypes/{instance_type.id}"
    memory, most = str(instance_type.memory), str(instance_type.memory * 4)
    sockets = str(instance_type.sockets)
    return {
        **_TYPE_SETTINGS,
        "name": instance_type.name,
        "description": f"{instance_type.name} instance type",
        "cpu": {"topology": {"cores": "1", "sockets": sockets, "threads": "1"}},
        "memory": memory,
        "link": links(base, ("nics", "watchdogs", "graphicsconsoles")),
        "href": base,
        "id": instance_type.id,
        "memory_policy": {"ballooning": "true", "guaranteed": memory, "max": most},
    }
