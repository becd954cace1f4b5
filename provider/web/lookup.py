"""The lookup API: its operations, in one list, and the routes that serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from provider.web.instances import Instances
from provider.web.lists import InstanceLists
from provider.web.nodes import Nodes
from provider.web.openapi import OpenApi
from provider.web.problems import Problem
from provider.web.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.web.catalogue import Catalogue
    from provider.web.nodes import Replica
    from provider.web.operations import Operation


def routes(
    catalogue: Catalogue, replica: Replica, more: Sequence[Operation]
) -> tuple[web.RouteDef, ...]:
    """The routes of all that is answered from `catalogue`, of `more`, and of the OpenAPI."""
    operations = (
        *Instances(catalogue).operations,  # first, as they are asked for most often
        *InstanceLists(catalogue).operations,
        *Zones(catalogue).operations,
        *Nodes(catalogue, replica).operations,
        *more,
    )
    described = OpenApi(operations, catalogue.engines)
    served = tuple(one.route for one in (*operations, described.operation))
    return *served, web.get("/v1/instances/{key:.*}", _refuse_key)  # what nothing else matches


async def _refuse_key(_request: web.Request) -> web.Response:
    """400 for a key with slashes as they are: a 404 would be taken for the VM's absence."""
    detail = "A key is percent-encoded: send each / of it as %2F, such as ovirt:%2F%2FID."
    raise Problem(400, "key-invalid", "The key is not valid", detail)
