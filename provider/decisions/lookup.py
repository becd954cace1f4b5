"""Which instance a key means that somebody asks for: an id, a name, an address.

A wrong answer costs more than none. What is not there counts as absent only when every engine
that could have it has been listed and still answers; what two instances fit is `Ambiguous`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions import identity
from provider.decisions.identity import find_instance, parse_provider_id, parse_uuid, swapped_uuid
from provider.model import ANNOTATION_ENGINE, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provider.decisions.identity import Directory
    from provider.decisions.members import Index, Member
    from provider.model import IPAddress, Node


class By(StrEnum):
    """What a key can be, in the order in which it is tried."""

    ID = "id"
    NAME = "name"
    PROVIDER_ID = "provider_id"
    NODE = "node"
    SYSTEM_UUID = "system_uuid"
    IP = "ip"


class Known(Struct, frozen=True):
    """All that a key is looked up in.

    `failing` has by name why the last listing of an engine failed, also of a silent one. `index`
    has the members of all listings, `nodes` the Nodes by name, which count only when
    `are_nodes_listed`.
    """

    directory: Directory
    failing: Mapping[str, str]
    index: Index
    nodes: Mapping[str, Node]
    are_nodes_listed: bool


# ---- the answer ------------------------------------------------------------------------------


class Found(Struct, frozen=True):
    """The key means this instance."""

    member: Member
    by: By


class Absent(Struct, frozen=True):
    """No selected instance is meant, for certain; `instance_id` is the id that the key has."""

    reason: str
    instance_id: str | None = None


class Ambiguous(Struct, frozen=True):
    """More than one instance is meant."""

    reason: str
    candidates: tuple[Member, ...]


class Unknown(Struct, frozen=True):
    """It cannot be said now; `instance_id` is the id that the key has."""

    reason: str
    instance_id: str | None = None


Answer = Found | Absent | Ambiguous | Unknown


def look_up(key: str, by: By | None, known: Known) -> Answer:
    """The instance that `key` means; with `by` nothing else is tried.

    The first that any instance fits decides. An id is certain as soon as one engine has it; a
    name, a node or an address only once no engine is silent, as another may have it too.
    """
    for lookup in (_LOOKUPS[by],) if by else _IN_ORDER:
        answer = lookup(key, known)
        if answer is not None:
            return answer
    instance_id = _id_of(key, by, known)
    if doubt := _doubt(key, by, known):
        return Unknown(doubt, instance_id)
    return Absent(f"no selected VM has the {_words(by)} {key}", instance_id)


def _words(by: By | None) -> str:
    names = {By.IP: "IP address", By.PROVIDER_ID: "providerID", By.SYSTEM_UUID: "system UUID"}
    if by is None:
        return "id, name, providerID, node name, system UUID or IP address"
    return names.get(by, "node name" if by is By.NODE else by.value)


# ---- the kinds of keys -----------------------------------------------------------------------


# Each gives what the key means as this kind of key; None when nothing fits it.


def _by_id(key: str, known: Known) -> Answer | None:
    by_id = known.index.by_id
    uuid = key if key in by_id else parse_uuid(key)  # most are written as the engine does
    return _one(By.ID, by_id.get(uuid), known) if uuid else None


def _by_name(key: str, known: Known) -> Answer | None:
    return _one(By.NAME, known.index.by_name.get(key), known)


def _by_provider_id(key: str, known: Known) -> Answer | None:
    instance_id = parse_provider_id(key)
    if instance_id is None:
        return None
    return _one(By.PROVIDER_ID, known.index.by_id.get(instance_id), known)


def _by_system_uuid(key: str, known: Known) -> Answer | None:
    uuid = parse_uuid(key)
    if uuid is None:
        return None
    by_id = known.index.by_id
    return _one(By.SYSTEM_UUID, by_id.get(uuid) or by_id.get(swapped_uuid(uuid)), known)


def _one(by: By, fitting: Mapping[str, Member] | None, known: Known) -> Answer | None:
    if not fitting:
        return None
    if len(fitting) > 1:
        return Ambiguous(f"{len(fitting)} VMs fit, by their {_words(by)}", tuple(fitting.values()))
    if known.directory.silent and by in _WEAK:
        return Unknown(f"another VM may fit too: {_silence(known)}")
    (member,) = fitting.values()
    return Found(member, by)


_WEAK = frozenset({By.NAME, By.NODE, By.IP})


def _by_node(name: str, known: Known) -> Answer | None:
    """The instance of the Node of this name; while there is no such Node, of the one to come."""
    if not known.are_nodes_listed:
        return Unknown("the Nodes of the cluster are not listed yet")
    node = known.nodes.get(name)
    if node is None:
        return _one(By.NODE, known.index.by_node_name.get(name), known)
    match find_instance(node, known.directory):
        case identity.Found(instance=instance):
            member = known.index.member(instance.engine, instance.id)
            return Found(member, By.NODE) if member else None
        case identity.Ambiguous(reason=reason, candidates=candidates):
            members = (known.index.member(one.engine, one.id) for one in candidates)
            return Ambiguous(f"the node {name}: {reason}", tuple(m for m in members if m))
        case identity.Unknown(reason=reason):
            return Unknown(f"the node {name}: {reason}", identity.instance_id_of(node))
    return None


def _by_address(key: str, known: Known) -> Answer | None:
    """The instance whose node has the address; else the one whose guest reports it at all."""
    address = _parse_address(key)
    if address is None:
        return None
    index = known.index
    fitting = index.by_address.get(address) or index.by_report.get(address)
    return _one(By.IP, fitting, known)


_LOOKUPS: Mapping[By, Callable[[str, Known], Answer | None]] = {
    By.ID: _by_id,
    By.NAME: _by_name,
    By.PROVIDER_ID: _by_provider_id,
    By.NODE: _by_node,
    By.SYSTEM_UUID: _by_system_uuid,
    By.IP: _by_address,
}
_IN_ORDER = tuple(_LOOKUPS[by] for by in By)


def _parse_address(key: str) -> IPAddress | None:
    """The address; of an IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2) the former."""
    try:
        address = ip_address(key)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


# ---- absence ---------------------------------------------------------------------------------


def _id_of(key: str, by: By | None, known: Known) -> str | None:
    """The instance id that the key, or the Node that it names, has by itself."""
    own = None if by in _WEAK else parse_provider_id(key)
    node = known.nodes.get(key) if by in (None, By.NODE) else None
    return own or (identity.instance_id_of(node) if node else None)


def _doubt(key: str, by: By | None, known: Known) -> str:
    """Why it cannot be said that no instance is meant; "" when it can."""
    if _is_impossible(key, by):
        return ""
    if known.directory.silent:
        return _silence(known)
    concerned = _concerned(key, by, known)
    if failing := {name: known.failing[name] for name in concerned if name in known.failing}:
        return f"an engine that may have it is not listed now: {' '.join(failing.values())}"
    return _unreadable(key, by, known)


def _is_impossible(key: str, by: By | None) -> bool:
    """Whether no VM of any engine can have such a key."""
    match by:
        case By.ID | By.SYSTEM_UUID:
            return parse_uuid(key) is None
        case By.PROVIDER_ID:
            return parse_provider_id(key) is None
        case By.IP:
            return _parse_address(key) is None
    return False


def _concerned(key: str, by: By | None, known: Known) -> Iterable[str]:
    """The engines that could have it: a Node has recorded which one has its instance."""
    node = known.nodes.get(key)
    recorded = node.annotations.get(ANNOTATION_ENGINE) if node and by is By.NODE else None
    for name, snapshot in known.directory.snapshots.items():
        if recorded in (None, name, snapshot.engine_id):
            yield name


def _unreadable(key: str, by: By | None, known: Known) -> str:
    """Which VM could be the one that is meant and cannot be understood; "" when there is none."""
    is_address = by in (None, By.IP) and _parse_address(key) is not None
    is_name = by in (None, By.NAME, By.NODE) and _could_be_name(key)
    for member in known.index.unreadable.values():
        vm = member.instance
        if isinstance(vm, Unreadable) and (is_address or (is_name and not vm.name)):
            return f"the VM {vm.name or vm.id} cannot be understood: {vm.reason}"
    return ""


def _could_be_name(key: str) -> bool:
    """Whether a VM could have this name; a UUID is one that the engine takes."""
    return parse_provider_id(key) is None or parse_uuid(key) is not None


def _silence(known: Known) -> str:
    silent = known.directory.silent
    told = (known.failing.get(name) or f"engine {name} is being asked." for name in silent)
    return f"the VMs of an engine are not known yet: {' '.join(told)}"
