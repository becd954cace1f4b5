"""Long lists of VMs: rendered piece by piece, each VM kept until it changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.simulator.encoding import XML_HEAD, to_json, to_xml
from provider.simulator.follow import Tree, follow, parse_follow
from provider.simulator.replies import crash
from provider.simulator.versions import link_names
from provider.simulator.vm_document import vm_document, with_all_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.simulator.apirequest import Request, VmList
    from provider.simulator.machine import Vm

# These are made of the VM alone, so that they can be kept as long as it does not change.
_OWN_LINKS = frozenset({"nics", "reported_devices", "tags"})
_BATCH = 25


def check_follow(request: Request, vm_list: VmList) -> Tree:
    """The links to follow; the 500 page when that must fail, before anything is written.

    The engine follows link by link for each VM and gives up at the first that is missing.
    """
    tree = parse_follow(vm_list.follow or "")
    if not tree:
        return tree
    if request.faults.fails_follow and vm_list.vms:
        raise crash("Cannot follow: the link is null")
    if "tags" in tree and not request.user.is_administrator and vm_list.vms:
        raise crash("Cannot follow tags: query execution failed")
    for vm in vm_list.vms:
        if _is_own(request, tree) and not vm.broken_links:
            continue
        follow(request.world, "vm", vm, {}, tree)
    return tree


def _is_own(request: Request, tree: Tree) -> bool:
    names = link_names(request.world.version)
    return all(names.get(name) in _OWN_LINKS and not below for name, below in tree.items())


async def render_list(
    request: Request, vm_list: VmList, tree: Tree, *, as_xml: bool
) -> AsyncIterator[bytes]:
    """The list in batches. What is removed while it runs comes with its links empty."""
    vms = vm_list.vms
    if as_xml:
        head, comma, tail = XML_HEAD + b"<vms>", b"", b"</vms>"
    else:
        head, comma, tail = b'{"vm":[', b",", b"]}"
    if not vms:
        yield _empty(is_followed=bool(tree), as_xml=as_xml)
        return
    starts = range(0, len(vms), _BATCH)
    pause = request.faults.list_seconds / len(starts)
    for start in starts:
        await asyncio.sleep(pause)
        pieces = [_vm(request, vm, tree, as_xml=as_xml) for vm in vms[start : start + _BATCH]]
        yield (comma if start else head) + comma.join(pieces)
    yield tail


def _empty(*, is_followed: bool, as_xml: bool) -> bytes:
    if as_xml:
        return XML_HEAD + b"<vms/>"
    return b'{"vm":[]}' if is_followed else b"{ }"


def _vm(request: Request, vm: Vm, tree: Tree, *, as_xml: bool) -> bytes:
    is_emptied = vm.is_removed or vm.name in request.faults.emptied_vms
    is_filtered, is_whole = request.is_filtered, request.wants_all_content
    if is_emptied or request.faults.turns_addresses or not _is_own(request, tree):
        return _encode(request, vm, tree, as_xml=as_xml, is_emptied=is_emptied)
    key = (as_xml, is_filtered, is_whole, tuple(tree))
    if key not in vm.rendered:
        vm.rendered[key] = _encode(request, vm, tree, as_xml=as_xml, is_emptied=False)
    return vm.rendered[key]


def _encode(request: Request, vm: Vm, tree: Tree, *, as_xml: bool, is_emptied: bool) -> bytes:
    document = vm_document(vm, is_filtered=request.is_filtered)
    if request.wants_all_content:
        document = with_all_content(document)
    if is_emptied:
        document |= {link_names(request.world.version).get(name, name): {} for name in tree}
    else:
        follow(request.world, "vm", vm, document, tree, request.turn)
    return to_xml("vm", document) if as_xml else to_json(document)
