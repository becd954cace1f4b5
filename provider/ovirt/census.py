"""How many VMs of an engine there are, by zone and status, as metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.metrics import Metrics
    from provider.model import Instance, Snapshot

    ZoneOf = Callable[[Instance], str | None]


class Census:
    """The gauges of one engine; `zone_of` names the zone of an instance."""

    def __init__(self, engine: str, zone_of: ZoneOf, metrics: Metrics) -> None:
        self._engine = engine
        self._zone_of = zone_of
        self._metrics = metrics
        self._counted: set[tuple[str, str]] = set()

    def count(self, snapshot: Snapshot) -> None:
        """Set the gauges to what is in `snapshot`; what is not there any more has none."""
        counts = Counter(
            (self._zone_of(instance) or "", instance.status or "none")
            for instance in snapshot.instances.values()
        )
        gauge = self._metrics.instances
        for zone, status in self._counted - counts.keys():
            gauge.remove(self._engine, zone, status)
        for (zone, status), count in counts.items():
            gauge.labels(self._engine, zone, status).set(count)
        self._counted = set(counts)
        self._metrics.instances_unreadable.labels(self._engine).set(len(snapshot.unreadable))
