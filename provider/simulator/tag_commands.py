"""Tags: made, changed, moved, removed, and attached to VMs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provider.simulator.apirequest import checked_id
from provider.simulator.documents import tag_document
from provider.simulator.objects import NIL_ID, Tag
from provider.simulator.replies import NOT_AUTHORIZED, Fault, Missing, Reply
from provider.simulator.vm_document import vm_tag_document

if TYPE_CHECKING:
    from provider.simulator.apirequest import Request
    from provider.simulator.encoding import Document
    from provider.simulator.machine import Vm
    from provider.simulator.objects import User

_TAG_NAME = re.compile(r"[\w.-]{1,50}")


def _authorize(user: User) -> None:
    if not user.may_tag:
        raise Fault(403, NOT_AUTHORIZED)


def attach(request: Request, vm_id: str, body: Document) -> Reply:
    """The tag, now on the VM; 201 also when it was there already."""
    tag = _wanted_tag(request, body)
    _authorize(request.user)
    vm = request.world.vms.get(vm_id)
    if vm is None:
        raise Fault(400, "[Internal Engine Error]")
    vm.attach(tag, request.user)
    return request.created("tag", vm_tag_document(vm, tag))


def _wanted_tag(request: Request, body: Document) -> Tag:
    for tag in request.world.tags:
        if body.get("id") == tag.id or ("id" not in body and body.get("name") == tag.name):
            return tag
    raise Fault(404, f"Entity not found: {body.get('id') or body.get('name')}")


def detach(request: Request, vm: Vm, tag_id: str) -> Reply:
    """Done; Missing when the VM does not carry the tag."""
    _authorize(request.user)
    for tag in vm.tags:
        if tag.id == tag_id:
            vm.detach(tag, request.user)
            return Reply("action", {"status": "complete"})
    raise Missing


def find_tag(request: Request, tag_id: str) -> Tag:
    """The tag of this id; Missing when there is none."""
    wanted = checked_id(tag_id)
    for tag in request.world.tags:
        if tag.id == wanted:
            return tag
    raise Missing


def create_tag(request: Request, body: Document) -> Reply:
    """A new tag, under the root or a parent."""
    if not body.get("name"):
        raise Fault(400, "Tag [name] required for add", "Incomplete parameters")
    parent = _wanted_tag(request, body["parent"]) if body.get("parent") else None
    _authorize(request.user)
    _check_tag_name(request, str(body["name"]), None)
    tag = request.world.add_tag(
        str(body["name"]), parent, description=body.get("description"), user=request.user
    )
    return request.created("tag", tag_document(tag))


def _check_tag_name(request: Request, name: str, own: Tag | None) -> None:
    if not _TAG_NAME.fullmatch(name):
        raise Fault(400, "[Tag name can only contain letters, numbers, '-' and '_'.]")
    if any(t.name == name and t is not own for t in request.world.tags):
        raise Fault(409, "[The specified Tag name already exists.]")


def update_tag(request: Request, tag: Tag, body: Document) -> Reply:
    """The tag with its new name, description or parent."""
    _authorize(request.user)
    if "name" in body:
        _check_tag_name(request, str(body["name"]), tag)
        tag.name = str(body["name"])
    if "description" in body:
        tag.description = str(body["description"])
    request.world.write_event(430, {}, request.user, tag=tag.name)
    if body.get("parent"):
        _move(request, tag, _wanted_tag(request, body["parent"]))
    request.world.touch()
    return Reply("tag", tag_document(tag))


def _move(request: Request, tag: Tag, parent: Tag) -> None:
    if parent in request.world.with_descendants([tag]):
        raise Fault(409, "[Cannot move Tag. A tag cannot be moved under itself.]")
    source = tag.parent.name if tag.parent else ""
    tag.parent = parent
    request.world.write_event(
        555, {}, request.user, tag=tag.name, source=source, target=parent.name
    )


def delete_tag(request: Request, tag: Tag) -> Reply:
    """Done; the tags below it are gone as well."""
    _authorize(request.user)
    if tag.id == NIL_ID:
        raise Fault(400, "[Cannot remove Tag. The root tag cannot be removed.]")
    request.world.remove_tag(tag.id, request.user)
    return Reply("action", {"status": "complete"})
