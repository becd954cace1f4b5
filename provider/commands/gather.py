"""What commands read before they decide: the configuration, one listing an engine, the nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.configfile import load_config
from provider.decisions.identity import Directory, directory
from provider.errors import EngineError
from provider.metrics import Metrics
from provider.ovirt.client import EngineClient
from provider.ovirt.listing import Lister

if TYPE_CHECKING:
    import argparse

    from provider.config import Config, Engine
    from provider.kube.api import KubeApi
    from provider.model import Node, Snapshot

_PAGE = 500


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration that `--config` names; ConfigError with all its faults."""
    return load_config(arguments.config)


class Listings(Struct, frozen=True):
    """One listing of each engine that could be asked, and the errors of the others."""

    snapshots: tuple[Snapshot, ...]
    errors: tuple[EngineError, ...]

    def directory(self, config: Config) -> Directory:
        """What the engines have told, as the decisions want it."""
        engines = {engine.name: "" for engine in config.engines}
        engines |= {error.engine: str(error) for error in self.errors}
        return directory(self.snapshots, engines, match_fqdn=config.identity.fqdn)


async def list_engines(config: Config) -> Listings:
    """A listing of all engines, side by side."""
    answers = await asyncio.gather(*(_list(config, engine) for engine in config.engines))
    return Listings(
        snapshots=tuple(a for a in answers if not isinstance(a, EngineError)),
        errors=tuple(a for a in answers if isinstance(a, EngineError)),
    )


async def _list(config: Config, engine: Engine) -> Snapshot | EngineError:
    try:
        async with client_of(config, engine) as client:
            return await Lister(client, config.selection_of(engine)).take(None)
    except EngineError as error:
        return error


def client_of(config: Config, engine: Engine) -> EngineClient:
    """A client of `engine` for one command."""
    return EngineClient(engine, config.limits, Metrics())


async def list_nodes(api: KubeApi) -> dict[str, Node]:
    """All Nodes by name; KubeError when they cannot be had."""
    nodes: dict[str, Node] = {}
    position = ""
    while True:
        page = await api.nodes_page(_PAGE, position)
        nodes.update({node.name: node for node in page.nodes})
        position = page.continue_
        if not position:
            return nodes
