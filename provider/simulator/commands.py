"""`POST`, `PUT` and `DELETE`: VMs, their actions, and tags, with the refusals of the engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from provider.simulator.apirequest import checked_id
from provider.simulator.permissions import administer
from provider.simulator.reads import visible_vm
from provider.simulator.replies import (
    BAD_SYNTAX,
    ActionFault,
    Fault,
    Missing,
    Page,
    Reply,
    authorize,
    crash,
)
from provider.simulator.tag_commands import (
    attach,
    create_tag,
    delete_tag,
    detach,
    find_tag,
    update_tag,
)
from provider.simulator.vm_document import (
    ACTIONS,
    API,
    LINKS,
    links,
    ref,
    vm_document,
    with_all_content,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provider.simulator.apirequest import Request
    from provider.simulator.encoding import Document
    from provider.simulator.machine import Vm
    from provider.simulator.objects import User

_VM_NAME = re.compile(r"[\w.-]{1,64}")
_VM_TYPES = frozenset({"server", "desktop", "high_performance"})
_VM_MEMBERS = frozenset((
    "name", "description", "comment", "cluster", "template", "memory", "memory_policy", "cpu",
    "initialization", "type", "os", "instance_type", "bios", "delete_protected",
    "high_availability", "placement_policy", "stateless", "time_zone", "custom_properties",
    "display", "origin", "id", "href", "status", "nics", "tags", "disk_attachments", "next_run",
    "original_template", "console", "migration", "usb", "io", "sso", "link", "actions",
))  # fmt: skip
_NPE = (
    "java.lang.NullPointerException: Cannot invoke "
    '"org.ovirt.engine.core.common.businessentities.VM.getStatus()" because the return value of '
    '"org.ovirt.engine.core.bll.RunVmCommand.getVm()" is null'
)
_NO_HOST = "[Cannot migrate VM. There is no host that satisfies current scheduling constraints.]"


def write(request: Request, method: str, body: Document | None) -> Reply:
    """The answer to a POST, PUT or DELETE."""
    match request.path:
        case ("users" | "roles" | "permissions",) if method == "POST":
            return administer(request, body or {})
        case ("tags", *_):
            return _write_tag(request, method, body or {})
        case ("vms", vm_id, "tags", *_):
            return _write_vm_tag(request, method, checked_id(vm_id), body or {})
        case ("vms",) if method == "POST":
            return _create_vm(request, body)
        case ("vms", vm_id) if method == "PUT":
            return _update_vm(request, visible_vm(request, vm_id), body or {})
        case ("vms", vm_id) if method == "DELETE":
            return _remove_vm(request, visible_vm(request, vm_id))
        case ("vms", vm_id, action) if method == "POST" and action in _ACTIONS:
            return _act(request, checked_id(vm_id), action, body or {})
    raise request.unknown()


def _write_tag(request: Request, method: str, body: Document) -> Reply:
    match (method, *request.path[1:]):
        case ("POST",):
            return create_tag(request, body)
        case ("PUT", tag_id):
            return update_tag(request, find_tag(request, tag_id), body)
        case ("DELETE", tag_id):
            return delete_tag(request, find_tag(request, tag_id))
    raise request.unknown()


def _write_vm_tag(request: Request, method: str, vm_id: str, body: Document) -> Reply:
    match (method, *request.path[3:]):
        case ("POST",):
            return attach(request, vm_id, body)
        case ("DELETE", tag_id):
            return detach(request, visible_vm(request, vm_id), checked_id(tag_id))
    raise request.unknown()


def _done(request: Request, description: str, **more: Any) -> Reply:  # members of an action
    now = request.world.clock.epoch_ms()
    base = ref("jobs", str(uuid4()))
    request.jobs.append(
        {
            "auto_cleared": "true",
            "end_time": now,
            "external": "false",
            "last_updated": now,
            "start_time": now,
            "status": "finished",
            "owner": ref("users", request.user.id),
            "actions": {"link": links(base["href"], ("clear", "end"))},
            "description": description,
            "link": links(base["href"], ("steps",)),
            **base,
        }
    )
    return Reply("action", {"job": base, "status": "complete", **more})


def _create_vm(request: Request, body: Document | None) -> Reply:
    if body is None:
        raise crash("Cannot read the body because it is null")
    _check_members(request, body)
    if not body.get("name"):
        raise Fault(400, "Vm [name] required for add", "Incomplete parameters")
    cluster = _referenced(request.world.clusters, "Cluster", body.get("cluster"))
    if body.get("instance_type", {}).get("name"):
        raise crash("Cannot read the instance type because its id is null")
    authorize(request.user)
    name = str(body["name"])
    _check_name(name)
    if _is_taken(request, name, cluster.data_center):
        raise Fault(409, _NAME_IN_USE.format("add"))
    vm = request.world.create_vm(name, cluster, request.user)
    _apply(vm, body)
    status = 201
    if request.query.get("clone") == "true":
        vm.status, status = "image_locked", 202
        copy = request.world.durations.disk_copy.total_seconds()
        request.world.clock.after(copy, lambda: vm.set_status("down"))
    document = with_all_content(vm_document(vm))
    if status == 202:  # accepted, as above
        document["creation_status"] = "in_progress"
    return request.created("vm", document, status)


_NAME_IN_USE = (
    "[Cannot {} VM. The VM name is already in use, please choose a unique name and try again.]"
)


def _check_members(request: Request, body: Document) -> None:
    for name in body:
        if name not in _VM_MEMBERS:
            raise Page(400, f'Unrecognized field "{name}" (class Vm)', is_correlated=True)
    if body.get("type", "server") not in _VM_TYPES:
        raise bad_syntax(request)


def bad_syntax(request: Request) -> Fault:
    """The fault of a body that cannot be read."""
    usage = f"{request.origin}/ovirt-engine/apidoc#services/{request.path[0]}/methods/add"
    return Fault(400, f"For correct usage, see: {usage}", BAD_SYNTAX)


def _check_name(name: str) -> None:
    if not _VM_NAME.fullmatch(name):
        raise Fault(
            400,
            "[Can not add VM. The given name contains special characters. Only lower-case and "
            "upper-case letters, numbers, '_', '-', '.' are allowed., Attribute: vmStatic.name]",
        )


def _is_taken(request: Request, name: str, data_center: object) -> bool:
    return any(
        vm.name == name and vm.cluster.data_center is data_center
        for vm in request.world.vms.values()
    )


def _referenced(
    things: Iterable[Any], kind: str, wanted: Document | None
) -> Any:  # a named object
    if not wanted:
        raise Fault(400, f"Vm [{kind.lower()}.id|name] required for add", "Incomplete parameters")
    for thing in things:
        if wanted.get("id") == thing.id or wanted.get("name") == thing.name:
            return thing
    by = "id" if "id" in wanted else "name"
    raise Fault(404, f"Entity not found: {kind}: {by}={wanted.get(by)}")


def _apply(vm: Vm, body: Document) -> None:
    """Take over the members of a request that the simulation keeps."""
    for name in ("description", "comment"):
        if name in body:
            setattr(vm, name, str(body[name]))
    if "memory" in body:
        vm.memory = int(body["memory"])
    if "delete_protected" in body:
        vm.is_delete_protected = str(body["delete_protected"]).lower() == "true"
    if "initialization" in body:
        vm.initialization = body["initialization"]
    topology = body.get("cpu", {}).get("topology", {})
    for name in ("sockets", "cores", "threads"):
        if name in topology:
            setattr(vm, name, int(topology[name]))


def _update_vm(request: Request, vm: Vm, body: Document) -> Reply:
    authorize(request.user)
    name = str(body.get("name", vm.name))
    _check_name(name)
    if name != vm.name and _is_taken(request, name, vm.cluster.data_center):
        raise Fault(409, _NAME_IN_USE.format("edit"))
    if request.query.get("next_run") == "true" and vm.is_dynamic:
        vm.has_next_run = True
    else:
        _apply(vm, body)
    vm.rename(name, request.user)
    return Reply("vm", with_all_content(vm_document(vm)))


def _remove_vm(request: Request, vm: Vm) -> Reply:
    authorize(request.user)
    if vm.status == "image_locked":
        raise Fault(409, "[Cannot remove VM: VM is locked. Please try again in a few minutes.]")
    if vm.is_dynamic:
        raise Fault(409, "[Cannot remove VM. VM is running.]")
    if vm.is_delete_protected:
        raise Fault(
            409, "[Cannot remove VM. Delete protection is enabled. In order to delete, disable "
            "Delete protection first.]",
        )  # fmt: skip
    vm.remove(request.user)
    return _done(request, f"Removing VM {vm.name} from system")


def _act(request: Request, vm_id: str, action: str, body: Document) -> Reply:
    vm = request.world.vms.get(vm_id)
    if vm is None and action == "start":
        raise ActionFault(500, _NPE)
    if vm is None:
        raise Missing
    authorize(request.user, ActionFault)
    _ACTIONS[action](vm, request.user, body)
    shown = {}
    if action in ("stop", "shutdown"):
        base = f"{API}/vms/{vm.id}"
        shown["vm"] = {
            "actions": {"link": links(base, ACTIONS)},
            "link": links(base, LINKS),
            **ref("vms", vm.id),
        }
    return _done(request, f"{action.capitalize()} VM {vm.name}", **shown)


def _start(vm: Vm, user: User, _body: Document) -> None:
    if vm.start_fault:
        raise ActionFault(400, f"[{vm.start_fault}]")
    if vm.status not in ("down", "suspended"):
        raise ActionFault(409, "[Cannot run VM. VM is running.]")
    vm.start(user)


def _stop(vm: Vm, user: User, _body: Document) -> None:
    _refuse_unless_running(vm, "stop")
    vm.stop(user)


def _shutdown(vm: Vm, user: User, _body: Document) -> None:
    _refuse_unless_running(vm, "shutdown")
    vm.shutdown(user)


def _refuse_unless_running(vm: Vm, verb: str) -> None:
    """A VM that is down or suspended is stopped already, which is a success."""
    if vm.status in ("unknown", "unassigned", "image_locked", None):
        raise ActionFault(409, f"[Cannot {verb} VM. VM is not running.]")


def _reboot(vm: Vm, user: User, _body: Document) -> None:
    if vm.status not in ("up", "powering_up"):
        raise ActionFault(409, "[Cannot reboot VM. VM is not up.]")
    vm.reboot(user)


def _suspend(vm: Vm, user: User, _body: Document) -> None:
    if vm.status != "up":
        raise ActionFault(409, "[Cannot hibernate VM. VM is not up.]")
    vm.suspend(user)


def _migrate(vm: Vm, user: User, body: Document) -> None:
    if vm.status != "up":
        raise ActionFault(409, "[Cannot migrate VM. VM is not running.]")
    wanted = body.get("host", {})
    try:
        vm.migrate(wanted.get("id") or wanted.get("name"), user)
    except KeyError:
        raise ActionFault(409, _NO_HOST) from None


_ACTIONS: dict[str, Callable[[Vm, User, Document], None]] = {
    "start": _start,
    "stop": _stop,
    "shutdown": _shutdown,
    "reboot": _reboot,
    "suspend": _suspend,
    "migrate": _migrate,
}
