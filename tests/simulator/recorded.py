"""The recordings of engine 4.5.8, and a simulated world that has the recorded objects."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from provider.simulator.objects import Device
from provider.simulator.scenario import Scenario

if TYPE_CHECKING:
    from provider.simulator.engine import SimulatedEngine

FOLDER = Path(__file__).parent.parent / "data" / "engine-4.5.8"
READER_PASSWORD = "p&w+d %/=?öü"
PERMITTED = ("worker-03", "worker-04", "gpu-1")
_COLLECTION = re.compile(r"/vms/([0-9a-f-]{36})/(nics|reporteddevices|tags)$")
_MEMBERS = {"nics": "nics", "reporteddevices": "reported_devices", "tags": "tags"}
_NIL = "00000000-0000-0000-0000-000000000000"
# What no followed list tells: the rest carries `docker-host` alone.
_TAGS = {
    "no-tag": [],
    "master-0": ["docker-host", "k8s_master"],
    "master-1": ["docker-host", "k8s_master"],
}

Document = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    name: str
    meta: Document
    body: bytes

    @property
    def number(self) -> int:
        return int(self.name[:3])

    @property
    def status(self) -> int:
        return int(self.meta["status"])

    def header(self, name: str) -> str | None:
        headers = {k.lower(): v for k, v in self.meta["response_headers"].items()}
        return headers.get(name.lower())

    def json(self) -> Document:
        document: Document = json.loads(self.body)
        return document


@cache
def recordings() -> tuple[Recording, ...]:
    found = []
    for path in sorted(FOLDER.glob("*.meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        body = (FOLDER / meta["file"]).read_bytes()
        if meta["file"].endswith(".gz"):
            body = gzip.decompress(body)
        found.append(Recording(path.name.removesuffix(".meta.json"), meta, body))
    return tuple(found)


def recording(number: int) -> Recording:
    return next(r for r in recordings() if r.number == number)


def vms_in(recorded: Recording) -> list[Document]:
    """The VMs of a recorded JSON answer, whole ones only."""
    if not recorded.body.startswith(b"{"):
        return []
    document = recorded.json()
    found = document.get("vm", [document])
    return [v for v in found if "original_template" in v] if isinstance(found, list) else []


@cache
def _known_vms() -> dict[str, Document]:
    """Every recorded VM, with what any recording tells about it."""
    known: dict[str, Document] = {}
    for recorded in recordings():
        for vm in vms_in(recorded):
            known[vm["id"]] = known.get(vm["id"], {}) | vm
    for recorded in recordings():
        collection = _COLLECTION.search(recorded.meta["path"])
        if collection and collection[1] in known and recorded.meta["method"] == "GET":
            known[collection[1]][_MEMBERS[collection[2]]] = recorded.json()
    for element in ET.fromstring(recording(27).body):  # noqa: S314 # our own recording
        known[element.attrib["id"]] |= _links_of(element)
    return known


def _links_of(vm: ET.Element) -> Document:
    """The vNICs and devices of a VM that is recorded as XML only."""
    return {
        "nics": {"nic": [_plain(nic) for nic in vm.iterfind("nics/nic")]},
        "reported_devices": {
            "reported_device": [
                _plain(device) | {"ips": {"ip": [_plain(ip) for ip in device.iterfind("ips/ip")]}}
                for device in vm.iterfind("reported_devices/reported_device")
            ]
        },
    }


def _plain(element: ET.Element) -> Document:
    children = {c.tag: _plain(c) if len(c) or c.attrib else c.text for c in element}
    return dict(element.attrib) | children


@cache
def _names(number: int, member: str) -> dict[str, Document]:
    return {item["id"]: item for item in recording(number).json()[member]}


def recorded_scenario(shown: Recording | None = None) -> Scenario:
    """The recorded installation, its VMs in the state of one recording when that shows them."""
    states = {vm["id"]: vm for vm in vms_in(shown)} if shown else {}
    made_later = ("new-0", "new-renamed", "new-loc")
    vms = [
        _vm(vm | states.get(vm_id, {}), states.get(vm_id, vm))
        for vm_id, vm in _known_vms().items()
        if vm["name"] not in made_later
    ]
    return Scenario.model_validate(_frame() | {"vms": vms})


def _frame() -> Document:
    users = {u["principal"]: u["id"] for u in _names(80, "user").values()}
    data_centers, clusters = _names(77, "data_center"), _names(76, "cluster")
    tags = _names(70, "tag")
    return {
        "users": [
            {
                "id": users["admin"],
                "name": "admin@internal",
                "password": "secret",
                "role": "SuperUser",
            },
            {"id": users["reader"], "name": "reader@internal", "password": READER_PASSWORD},
            {
                "id": users["user"],
                "name": "user@internal",
                "password": "secret",
                "role": "UserRole",
                "vms": PERMITTED,
            },
        ],
        "data_centers": [
            _same(d) | {"description": d.get("description", "")} for d in data_centers.values()
        ],
        "clusters": [
            _same(c)
            | {
                "description": c["description"],
                "data_center": data_centers[c["data_center"]["id"]]["name"],
            }
            for c in clusters.values()
        ],
        "hosts": [
            _same(h)
            | {
                "cluster": clusters[h["cluster"]["id"]]["name"],
                "address": h["address"],
                "status": h["status"],
            }
            for h in _names(74, "host").values()
        ],
        "tags": [
            _same(t)
            | {
                "description": t["description"],
                "parent": tags[t["parent"]["id"]]["name"] if t["parent"]["id"] != _NIL else None,
            }
            for t in tags.values()
            if t["id"] != _NIL
        ],
        "instance_types": [
            _same(i) | {"memory": int(i["memory"]), "sockets": i["cpu"]["topology"]["sockets"]}
            for i in _names(78, "instance_type").values()
        ],
    }


def _same(item: Document) -> Document:
    return {"id": item["id"], "name": item["name"]}


def _vm(vm: Document, state: Document) -> Document:
    hosts, clusters = _names(74, "host"), _names(76, "cluster")
    host = state.get("host", vm.get("host"))
    return _same(vm) | {
        "status": state.get("status"),
        "cluster": clusters[vm["cluster"]["id"]]["name"],
        "host": hosts[host["id"]]["name"] if host else None,
        "fqdn": state.get("fqdn"),
        "agent": "guest_operating_system" in state or bool(_devices(vm)),
        "reports_os": "guest_operating_system" in state,
        "tags": _tags(vm),
        "nics": [_nic(nic) for nic in vm.get("nics", {}).get("nic", [])],
        "devices": [_device(d) for d in _devices(vm)],
        "initialization": _initialization(vm) if "initialization" in state else None,
        "delete_protected": vm["delete_protected"] == "true",
        "memory": int(vm["memory"]),
        "custom_properties": {
            p["name"]: p["value"]
            for p in vm.get("custom_properties", {}).get("custom_property", [])
        },
    }


def _initialization(vm: Document) -> Document | None:
    plain = {k: v for k, v in vm["initialization"].items() if k != "configuration"}
    return plain or None


def _tags(vm: Document) -> list[str]:
    if "tags" in vm:
        return [t["name"] for t in vm["tags"].get("tag", [])]
    return _TAGS.get(vm["name"], ["docker-host"])


def _nic(nic: Document) -> Document:
    return {
        "id": nic["id"],
        "name": nic["name"],
        "mac": nic["mac"]["address"],
        "device": "",
        "has_profile": "vnic_profile" in nic,
    }


def _devices(vm: Document) -> list[Document]:
    return list(vm.get("reported_devices", {}).get("reported_device", []))


def _device(device: Document) -> Document:
    return {
        "name": device["name"],
        "mac": device.get("mac", {}).get("address", ""),
        "addresses": [ip["address"] for ip in device.get("ips", {}).get("ip", [])],
    }


def give_unfiltered_devices(engine: SimulatedEngine) -> None:
    """Devices as the recorded database held them: they were written into it, past its filter."""
    for vm_id, vm in _known_vms().items():
        if vm_id in engine.world.vms and _devices(vm):
            engine.world.vms[vm_id].devices = tuple(
                Device(d["name"], d["mac"], tuple(d["addresses"]))
                for d in map(_device, _devices(vm))
            )
