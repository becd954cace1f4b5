"""`tag` and `untag`: make VMs Docker hosts, or no longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.commands import terminal
from provider.commands.gather import client_of, configuration
from provider.commands.options import UsageError

if TYPE_CHECKING:
    import argparse

    from provider.config import Config, Engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The VMs, and where they are."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="name or id of a VM")
    parser.add_argument("--engine", metavar="ENGINE", help="its engine, when there are several")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be changed")


def run(arguments: argparse.Namespace) -> int:
    """Change the tags and say what was changed."""
    terminal.log_warnings()
    config = configuration(arguments)
    engine = _engine(config, arguments.engine)
    with terminal.progress(f"asking engine {engine.name}"):
        changes = asyncio.run(_change(arguments, config, engine))
    console = terminal.output()
    prefix = "would " if arguments.dry_run else "done: "
    for change in changes:
        console.out(f"{prefix}{change}", highlight=False)
    if not changes:
        console.out("Nothing to do: it is so already.", highlight=False)
    return 0


def _engine(config: Config, name: str | None) -> Engine:
    if name is None and len(config.engines) == 1:
        return config.engines[0]
    for engine in config.engines:
        if engine.name == name:
            return engine
    known = terminal.words(engine.name for engine in config.engines)
    if name is None:
        raise UsageError("several engines are configured.", remedy=f"Give --engine: {known}.")
    raise UsageError(f"no engine {name} is configured.", remedy=f"Configured are: {known}.")


async def _change(
    arguments: argparse.Namespace, config: Config, engine: Engine
) -> tuple[str, ...]:
    from provider.ovirt import admin

    change = admin.tag if arguments.command == "tag" else admin.untag
    tag_name = config.selection_of(engine).tag
    async with client_of(config, engine) as client:
        return await change(client, arguments.names, tag_name, dry_run=arguments.dry_run)
