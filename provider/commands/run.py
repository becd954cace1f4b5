"""`run`: the controller, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, NoReturn

from provider.commands.stopping import until_stopped

if TYPE_CHECKING:
    import argparse


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Nothing of its own: all else is in the configuration file."""


def run(arguments: argparse.Namespace) -> int:
    """0 after a signal; ProviderError for what no waiting would mend."""
    asyncio.run(until_stopped(_work(arguments)))
    return 0


async def _work(arguments: argparse.Namespace) -> NoReturn:
    import structlog

    from provider import logs
    from provider.app import App
    from provider.configfile import load_config
    from provider.kube.access import load_access

    config = load_config(arguments.config)
    logs.set_up(config.logging)
    app = App(config, await load_access(arguments.kubeconfig))
    settle_heap()
    try:
        await app.run()
    except asyncio.CancelledError:
        structlog.get_logger(__name__).info("stopped")
        raise


def settle_heap() -> None:
    """Keep the garbage collector from walking what stays anyway.

    It would look at all modules again and again while a listing makes thousands of objects, and
    hold the loop up for most of the time that a first listing takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
