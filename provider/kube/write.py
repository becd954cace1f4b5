"""One NodePatch written to the API server, in the order that never leaves a node half done."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from provider.errors import Conflict

from .encode import depends_on_others, is_bound_to_version, main_write, status_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.model import Node, NodePatch, Taint

    from .api import KubeApi

# Of a node that others write to without a pause; each try reads it anew. Whoever has lost so
# often may as well wait for the informer.
_TRIES = 5
_PAUSE = 0.02


async def apply_patch(api: KubeApi, node: Node, patch: NodePatch) -> str:
    """The Node's resourceVersion after `patch`, which was planned for `node`: two writes at most.

    Addresses first, then labels, annotations, providerID and taints in one write, so that nobody
    ever sees the taint gone and no InternalIP (k/k#120720); a node that is half done stays
    tainted. Only the taints that the patch adds or removes are touched, whatever others add or
    remove meanwhile (k/k#128304). What else they changed the watch tells.

    Conflict when it is another Node now, its addresses are others than those written, or others
    win every race for the taints; the other KubeErrors as the calls raise them.
    """
    now = node
    if patch.has_status:
        now = await _write_status(api, node, patch)
    if patch.has_main:
        return await _write_main(api, node, now, patch)
    return now.resource_version


async def apply_planned(
    api: KubeApi, node: Node, plan: Callable[[Node], NodePatch | None]
) -> Node | None:
    """The Node after the patch that `plan` makes of it; None when it plans none.

    For what must be true of the very Node that is written: when it has changed it is read and
    planned anew. Such a patch has no addresses. Conflict when it is another Node now or others win
    every race; the other KubeErrors as the calls raise them.
    """
    now = node
    for left in reversed(range(_TRIES)):
        patch = plan(now)
        if patch is None:
            return None
        try:
            return await api.patch_node(now.name, main_write(now, patch))
        except Conflict:
            if not left:
                raise
        await asyncio.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - no secret
        now = await api.get_node(node.name)
        if now.uid != node.uid:
            raise Conflict(f"nodes/{node.name} is another Node now.")
    raise AssertionError  # the last try returns or raises


async def _write_status(api: KubeApi, node: Node, patch: NodePatch) -> Node:
    """The Node after the first write.

    What others have changed meanwhile is in it only when the second write would else undo that.
    """
    write = status_write(node, patch)
    if patch.has_main and is_bound_to_version(node, patch):
        return await api.patch_node_status(node.name, write)
    version = await api.write_node_status(node.name, write)
    return replace(node, addresses=patch.addresses or (), resource_version=version)


async def _write_main(api: KubeApi, before: Node, now: Node, patch: NodePatch) -> str:
    """The version after the second write; `before` is what the patch was planned for."""
    addresses = now.addresses
    for left in reversed(range(_TRIES)):
        if now.uid != before.uid or now.addresses != addresses or _is_outdated(patch, before, now):
            raise Conflict(f"nodes/{before.name} has changed.")
        try:
            return await api.write_node(now.name, main_write(now, rebase(patch, before, now)))
        except Conflict:
            if not left or patch.taints is None:
                raise
        await asyncio.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - no secret
        now = await api.get_node(before.name)
    raise AssertionError  # the last try returns or raises


def _is_outdated(patch: NodePatch, before: Node, now: Node) -> bool:
    """Whether what the rules may write has to be decided anew."""
    if not depends_on_others(patch):
        return False
    return (now.labels, now.taints) != (before.labels, before.taints)


def rebase(patch: NodePatch, before: Node, now: Node) -> NodePatch:
    """`patch`, planned for `before`, as it must be to mean the same change of the taints of `now`.

    Key and effect name a taint, as in the API. No taints at all when nothing is left to change.
    """
    if patch.taints is None or now.taints == before.taints:
        return patch
    wanted = {_identity(taint): taint for taint in patch.taints}
    gone = {_identity(taint) for taint in before.taints} - wanted.keys()
    set_ = {i: taint for i, taint in wanted.items() if taint not in before.taints}
    kept = [set_.pop(_identity(t), t) for t in now.taints if _identity(t) not in gone]
    taints = (*kept, *set_.values())
    return replace(patch, taints=None if taints == now.taints else taints)


def _identity(taint: Taint) -> tuple[str, str]:
    return taint.key, taint.effect
