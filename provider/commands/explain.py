"""`explain NODE`: what a node is, what would be written to it, and why.

Engines and cluster tell, or with `--server` a running controller, which has evidence beside.
"""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING

from provider.commands import options, server, terminal
from provider.commands.engine_states import complain_of
from provider.commands.explain_report import as_json, print_explanation
from provider.commands.gather import Listings, configuration, list_engines, list_nodes
from provider.commands.get_report import print_leading
from provider.commands.questions import Question, ask_server
from provider.decisions.decision import decide
from provider.decisions.explanation import explain
from provider.errors import ProviderError
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.metrics import Metrics
from provider.web.documents import NodeAnswer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection
    from pathlib import Path

    from provider.commands.server import Server
    from provider.config import Config
    from provider.model import Node


class NodeUnknown(ProviderError):
    """The cluster has no node of this name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The node, and the form of the result."""
    parser.add_argument("node", metavar="NODE", help="name of a node of the cluster")
    options.add_output(parser)
    server.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; 1 when an engine could not be asked. Nothing is written anywhere."""
    terminal.log_warnings()
    asked = server.of(arguments)
    return _explain_by(asked, arguments) if asked else _explain(arguments)


def _explain_by(asked: Server, arguments: argparse.Namespace) -> int:
    """What a running controller says, with its evidence; and whether it leads."""
    with terminal.progress("asking the controller"):
        question = Question(("nodes", arguments.node), NodeAnswer)
        answer: NodeAnswer = asyncio.run(ask_server(asked, question))
    if arguments.output == "json":
        terminal.print_json({**as_json(answer.explanation), "leading": answer.leading})
    else:
        print_explanation(answer.explanation)
        print_leading(is_leading=answer.leading)
    return complain_of(answer.engines)


def _explain(arguments: argparse.Namespace) -> int:
    config = configuration(arguments)
    with terminal.progress("asking the cluster and the engines"):
        node, listings = asyncio.run(_gather(config, arguments.kubeconfig, arguments.node))
    directory = listings.directory(config)
    decision = decide(node, directory, config)
    explanation = explain(node, decision, directory, config, evidence=None, now=0.0)
    if arguments.output == "json":
        terminal.print_json(as_json(explanation))
    else:
        print_explanation(explanation)
    for error in listings.errors:
        terminal.complain(error)
    return 1 if listings.errors else 0


async def _gather(config: Config, kubeconfig: Path | None, name: str) -> tuple[Node, Listings]:
    access = await load_access(kubeconfig)
    async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
        nodes = await list_nodes(api)
    if name not in nodes:
        raise NodeUnknown(f"the cluster has no node {name}.", remedy=_close(name, nodes))
    return nodes[name], await list_engines(config)


def _close(name: str, known: Collection[str]) -> str:
    if not known:
        return "It has no node at all."
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return "`kubectl get nodes` lists them."
