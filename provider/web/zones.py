"""Zones over HTTP: what there is in each, in numbers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from provider.model import STALE_STATUSES, InstanceStatus
from provider.web.answers import Body, answer_large
from provider.web.documents import StatusCounts, ZoneCounts, ZoneList
from provider.web.lists import require_listed
from provider.web.operations import Operation
from provider.web.query import NoQuery, read
from provider.web.rows import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from provider.web.catalogue import Catalogue
    from provider.web.rows import Row

_CHUNK = 250  # rows that are counted before others get their turn: 2 ms

_GROUPS = {
    InstanceStatus.UP: "running",
    InstanceStatus.DOWN: "stopped",
    InstanceStatus.SUSPENDED: "stopped",
    InstanceStatus.IMAGE_LOCKED: "stopped",
    InstanceStatus.PAUSED: "paused",
} | dict.fromkeys(STALE_STATUSES, "unknown")


class Zones:
    """The handler of `/v1/zones`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._counted: tuple[int, tuple[ZoneCounts, ...]] = (-1, ())  # of which generation

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is served here."""
        return (
            Operation(
                "/v1/zones",
                "listZones",
                "The zones with their VMs by status and their Nodes, in numbers.",
                self.list,
                ZoneList,
                {503: "No engine has been listed yet."},
            ),
        )

    async def list(self, request: web.Request) -> web.Response:
        """All zones, ordered by region and zone."""
        read(request, NoQuery)
        catalogue = self._catalogue
        age = require_listed(catalogue, None)
        states, generation = catalogue.states, catalogue.generation
        counted = self._counted
        if counted[0] != generation:
            counted = self._counted = generation, await _zones(catalogue.order)
        body = encode(ZoneList(engines=states, zones=counted[1]))
        return await answer_large(request, Body(body), f"{catalogue.epoch}-{generation}", age)


async def _zones(rows: Sequence[Row]) -> tuple[ZoneCounts, ...]:
    statuses: dict[tuple[str, str], Counter[str]] = {}
    nodes: Counter[tuple[str, str]] = Counter()
    for index, row in enumerate(rows):
        if index % _CHUNK == 0:
            await asyncio.sleep(0)
        one = row.document
        zone = one.region or "", one.zone or ""
        statuses.setdefault(zone, Counter())[_group(one.status)] += 1
        nodes[zone] += one.node is not None
    return tuple(
        ZoneCounts(
            region=zone[0] or None,
            zone=zone[1] or None,
            instances=counts.total(),
            nodes=nodes[zone],
            statuses=StatusCounts(**counts),
        )
        for zone, counts in sorted(statuses.items())
    )


def _group(status: str | None) -> str:
    return "unknown" if status is None else _GROUPS.get(InstanceStatus(status), "changing")
