"""What differs between two snapshots, and what two instances share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

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
    for key, value in now.items():
        known = before.get(key)
        # Nearly all are the very same object: to compare those would take 3 ms for 5,000.
        if known is not value and known is not None and known != value:
            changed.add(key)
    return changed


def with_instance(snapshot: Snapshot, instance: Instance) -> Snapshot:
    """The snapshot with this newer reading of one instance; it is no newer listing for that."""
    instances = {**snapshot.instances, instance.id: instance}
    return replace(
        snapshot,
        instances=instances,
        unreadable={i: u for i, u in snapshot.unreadable.items() if i != instance.id},
        shared_addresses=shared_addresses(instances, snapshot),
    )


def shared_addresses(
    instances: Mapping[str, Instance], previous: Snapshot | None
) -> frozenset[IPAddress]:
    """The addresses that more than one of `instances` reports; stale reports do not count.

    To find them takes 10 ms for 5,000, so they are those of `previous` if none can differ.
    """
    if previous and _report_alike(previous.instances, instances):
        return previous.shared_addresses
    return _shared(instances.values())


def _report_alike(before: Mapping[str, Instance], now: Mapping[str, Instance]) -> bool:
    if before.keys() != now.keys():
        return False
    pairs = ((before[key], instance) for key, instance in now.items())
    return all(
        one is other or (one.interfaces, one.status) == (other.interfaces, other.status)
        for one, other in pairs
    )


def _shared(instances: Iterable[Instance]) -> frozenset[IPAddress]:
    seen: set[IPAddress] = set()
    shared: set[IPAddress] = set()
    for instance in instances:
        if instance.status in STALE_STATUSES or instance.status is None:
            continue
        own = {address for i in instance.interfaces for address in i.addresses}
        shared |= own & seen
        seen |= own
    return frozenset(address for address in shared if not address.is_link_local)
