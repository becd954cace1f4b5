"""`get`: what a running controller knows, or what engine and cluster say now, one thing a call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from provider.commands import changes, get_report, options, server, terminal
from provider.commands.engine_states import complain_of
from provider.commands.explain_report import print_explanation
from provider.commands.questions import Question, ask_server
from provider.web.documents import (
    Exists,
    InstanceAnswer,
    InstanceList,
    Metadata,
    NodeAnswer,
    NodeList,
    Shutdown,
    ZoneList,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from provider.commands.server import Server

NO = 3
"""The exit status of `exists` and `shutdown` for a certain no: 1 is that it is not known."""

_CHANGES = "changes"
_STATUS = "Prints true or false. Exit status: 0 for true, 3 for false; 1 when there is no answer."
_FILTERS = {
    "engine": "only of the engine of this name",
    "zone": "only of this zone",
    "region": "only of this region",
    "cluster": "only of this oVirt cluster",
    "host": "only those that run on this hypervisor",
    "tag": "only with this tag",
    "status": "only in this status of the engine, such as up or down",
}
_MATCHES = ("found", "absent", "ambiguous", "foreign", "unknown")
_BY = ("id", "name", "provider_id", "node", "system_uuid", "ip")


class Resource(Struct, frozen=True):
    """Something that can be got: in a few words, how it is asked for, and how it is shown."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    question: Callable[[argparse.Namespace], Question]
    show: Callable[[Any], None]
    description: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A parser for each resource."""
    parser.description = (
        "Print VMs, nodes and zones. With --server a running controller is asked, which also"
        " answers while an engine is down; else the engines and the cluster themselves."
    )
    resources = parser.add_subparsers(dest="resource", metavar="RESOURCE", required=True)
    for name, resource in RESOURCES.items():
        summary = f"{resource.summary[0].upper()}{resource.summary[1:]}."
        description = f"{summary} {resource.description}".rstrip()
        one = resources.add_parser(name, help=resource.summary, description=description)
        resource.add_arguments(one)
        _add_shared(one)
    summary = "Print what there is, then each change as it comes, until Ctrl-C. Needs --server."
    one = resources.add_parser(_CHANGES, help="follow all changes", description=summary)
    changes.add_arguments(one)
    _add_shared(one)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    options.add_output(parser)
    server.add_arguments(parser)
    options.add_common(parser, is_default=False)


def run(arguments: argparse.Namespace) -> int:
    """Print the answer; 1 when it could not be had, or an engine could not be asked for it."""
    terminal.log_warnings()
    asked = server.of(arguments)
    if arguments.resource == _CHANGES:
        changes.run(asked, arguments)
    resource = RESOURCES[arguments.resource]
    question = resource.question(arguments)
    with terminal.progress("asking"):
        answer = asyncio.run(_ask(asked, question, arguments))
    if arguments.output == "json":
        terminal.print_json(msgspec.to_builtins(answer))
    else:
        resource.show(answer)
        if asked and isinstance(answer, NodeList | NodeAnswer):
            get_report.print_leading(is_leading=answer.leading)
    return _status(answer)


async def _ask(asked: Server | None, question: Question, arguments: argparse.Namespace) -> Any:
    if asked:
        return await ask_server(asked, question)
    # Half a second of imports that a question to a controller needs nothing of.
    from provider.commands.gather import configuration
    from provider.commands.replica import ask_replica

    return await ask_replica(configuration(arguments), arguments.kubeconfig, question)


def _status(answer: Any) -> int:
    match answer:
        case Exists(exists=False) | Shutdown(shutdown=False):
            return NO
        case InstanceList() | NodeList() | NodeAnswer() | ZoneList():
            return complain_of(answer.engines)
    return 0


# ---- what is asked ---------------------------------------------------------------------------


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Nothing is to be said."""


def _add_filters(parser: argparse.ArgumentParser) -> None:
    for name, text in _FILTERS.items():
        parser.add_argument(f"--{name}", metavar="NAME", help=text)
    _add_common_filters(parser, "name, id, FQDN or address")


def _add_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="name of a node of the cluster")


def _add_node_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--match", choices=_MATCHES, help="only of which this was found")
    _add_common_filters(parser, "the name")


def _add_common_filters(parser: argparse.ArgumentParser, place: str) -> None:
    parser.add_argument(
        "--managed", choices=("true", "false"), help="only whose node is managed, or is not"
    )
    parser.add_argument("-q", metavar="TEXT", help=f"only with this in {place}")


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key",
        metavar="KEY",
        help="VM id, name, provider id, node name, system UUID or IP address, tried in this order",
    )
    parser.add_argument("--by", choices=_BY, help="what KEY is; nothing else is tried")


def _instances(arguments: argparse.Namespace) -> Question:
    return Question(("instances",), InstanceList, _given(arguments, *_FILTERS, "managed", "q"))


def _nodes(arguments: argparse.Namespace) -> Question:
    return Question(("nodes",), NodeList, _given(arguments, "match", "managed", "q"))


def _of_instance(document: type[Any], *parts: str) -> Callable[[argparse.Namespace], Question]:
    def question(arguments: argparse.Namespace) -> Question:
        return Question(("instances", arguments.key, *parts), document, _given(arguments, "by"))

    return question


def _node(arguments: argparse.Namespace) -> Question:
    return Question(("nodes", arguments.node), NodeAnswer)


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, str]:
    """The filters of these names that were given."""
    filters = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in filters.items() if value is not None}


RESOURCES = {
    "instances": Resource("list VMs", _add_filters, _instances, get_report.print_instances),
    "instance": Resource(
        "show one VM", _add_key, _of_instance(InstanceAnswer), get_report.print_instance
    ),
    "metadata": Resource(
        "show what a node of a VM carries",
        _add_key,
        _of_instance(Metadata, "metadata"),
        get_report.print_metadata,
    ),
    "exists": Resource(
        "say whether a VM exists",
        _add_key,
        _of_instance(Exists, "exists"),
        get_report.print_exists,
        _STATUS,
    ),
    "shutdown": Resource(
        "say whether a VM is shut down",
        _add_key,
        _of_instance(Shutdown, "shutdown"),
        get_report.print_shutdown,
        _STATUS,
    ),
    "zones": Resource(
        "count VMs and nodes by zone",
        _add_nothing,
        lambda _: Question(("zones",), ZoneList),
        get_report.print_zones,
    ),
    "nodes": Resource(
        "list nodes, what they are and what becomes of them",
        _add_node_filters,
        _nodes,
        get_report.print_nodes,
    ),
    "node": Resource(
        "explain one node",
        _add_node,
        _node,
        lambda answer: print_explanation(answer.explanation),
    ),
}
