"""`GET`: the collections and objects of the API, searched, paged, followed and filtered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provider.simulator.apirequest import Request, VmList, checked_id
from provider.simulator.documents import (
    COLLECTIONS,
    event_document,
    network_document,
    root_document,
    statistic_documents,
    tag_document,
    user_document,
    vnic_profile_document,
)
from provider.simulator.follow import follow, parse_follow
from provider.simulator.infrastructure import (
    cluster_document,
    data_center_document,
    host_document,
    instance_type_document,
)
from provider.simulator.objects import NIL_ID
from provider.simulator.permissions import (
    level_document,
    permission_document,
    permit_documents,
    role_document,
)
from provider.simulator.replies import NO_PERMISSION, Fault, Missing, Reply
from provider.simulator.search import SearchFailed, Table, find
from provider.simulator.tables import event_table, host_table, named_table, vm_table
from provider.simulator.vm_document import (
    LINKS,
    device_documents,
    nic_document,
    ref,
    vm_document,
    vm_tag_document,
    with_all_content,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.simulator.encoding import Document
    from provider.simulator.eventlog import Event
    from provider.simulator.machine import Vm
    from provider.simulator.objects import Host

# Of a VM that does not exist, these are 404; every other list is 200 and empty.
_STRICT_LISTS = frozenset({"applications", "sessions", "cdroms", "graphicsconsoles"})
_SINGULAR = {
    "statistics": "statistic",
    "diskattachments": "disk_attachment",
    "reporteddevices": "reported_device",
    "affinitylabels": "affinity_label",
    "instancetypes": "instance_type",
    "datacenters": "data_center",
    "vnicprofiles": "vnic_profile",
}


def read(request: Request) -> Reply | VmList:
    """The answer to a GET."""
    match request.path:
        case ():
            return _root(request)
        case ("vms",):
            return _vm_list(request)
        case ("vms", vm_id, *rest):
            return _vm(request, vm_id, rest)
        case ("roles", role_id, "permits"):
            return listed("permit", permit_documents(request, role_id))
        case ("clusterlevels", level):
            return Reply("cluster_level", level_document(level))
        case (name,) if name in COLLECTIONS:
            return _collection(request, name)
        case (name, object_id) if name in COLLECTIONS:
            return _object(request, name, object_id)
    raise request.unknown()


def _vm(request: Request, vm_id: str, rest: list[str]) -> Reply:
    match rest:
        case []:
            return Reply("vm", one_vm(request, visible_vm(request, vm_id)))
        case [name] if name in LINKS:
            return _vm_collection(request, vm_id, name)
        case [name, part_id] if name in LINKS:
            return _vm_part(request, vm_id, name, part_id)
    raise request.unknown()


def _root(request: Request) -> Reply:
    document = root_document(request.world, request.user)
    urls = [f"<{request.origin}{link['href']}>; rel={link['rel']}" for link in document["link"]]
    return Reply("api", document, headers={"Link": ",".join(urls)})


def visible_vm(request: Request, text: str) -> Vm:
    """The VM of this id, when the user may see it; Missing otherwise."""
    vm = request.world.vms.get(checked_id(text))
    if vm is None or not _may_see(request, vm):
        raise Missing
    return vm


def _may_see(request: Request, vm: Vm) -> bool:
    return not request.is_filtered or (
        not request.user.is_administrator and vm.name in request.user.vms
    )


def one_vm(request: Request, vm: Vm) -> Document:
    """A VM as its own resource shows it, with what is to be followed."""
    document = vm_document(vm, is_filtered=request.is_filtered)
    if request.wants_all_content:
        document = with_all_content(document)
    tree = parse_follow(request.query.get("follow", ""))
    if "tags" in tree and not request.user.is_administrator:
        raise Fault(400, NO_PERMISSION)
    follow(request.world, "vm", vm, document, tree, request.turn)
    return document


def _vm_list(request: Request) -> VmList:
    faults, text = request.faults, request.query.get("search", "")
    is_filtered, size = request.is_filtered, request.max_count()
    if is_filtered and size is not None and (found := re.search(r"sortby\s+name\s+asc", text)):
        text = text[found.start() :]
    table = vm_table(request.tags, text)
    candidates = [vm for vm in request.world.vms.values() if _may_see(request, vm)]
    vms = _search(candidates, table, text, size, request)
    if faults.empty_lists:
        vms = []
    if faults.hidden_vms:
        vms = [vm for vm in vms if vm.name not in faults.hidden_vms]
    if faults.duplicated_vms:
        vms = _with_duplicates(request, vms, text, size)
    return VmList(vms, request.query.get("follow"))


def _with_duplicates(request: Request, vms: list[Vm], text: str, size: int | None) -> list[Vm]:
    again = [vm for vm in request.world.vms.values() if vm.name in request.faults.duplicated_vms]
    if size is None:
        return vms + [vm for vm in again if vm in vms]
    is_first = re.search(r"page\s+1\b", text) or "page" not in text
    return vms if is_first or not vms else [*(vm for vm in again if vm not in vms), *vms]


def _search(
    things: Iterable[Any], table: Table[Any], text: str, size: int | None, request: Request
) -> list[Any]:
    exact = request.query.get("case_sensitive", "").lower() == "true"
    try:
        return find(things, table, text, size, is_case_sensitive=exact)
    except SearchFailed as error:
        raise Fault(400, str(error)) from None


def _vm_collection(request: Request, vm_id: str, name: str) -> Reply:
    vm = request.world.vms.get(checked_id(vm_id))
    if vm is not None and not _may_see(request, vm):
        vm = None
    if name == "tags" and not request.user.is_administrator:
        raise Fault(400, NO_PERMISSION)
    singular = _SINGULAR.get(name, name.removesuffix("s"))
    if vm is None and name == "statistics":
        raise Fault(404, f"Entity not found: {vm_id}")
    if vm is None and name in _STRICT_LISTS:
        raise Missing
    items = _vm_parts(request, vm, name) if vm else []
    if not items and name == "affinitylabels":
        return Reply("affinity_labels", {singular: []})
    return listed(singular, items)


def _vm_parts(request: Request, vm: Vm, name: str) -> list[Document]:
    match name:
        case "nics":
            return [nic_document(vm, nic) for nic in vm.nics]
        case "reporteddevices":
            return device_documents(vm, request.turn)
        case "tags":
            return [vm_tag_document(vm, tag) for tag in vm.tags]
        case "statistics":
            return statistic_documents(vm)
    return []


def _vm_part(request: Request, vm_id: str, name: str, part_id: str) -> Reply:
    vm = visible_vm(request, vm_id)
    for document in _vm_parts(request, vm, name):
        if document["id"] == checked_id(part_id):
            return Reply(_SINGULAR.get(name, name.removesuffix("s")), document)
    raise Missing


def listed(singular: str, items: list[Document]) -> Reply:
    """A list as a document: nothing at all when it is empty."""
    plural = "statistics" if singular == "statistic" else f"{singular}s"
    return Reply(plural, {singular: items} if items else {})


def _collection(request: Request, name: str) -> Reply:
    singular = _SINGULAR.get(name, name.removesuffix("s"))
    if name == "events":
        return listed("event", [event_document(e) for e in _events(request)])
    if name == "tags" and not request.user.is_administrator:
        raise Fault(400, NO_PERMISSION)
    things, table = _things(request, name)
    found = _search(things, table, request.query.get("search", ""), request.max_count(), request)
    documents = [_document(request, name, thing) for thing in found]
    tree = parse_follow(request.query.get("follow", ""))
    for thing, document in zip(found, documents, strict=True):
        follow(request.world, singular, thing, document, tree, request.turn)
    return listed(singular, documents)


def _events(request: Request) -> list[Event]:
    start = request.query.get("from", "")
    after = int(start) if start.isdigit() else 0
    events = (e for e in request.world.events.newest_first() if e.id > after)
    text = request.query.get("search", "")
    return _search(events, event_table(), text, request.max_count(), request)


def _things(request: Request, name: str) -> tuple[Iterable[Any], Table[Any]]:
    world = request.world
    match name:
        case "hosts":
            return world.hosts, host_table()
        case "jobs":
            return request.jobs, Table("job", {}, lambda _: [], lambda _: 0)
        case "permissions":
            return world.permissions, Table("permission", {}, lambda _: [], lambda _: 0)
    things: dict[str, Iterable[Any]] = {
        "clusters": world.clusters,
        "datacenters": world.data_centers,
        "tags": world.tags,
        "users": world.users,
        "roles": world.roles,
        "networks": world.networks,
        "vnicprofiles": world.networks,
        "instancetypes": world.instance_types,
        "templates": [_BLANK],
    }
    return things.get(name, ()), named_table(name)


class _Blank:
    """The one template of the simulated engine."""

    id, name, description = NIL_ID, "Blank", "Blank template"


_BLANK = _Blank()


def _document(request: Request, name: str, thing: Any) -> Document:  # any object of the world
    match name:
        case "hosts":
            return _host(request, thing)
        case "jobs":
            return dict(thing)
        case "templates":
            return {"name": "Blank", "description": "Blank template", **ref("templates", NIL_ID)}
    writers = {
        "clusters": cluster_document,
        "datacenters": data_center_document,
        "tags": tag_document,
        "users": user_document,
        "roles": role_document,
        "permissions": permission_document,
        "networks": network_document,
        "vnicprofiles": vnic_profile_document,
        "instancetypes": instance_type_document,
    }
    return writers[name](thing)  # type: ignore[operator, no-any-return]


def _host(request: Request, host: Host) -> Document:
    document = host_document(host, request.world)
    if not request.user.is_administrator:
        document["cpu"] = {k: v for k, v in document["cpu"].items() if k != "type"}
    return document


def _object(request: Request, name: str, object_id: str) -> Reply:
    singular = _SINGULAR.get(name, name.removesuffix("s"))
    if name == "events":
        event = request.world.events.find(object_id)
        if event is None:
            raise Missing
        return Reply("event", event_document(event))
    wanted = checked_id(object_id)
    for thing in _things(request, name)[0]:
        document = _document(request, name, thing)
        if document["id"] == wanted:
            tree = parse_follow(request.query.get("follow", ""))
            follow(request.world, singular, thing, document, tree, request.turn)
            return Reply(singular, document)
    raise Missing
