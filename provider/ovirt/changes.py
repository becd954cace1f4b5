"""What differs between two snapshots, and what two instances share. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provider.model import STALE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    from provider.model import Instance, IPAddress, Snapshot

    V = TypeVar("V")


def changed_ids(before: Snapshot | None, now: Snapshot) -> frozenset[str]:
    """The ids of what came, went or changed, or whose addresses became shared or unshared."""
    if before is None or before.engine_id != now.engine_id:
        known = (before.instances, before.unreadable) if before else ()
        return frozenset().union(now.instances, now.unreadable, *known)
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


def shared_addresses(instances: Iterable[Instance]) -> frozenset[IPAddress]:
    """The addresses that more than one of `instances` reports; stale reports do not count."""
    seen: set[IPAddress] = set()
    shared: set[IPAddress] = set()
    for instance in instances:
        if instance.status in STALE_STATUSES or instance.status is None:
            continue
        own = {address for i in instance.interfaces for address in i.addresses}
        shared |= own & seen
        seen |= own
    return frozenset(address for address in shared if not address.is_link_local)
