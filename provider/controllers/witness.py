"""What is known about the instance of a node beyond the directory, and how it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.controllers.observations import Observations
from provider.decisions.identity import Absent, Found
from provider.decisions.lifecycle import Ask, Evidence, Presence, Question
from provider.model import ANNOTATION_ENGINE, Instance, InstanceStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.controllers.observations import Observation
    from provider.decisions.identity import Match
    from provider.kube.informer import NodeInformer
    from provider.model import Node
    from provider.ovirt.inventory import Inventory

# A node that has been not ready for longer has no running instance that is about to change.
_RESTLESS = 300.0  # seconds


class Witness:
    """Joins what the informer shows of a Node with what its recorded engine says."""

    def __init__(self, informer: NodeInformer, inventories: Iterable[Inventory]) -> None:
        self._inventories = tuple(inventories)
        self._observations = Observations(informer)

    def observation(self, node: Node) -> Observation:
        """What this process has seen of the Node."""
        return self._observations.of(node)

    def inventory(self, node: Node) -> Inventory | None:
        """The inventory of the engine that the node has recorded; None when none is listed."""
        recorded = node.annotations.get(ANNOTATION_ENGINE)
        for inventory in self._inventories:
            if inventory.snapshot and inventory.snapshot.engine_id == recorded:
                return inventory
        return None

    def restored(self) -> list[Inventory]:
        """The inventories whose engine was restored from a backup."""
        return [inventory for inventory in self._inventories if inventory.was_restored]

    def has_listed_since(self, moment: float) -> bool:
        """Whether every engine has been listed anew since `moment` of the loop's time."""
        snapshots = [inventory.snapshot for inventory in self._inventories]
        return all(snapshot and snapshot.started > moment for snapshot in snapshots)

    def evidence(self, node: Node, match: Match, obstacle: str, out_of_service: int) -> Evidence:
        """All that is known about the node beside itself and its match."""
        seen = self.observation(node)
        inventory = self.inventory(node)
        if isinstance(match, Found) and match.instance.status is not InstanceStatus.DOWN:
            seen.forget_down()
        return Evidence(
            listed=_listed(inventory, match) if inventory else None,
            not_ready_since=seen.not_ready_since,
            absences=_absences(node, match, inventory, seen) if inventory else 0,
            presence=seen.presence,
            asked=seen.asked,
            down_since=seen.down_since,
            down_at=seen.down_at,
            obstacle=obstacle,
            out_of_service=out_of_service,
        )

    def follow(self, node: Node, instance: Instance) -> None:
        """Have the instance of a node that is not ready read often while that may tell more."""
        since = self.observation(node).not_ready_since
        now = asyncio.get_running_loop().time()
        is_new = since is not None and now - since < _RESTLESS
        inventory = self.inventory(node)
        if inventory and (is_new or instance.status is InstanceStatus.DOWN):
            inventory.want((instance.id,))

    async def ask(self, node: Node, question: Ask) -> None:
        """Ask the node's engine about its instance alone, and remember what it says.

        EngineError when it says nothing: then nothing is known that was not known before.
        """
        inventory = self.inventory(node)
        if inventory is None:
            return
        seen = self.observation(node)
        if question.question is Question.PRESENCE:
            presence = await ask_presence(inventory, node, question.instance_id)
            seen.heard_presence(presence, asyncio.get_running_loop().time())
        elif await _is_down(inventory, question.instance_id):
            seen.heard_down(asyncio.get_running_loop().time())
        else:
            seen.forget_down()


def _listed(inventory: Inventory, match: Match) -> float | None:
    """When the engine was asked for what the match rests on, with all VMs or alone.

    None when it cannot be listed now, and when it has said something newer of the instance, which
    is about to be matched.
    """
    snapshot = inventory.snapshot
    if snapshot is None or inventory.last_error is not None:
        return None
    if not isinstance(match, Found):
        return snapshot.started
    if snapshot.instances.get(match.instance.id) != match.instance:
        return None
    return inventory.confirmed(match.instance.id)


def _absences(node: Node, match: Match, inventory: Inventory, seen: Observation) -> int:
    if not isinstance(match, Absent) or match.instance_id is None:
        return 0
    recorded = node.annotations[ANNOTATION_ENGINE]
    return inventory.absences(match.instance_id, recorded, seen.first_seen)


async def ask_presence(inventory: Inventory, node: Node, instance_id: str) -> Presence:
    """What the node's recorded engine says about the instance now; EngineError when it does not.

    That it is gone counts only as the engine's own word, with the id that the node has recorded.
    """
    if await inventory.prove_absent(instance_id, node.annotations[ANNOTATION_ENGINE]):
        return Presence.GONE
    member = await inventory.read(instance_id)
    return Presence.UNSELECTED if member is None else Presence.SELECTED


async def _is_down(inventory: Inventory, instance_id: str) -> bool:
    """Whether the engine says now that the VM is down; it must be a selected one."""
    member = await inventory.read(instance_id)
    return isinstance(member, Instance) and member.status is InstanceStatus.DOWN
