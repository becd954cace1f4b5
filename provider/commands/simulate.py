"""`simulate`: the simulated engine and cluster alone, to try the rest on them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from provider.commands.stopping import until_stopped
from provider.commands.terminal import output
from provider.errors import ProviderError

if TYPE_CHECKING:
    import argparse

    from provider.simulator.lab import Lab


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which world, where, and on which ports."""
    parser.add_argument(
        "--scenario", type=Path, metavar="FILE", help="the engine's world (default: the demo's)"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where to write kubeconfig, configuration and password (default: a temporary one)",
    )
    for name in ("engine", "cluster"):
        parser.add_argument(
            f"--{name}-port", type=port, default=0, metavar="PORT", help="default: a free one"
        )


def port(text: str) -> int:
    """The port that `text` is; ValueError, which argparse puts into words, when it is none."""
    number = int(text)
    if number not in range(65536):
        raise ValueError
    return number


def run(arguments: argparse.Namespace) -> int:
    """0 after SIGTERM or Ctrl-C; ProviderError when the scenario or a port cannot be had."""
    return asyncio.run(_simulate(arguments))


async def _simulate(arguments: argparse.Namespace) -> int:
    from provider.simulator.lab import DEMO, Lab
    from provider.simulator.scenario import ScenarioError

    try:
        lab = Lab(
            arguments.scenario or DEMO,
            directory=arguments.directory,
            engine_port=arguments.engine_port,
            cluster_port=arguments.cluster_port,
        )
        async with lab:
            _introduce(lab)
            await until_stopped(asyncio.Event().wait())
    except ScenarioError as error:
        raise ProviderError(str(error)) from None
    except OSError as error:
        raise ProviderError(
            f"the simulation cannot start: {error.filename or 'a port'}: {error.strerror}.",
            remedy="Look at --scenario, --directory and the ports.",
        ) from None
    return 0


def _introduce(lab: Lab) -> None:
    say = output().print
    say(f"[bold]Simulated oVirt engine[/]  {lab.engine_url}")
    for user in lab.engine.world.users:
        say(f"                        {user.name}, password {user.password} ({user.role})")
    if lab.cluster:
        say(f"[bold]Simulated Kubernetes[/]    {lab.cluster.url}")
    say("\nTry in another terminal:")
    options = f"--config {lab.config_file} --kubeconfig {lab.kubeconfig}"
    for command in ("check", "run --insecure-http"):
        say(f"  ovirt-ccm {command} {options}", soft_wrap=True)
    say(f"  kubectl --kubeconfig {lab.kubeconfig} get nodes --watch", soft_wrap=True)
    say("\nCtrl-C ends it.")
