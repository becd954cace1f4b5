"""What can be read of one engine, typed: each method is one question to it."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from provider.model import Unreadable
from provider.ovirt import wire
from provider.ovirt.faults import InternalFault
from provider.ovirt.selection import search_one, search_text
from provider.ovirt.topology import Topology, join_clusters, join_tags

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime
    from typing import Any

    from provider.config import Selection
    from provider.ovirt.client import EngineClient
    from provider.ovirt.faults import Reply

T = TypeVar("T")

# Underscores: the squashed spelling came with 4.4. Only links that every VM has: one that cannot
# be resolved makes the engine answer 500 to the whole request (engine's LinkFollower).
FOLLOW = "nics,reported_devices,tags"

_COLLECTIONS = (
    ("clusters", "/clusters"),
    ("data_centers", "/datacenters"),
    ("hosts", "/hosts"),
    ("tags", "/tags"),
    ("instance_types", "/instancetypes"),
)


class Surroundings(Struct, frozen=True):
    """The topology, and when (engine's clock) it was read; None when the engine does not say."""

    topology: Topology
    taken: datetime | None


class Reads:
    """The questions to one engine about what `selection` selects."""

    def __init__(self, client: EngineClient, selection: Selection) -> None:
        self._client = client
        self._engine = client.engine.name
        self._selection = selection
        self._page_size = client.limits.page_size
        self._page_timeout = client.limits.engine_timeout.total_seconds()

    async def product(self) -> wire.ProductInfo:
        """What the engine is, and its version."""
        reply = await self._client.get("api", "", {})
        return wire.read(self._engine, wire.Root, reply.body).product_info

    async def surroundings(self) -> Surroundings:
        """Clusters, data centres, hosts, tags and instance types, one request each."""
        replies = await together([self._client.get(verb, path, {}) for verb, path in _COLLECTIONS])
        clusters, centers, hosts, tags, types = (reply.body for reply in replies)
        engine = self._engine
        all_tags = wire.read(engine, wire.Tags, tags).tag
        topology = Topology(
            clusters=join_clusters(
                wire.read(engine, wire.Clusters, clusters).cluster,
                wire.read(engine, wire.DataCenters, centers).data_center,
            ),
            hosts={h.id: h.name for h in wire.read(engine, wire.Hosts, hosts).host},
            tags=join_tags(engine, all_tags),
            instance_types={
                t.id: t.name for t in wire.read(engine, wire.InstanceTypes, types).instance_type
            },
            tag_names=frozenset(tag.name for tag in all_tags),
        )
        return Surroundings(topology, _date(replies[0]))

    async def page(self, number: int) -> list[wire.Vm | Unreadable]:
        """One page of the selected VMs with their cards, interfaces and tags."""
        return await self._page(number, {"follow": FOLLOW})

    async def plain_page(self, number: int) -> list[wire.Vm | Unreadable]:
        """One page of the selected VMs, without what lies behind links."""
        return await self._page(number, {})

    async def _page(self, number: int, more: dict[str, str]) -> list[wire.Vm | Unreadable]:
        params = {
            "search": search_text(self._selection, number),
            "max": str(self._page_size),
            **more,
        }
        reply = await self._client.get("list_vms", "/vms", params, self._page_timeout)
        async with self._client.pace.step():
            return wire.read_page(self._engine, reply.body)

    async def vm(self, vm_id: str) -> wire.Vm | Unreadable | None:
        """One VM with its cards, interfaces and tags; None when it is proven not to exist.

        When the engine fails on following a link of it, the parts are read apart. InternalFault
        when it fails on those too.
        """
        try:
            reply = await self._client.find("read_vm", f"/vms/{vm_id}", {"follow": FOLLOW})
        except InternalFault:
            return await self._vm_in_parts(vm_id)
        return wire.read_vm(self._engine, reply.body) if reply else None

    async def _vm_in_parts(self, vm_id: str) -> wire.Vm | Unreadable | None:
        # The VM last: the parts of a VM that does not exist are empty, not missing.
        nics = await self._part(vm_id, "nics", wire.Nics)
        devices = await self._part(vm_id, "reporteddevices", wire.Devices)
        tags = await self._part(vm_id, "tags", wire.Tags)
        reply = await self._client.find("read_vm", f"/vms/{vm_id}", {})
        vm = wire.read_vm(self._engine, reply.body) if reply else None
        if vm is None or isinstance(vm, Unreadable):
            return vm
        return msgspec.structs.replace(vm, nics=nics, reported_devices=devices, tags=tags)

    async def _part(self, vm_id: str, part: str, kind: type[wire.Part]) -> wire.Part:
        reply = await self._client.get("read_vm", f"/vms/{vm_id}/{part}", {})
        return wire.read(self._engine, kind, reply.body)

    async def is_found(self, vm_id: str) -> bool:
        """Whether the whole search, the configured text included, finds this VM."""
        params = {"search": search_one(self._selection, vm_id), "max": "1"}
        reply = await self._client.get("list_vms", "/vms", params)
        return bool(wire.read_page(self._engine, reply.body))


async def together(questions: list[Coroutine[Any, Any, T]]) -> list[T]:
    """The answers to all questions; the first error ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _date(reply: Reply) -> datetime | None:
    try:
        return parsedate_to_datetime(reply.headers["Date"])
    except (KeyError, ValueError):
        return None
