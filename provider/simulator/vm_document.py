"""A VM and its sub-collections as documents, member for member as engine 4.5.8 writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from provider.simulator.encoding import Long
from provider.simulator.objects import NIL_ID

if TYPE_CHECKING:
    from provider.simulator.encoding import Document
    from provider.simulator.machine import Vm
    from provider.simulator.objects import Device, Nic, Tag

API = "/ovirt-engine/api"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nc2ltdWxhdGVk\n-----END CERTIFICATE-----\n"
ACTIONS = (
    "autopincpuandnumanodes", "reordermacaddresses", "thawfilesystems", "undosnapshot",
    "screenshot", "cancelmigration", "commitsnapshot", "clone", "freezefilesystems", "logon",
    "maintenance", "previewsnapshot", "ticket", "reboot", "migrate", "shutdown", "start", "stop",
    "suspend", "reset", "export", "detach",
)  # fmt: skip
LINKS = (
    "diskattachments", "cdroms", "mediateddevices", "snapshots", "applications", "hostdevices",
    "reporteddevices", "sessions", "backups", "checkpoints", "katelloerrata", "permissions",
    "tags", "affinitylabels", "nics", "numanodes", "watchdogs", "graphicsconsoles", "statistics",
)  # fmt: skip
_ICONS = ("b8c4c044-5ed7-4eda-9a62-3bb43c955639", "fb5342ca-0774-44dc-af26-9dbc08d36128")
_PROFILE = "ec62aa4d-2335-4e21-be85-bb0778b23428"
_QUOTA = "3a82b5cc-e745-11f1-9c8f-02fc00000001"
_MIGRATION = {
    "auto_converge": "inherit",
    "compressed": "inherit",
    "encrypted": "inherit",
    "parallel_migrations_policy": "inherit",
}
_GUEST = {
    "architecture": "x86_64",
    "codename": "Plow",
    "distribution": "Red Hat Enterprise Linux",
    "family": "Linux",
    "kernel": {
        "version": {
            "build": "0",
            "full_version": "5.14.0-427.el9.x86_64",
            "major": "5",
            "minor": "14",
            "revision": "427",
        }
    },
    "version": {"full_version": "9.4", "major": "9", "minor": "4"},
}


def ref(collection: str, object_id: str) -> Document:
    """A reference to another object."""
    return {"href": f"{API}/{collection}/{object_id}", "id": object_id}


def links(base: str, names: tuple[str, ...]) -> list[Document]:
    """Links of an object to its sub-collections or actions."""
    return [{"href": f"{base}/{name}", "rel": name} for name in names]


def yes_no(value: bool) -> str:  # noqa: FBT001 # the value to write is a boolean
    """A boolean as the engine writes it."""
    return "true" if value else "false"


def vm_document(vm: Vm, *, is_filtered: bool = False) -> Document:
    """The VM as `GET /vms/{id}` shows it; filtered, as an account without a role sees it."""
    base = f"{API}/vms/{vm.id}"
    document: Document = {
        **_dynamic(vm),
        "next_run_configuration_exists": yes_no(vm.has_next_run),
        "stop_time": vm.stopped,
        "original_template": ref("templates", NIL_ID),
        "template": ref("templates", NIL_ID),
        "actions": {"link": links(base, ACTIONS)},
        "name": vm.name,
        "description": vm.description,
        "comment": vm.comment,
        **_hardware(vm),
        "cluster": ref("clusters", vm.cluster.id),
        "quota": {"id": _QUOTA},
        "link": links(base, LINKS),
        "href": base,
        "id": vm.id,
        **_policy(vm),
    }
    if vm.status is not None:
        document["status"] = vm.status
    if is_filtered:
        document.pop("host", None)
        document.pop("placement_policy")
    return _overridden(document, vm.overrides)


def with_all_content(document: Document) -> Document:
    """The VM as after a write, or with `all_content=true`: with its OVF and more."""
    ovf = f'<?xml version="1.0"?><Envelope><Name>{document["name"]}</Name></Envelope>'
    initialization = document.get("initialization", {})
    return document | {
        "initialization": {"configuration": {"data": ovf, "type": "ovf"}, **initialization},
        "console": {"enabled": "false"},
        "rng_device": {"source": "urandom"},
        "soundcard_enabled": "true",
        "tpm_enabled": "false",
        "virtio_scsi": {"enabled": "true"},
    }


def _overridden(document: Document, overrides: Document) -> Document:
    for name, value in overrides.items():
        if value is None:
            document.pop(name, None)
        else:
            document[name] = value
    return document


def _dynamic(vm: Vm) -> Document:
    """What exists only while the VM runs, or might: host, guest, times."""
    if not vm.is_dynamic:
        return {}
    document: Document = {"run_once": "false", "start_time": vm.started}
    if vm.host:
        document["host"] = ref("hosts", vm.host.id)
    if vm.agent_speaks and vm.reports_os:
        document["guest_operating_system"] = _GUEST
        document["guest_time_zone"] = {"name": "Europe/Prague", "utc_offset": "+01:00"}
    if vm.agent_speaks and vm.fqdn:
        document["fqdn"] = vm.fqdn
    return document


def _hardware(vm: Vm) -> Document:
    document: Document = {
        "bios": {"boot_menu": {"enabled": "false"}, "type": "q35_ovmf"},
        "cpu": {
            "architecture": vm.cluster.architecture,
            "topology": {
                "cores": str(vm.cores),
                "sockets": str(vm.sockets),
                "threads": str(vm.threads),
            },
        },
        "display": _display(vm),
        "io": {"threads": "1"},
        "memory": _long(vm, vm.memory),
        "migration": _MIGRATION,
        "origin": "ovirt",
        "os": {"boot": {"devices": {"device": ["hd"]}}, "type": vm.os},
        "sso": {"methods": {"method": [{"id": "guest_agent"}]}},
        "stateless": "false",
        "type": "server",
        "usb": {"enabled": "false"},
    }
    if vm.initialization is not None:
        document["initialization"] = _masked(vm.initialization)
    if vm.instance_type:
        document["instance_type"] = ref("instancetypes", vm.instance_type.id)
    if vm.custom_properties:
        pairs = [{"name": n, "value": v} for n, v in vm.custom_properties.items()]
        document["custom_properties"] = {"custom_property": pairs}
    return document


def _long(vm: Vm, number: int) -> str | Long:
    return str(number) if vm.world.version >= (4, 3) else Long(number)


def _masked(initialization: Document) -> Document:
    if "root_password" in initialization:
        return {**initialization, "root_password": "******"}
    return initialization


def _display(vm: Vm) -> Document:
    document: Document = {
        "allow_override": "false",
        "copy_paste_enabled": "true",
        "disconnect_action": "LOCK_SCREEN",
        "disconnect_action_delay": "0",
        "file_transfer_enabled": "true",
        "monitors": "1",
        "smartcard_enabled": "false",
        "type": "spice" if vm.is_dynamic else "vnc",
        "video_type": "vga",
    }
    if vm.is_dynamic:
        document["port"] = "5900"
    if vm.is_dynamic and vm.host:
        document["address"] = vm.host.address
        document["certificate"] = {
            "content": CERTIFICATE,
            "organization": "oVirt",
            "subject": f"O=oVirt,CN={vm.host.address}",
        }
    return document


def _policy(vm: Vm) -> Document:
    return {
        "auto_pinning_policy": "disabled",
        "cpu_pinning_policy": "none",
        "cpu_shares": "0",
        "creation_time": vm.created,
        "delete_protected": yes_no(vm.is_delete_protected),
        "high_availability": {"enabled": "false", "priority": "0"},
        "large_icon": ref("icons", _ICONS[0]),
        "memory_policy": {
            "ballooning": "true",
            "guaranteed": _long(vm, vm.memory),
            "max": _long(vm, vm.memory * 4),
        },
        "migration_downtime": "-1",
        "multi_queues_enabled": "true",
        "placement_policy": {"affinity": "migratable"},
        "small_icon": ref("icons", _ICONS[1]),
        "start_paused": "false",
        "storage_error_resume_behaviour": "auto_resume",
        "time_zone": {"name": "Etc/GMT"},
        "virtio_scsi_multi_queues_enabled": "false",
        "cpu_profile": ref("cpuprofiles", _PROFILE),
    }


def nic_document(vm: Vm, nic: Nic) -> Document:
    """A vNIC. Before 4.4.2 it carries the reported devices of its MAC."""
    base = f"{API}/vms/{vm.id}/nics/{nic.id}"
    document: Document = {
        "interface": "virtio",
        "linked": "true",
        "mac": {"address": nic.mac},
        "plugged": "true",
        "synced": "true",
        "actions": {"link": links(base, ("activate", "deactivate"))},
        "name": nic.name,
        "vm": ref("vms", vm.id),
        "link": links(base, ("reporteddevices", "networkfilterparameters", "statistics")),
        "href": base,
        "id": nic.id,
    }
    network = vm.world.network_of(vm.cluster)
    if nic.has_profile and network:
        document["vnic_profile"] = ref("vnicprofiles", network.profile_id)
    if vm.world.version < (4, 4, 2):
        mine = [d for d in device_documents(vm) if d.get("mac") == {"address": nic.mac}]
        document["reported_devices"] = {"reported_device": mine} if mine else {}
    return document


def device_documents(vm: Vm, turn: int = 0) -> list[Document]:
    """What the guest reports; `turn` rotates the addresses of each device."""
    if not (vm.is_dynamic and vm.agent_speaks):
        return []
    return [_device_document(vm, device, turn) for device in vm.devices]


def _device_document(vm: Vm, device: Device, turn: int) -> Document:
    ascii_id = (device.name + (device.mac or "null")).encode() * 4
    device_id = str(UUID(bytes=ascii_id[:16]))
    document: Document = {
        "type": "network",
        "vm": ref("vms", vm.id),
        "name": device.name,
        "description": "guest reported data",
        "href": f"{API}/vms/{vm.id}/reporteddevices/{device_id}",
        "id": device_id,
    }
    if device.mac:
        document["mac"] = {"address": device.mac}
    if device.addresses:
        split = turn % len(device.addresses)
        turned = device.addresses[split:] + device.addresses[:split]
        document["ips"] = {
            "ip": [{"address": a, "version": "v6" if ":" in a else "v4"} for a in turned]
        }
    return document


def vm_tag_document(vm: Vm, tag: Tag) -> Document:
    """A tag as it hangs on a VM."""
    document: Document = {
        "vm": ref("vms", vm.id),
        "name": tag.name,
        "href": f"{API}/vms/{vm.id}/tags/{tag.id}",
        "id": tag.id,
    }
    if tag.parent:
        document["parent"] = ref("tags", tag.parent.id)
    if tag.description is not None:
        document["description"] = tag.description
    return document
