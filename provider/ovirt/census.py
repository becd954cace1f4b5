"""How many VMs of an engine there are, by zone and status, as metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provider.metrics import Metrics
    from provider.model import Instance, Snapshot

    ZoneOf = Callable[[Instance], str | None]


class Census:
    """The gauges of one engine; `zone_of` names the zone of an instance."""

    def __init__(self, engine: str, zone_of: ZoneOf, metrics: Metrics) -> None:
        self._engine = engine
        self._zone_of = zone_of
        self._metrics = metrics
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, before: Snapshot | None, now: Snapshot, changed: Iterable[str]) -> None:
        """Set the gauges to what is in `now`; what is not there any more has none.

        `before` is what was counted last, `changed` has the ids of all that differs.
        """
        counts = self._counts
        for instance_id in changed:
            if before and (instance := before.instances.get(instance_id)):
                counts[self._place(instance)] -= 1
            if instance := now.instances.get(instance_id):
                counts[self._place(instance)] += 1
        gauge = self._metrics.instances
        for (zone, status), count in list(counts.items()):
            if count:
                gauge.labels(self._engine, zone, status).set(count)
            else:
                del counts[zone, status]
                gauge.remove(self._engine, zone, status)
        self._metrics.instances_unreadable.labels(self._engine).set(len(now.unreadable))

    def _place(self, instance: Instance) -> tuple[str, str]:
        return self._zone_of(instance) or "", instance.status or "none"
