"""What differs between two snapshots. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provider.model import shared_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from provider.model import Instance, Snapshot

    V = TypeVar("V")


def changed_ids(before: Snapshot | None, now: Snapshot) -> frozenset[str]:
    """The ids of what came, went or changed, or whose addresses became shared or unshared."""
    if before is None or before.engine_id != now.engine_id:
        return frozenset((*now.instances, *now.unreadable))
    changed = _differing(before.instances, now.instances)
    changed |= _differing(before.unreadable, now.unreadable)
    if touched := before.shared_addresses ^ now.shared_addresses:
        changed |= {
            instance.id
            for instance in now.instances.values()
            if any(touched.intersection(i.addresses) for i in instance.interfaces)
        }
    return frozenset(changed)


def _differing(before: Mapping[str, V], now: Mapping[str, V]) -> set[str]:
    changed = set(before.keys() ^ now.keys())
    changed.update(i for i, value in now.items() if i in before and before[i] != value)
    return changed


def with_instance(snapshot: Snapshot, instance: Instance) -> Snapshot:
    """The snapshot with this newer reading of one instance; it is no newer listing for that."""
    before = snapshot.instances.get(instance.id)
    instances = {**snapshot.instances, instance.id: instance}
    shared = snapshot.shared_addresses
    if before is None or (before.interfaces, before.status) != (
        instance.interfaces,
        instance.status,
    ):
        shared = shared_addresses(instances.values())
    return replace(
        snapshot,
        instances=instances,
        unreadable={i: u for i, u in snapshot.unreadable.items() if i != instance.id},
        shared_addresses=shared,
    )
