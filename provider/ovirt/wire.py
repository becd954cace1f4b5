"""The JSON of the engine as typed structs: only what is needed, so that secrets are never read.

The engine writes booleans and numbers as strings (before 4.3 some as numbers), dates as epoch
milliseconds, an empty list as `{}`. Only `id` and, where nothing works without it, `name` are
required: one odd VM costs only itself.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from msgspec import Struct

from provider.errors import ReplyUnusable
from provider.model import Unreadable

T = TypeVar("T")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HREF = re.compile(rf"/vms/({_UUID.pattern})$")


class Ref(Struct, gc=False):
    """A link to another object."""

    id: str = ""


class Named(Struct, gc=False):
    """A host, a data centre or an instance type."""

    id: str
    name: str


class WireCluster(Struct, gc=False):
    """A cluster; it may have lost its data centre."""

    id: str
    name: str
    data_center: Ref | None = None


class WireTag(Struct, gc=False):
    """A tag; only the root tag has no parent."""

    id: str
    name: str
    parent: Ref | None = None


class Mac(Struct, gc=False):
    """A MAC address."""

    address: str = ""


class Ip(Struct, gc=False):
    """An IP address."""

    address: str = ""


class Ips(Struct, gc=False):
    """The addresses of an interface."""

    ip: list[Ip] = []


class Device(Struct, gc=False):
    """An interface that the guest agent reports."""

    name: str = ""
    mac: Mac | None = None
    ips: Ips | None = None


class Devices(Struct, gc=False):
    """The interfaces that the guest agent reports."""

    reported_device: list[Device] = []


class WireNic(Struct, gc=False):
    """A virtual network card; engines up to 4.4.1 put the reported devices into it."""

    name: str = ""
    mac: Mac | None = None
    reported_devices: Devices | None = None


class Nics(Struct, gc=False):
    """The virtual network cards of a VM."""

    nic: list[WireNic] = []


class Tags(Struct, gc=False):
    """Tags: all of an engine, or those attached to a VM itself."""

    tag: list[WireTag] = []


Part = TypeVar("Part", Nics, Devices, Tags)


class CpuTopology(Struct, gc=False):
    """The virtual CPUs are the product of the three."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1


class Cpu(Struct, gc=False):
    """The CPU of a VM."""

    topology: CpuTopology | None = None


class CustomProperty(Struct, gc=False):
    """A custom property of a VM."""

    name: str = ""
    value: str = ""


class CustomProperties(Struct, gc=False):
    """The custom properties of a VM."""

    custom_property: list[CustomProperty] = []


class Vm(Struct, gc=False):
    """A VM. `nics`, `reported_devices` and `tags` are None when they were not asked for."""

    id: str
    name: str = ""
    status: str | None = None
    cluster: Ref | None = None
    host: Ref | None = None
    memory: int = 0
    cpu: Cpu | None = None
    instance_type: Ref | None = None
    fqdn: str | None = None
    start_time: int | str | None = None
    nics: Nics | None = None
    reported_devices: Devices | None = None
    tags: Tags | None = None
    custom_properties: CustomProperties | None = None


class Vms(Struct, gc=False):
    """A page of VMs; without any the member is missing."""

    vm: list[Vm] | None = None


class _RawVms(Struct, gc=False):
    vm: list[msgspec.Raw]


class _Identity(Struct, gc=False):
    id: object = None
    name: object = None
    href: object = None


class Clusters(Struct, gc=False):
    """All clusters."""

    cluster: list[WireCluster] = []


class DataCenters(Struct, gc=False):
    """All data centres."""

    data_center: list[Named] = []


class Hosts(Struct, gc=False):
    """All hosts."""

    host: list[Named] = []


class InstanceTypes(Struct, gc=False):
    """All instance types."""

    instance_type: list[Named] = []


class Version(Struct, gc=False):
    """The version of an engine."""

    major: int = 0
    minor: int = 0
    full_version: str = ""


class ProductInfo(Struct, gc=False):
    """What an engine is; without `instance_id` before 4.4.3."""

    version: Version
    instance_id: str = ""


class Root(Struct, gc=False):
    """The answer to GET /api."""

    product_info: ProductInfo


class EventRef(Struct, gc=False):
    """An object that an event names; the engine may name one that no longer exists, without id."""

    id: str = ""
    name: str = ""


class Event(Struct, gc=False):
    """An entry of the engine's event log; later ones have higher ids."""

    id: int
    code: int = 0
    time: int | str = 0
    vm: EventRef | None = None
    host: EventRef | None = None


class Events(Struct, gc=False):
    """A part of the event log, newest first."""

    event: list[Event] = []


_page = msgspec.json.Decoder(Vms, strict=False)
_raw_page = msgspec.json.Decoder(_RawVms)
_vm = msgspec.json.Decoder(Vm, strict=False)
_identity = msgspec.json.Decoder(_Identity)


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID with its dashes, the only form that the engine takes in a path."""
    return _UUID.fullmatch(text) is not None


def read(engine: str, kind: type[T], body: bytes) -> T:
    """`body` as `kind`; ReplyUnusable when it is not."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unusable(engine, error) from error


def read_vm(engine: str, body: bytes) -> Vm | Unreadable:
    """A single VM; ReplyUnusable when not even its id can be told."""
    return _odd_or_vm(engine, body)


def read_page(engine: str, body: bytes) -> list[Vm | Unreadable]:
    """The VMs of a page, each that cannot be understood as Unreadable.

    ReplyUnusable when the page is no page or has a VM whose id cannot be told: it would go
    missing silently.
    """
    try:
        page = _page.decode(body).vm
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _read_one_by_one(engine, body)
    if page is None:
        if body.translate(None, b" \t\r\n") != b"{}":
            raise ReplyUnusable(engine, "a list of VMs holds something else.")
        return []
    if not all(_UUID.fullmatch(vm.id) for vm in page):
        return _read_one_by_one(engine, body)
    return list(page)


def _read_one_by_one(engine: str, body: bytes) -> list[Vm | Unreadable]:
    try:
        items = _raw_page.decode(body).vm
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unusable(engine, error) from error
    return [_odd_or_vm(engine, bytes(item)) for item in items]


def _odd_or_vm(engine: str, body: bytes) -> Vm | Unreadable:
    try:
        vm = _vm.decode(body)
        reason = "its id is no UUID"
        if _UUID.fullmatch(vm.id):
            return vm
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error)
    return _odd(engine, body, reason)


def _odd(engine: str, body: bytes, reason: str) -> Unreadable:
    try:
        known = _identity.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unusable(engine, error) from error
    name = known.name if isinstance(known.name, str) else None
    if isinstance(known.id, str) and _UUID.fullmatch(known.id):
        return Unreadable(known.id.lower(), name, reason)
    if isinstance(known.href, str) and (found := _HREF.search(known.href)):
        return Unreadable(found[1].lower(), name, reason)
    raise ReplyUnusable(engine, "an answer holds a VM without an id.")


def _unusable(engine: str, error: Exception) -> ReplyUnusable:
    return ReplyUnusable(engine, f"an answer cannot be understood: {error}.")
