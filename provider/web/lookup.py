"""The lookup API: its operations, in one list, and the routes that serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.web.instances import Instances
from provider.web.lists import InstanceLists
from provider.web.nodes import Nodes
from provider.web.openapi import OpenApi
from provider.web.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

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
    return tuple(one.route for one in (*operations, described.operation))
