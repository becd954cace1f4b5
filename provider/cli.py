"""argv -> exit status: the console script `ovirt-ccm`.

0 is fine, 1 is problems found or a failure, 2 is wrong usage or a wrong configuration file, 3 is a
certain no to a question, 130 is ended by Ctrl-C. What a command needs is imported only when it is
called.
"""

from __future__ import annotations

import argparse
import io
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, cast

from provider.commands import options
from provider.errors import ConfigError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

FINE = 0
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class Command(Protocol):
    """What the module of a command has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options to its parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """The exit status; ProviderError for what goes wrong."""


class Entry(NamedTuple):
    """A command: its module in `provider.commands`, and what it does in a few words."""

    module: str
    summary: str


COMMANDS = {
    "run": Entry("run", "be the cluster's cloud controller until stopped"),
    "check": Entry("check", "say what is wrong, and which VMs would become which nodes"),
    "explain": Entry("explain", "say what one node is, what would be written to it, and why"),
    "deletions": Entry(
        "deletions", "list the nodes that are held whose VM is gone, or let them go"
    ),
    "instances": Entry("instances", "list the selected VMs of all engines"),
    "get": Entry("get", "ask a running controller, or engine and cluster, for one thing"),
    "tag": Entry("tag", "make VMs Docker hosts: attach the tag, and make it when missing"),
    "untag": Entry("tag", "take the tag from VMs"),
    "demo": Entry("demo", "show all of it with a simulated engine and cluster"),
    "simulate": Entry("simulate", "run the simulated engine and cluster alone"),
    "config": Entry("config", "tell about the configuration file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command that `argv` (default: the process's) calls for."""
    _make_lenient()
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv)
        return _module(arguments.command).run(arguments)
    except SystemExit as end:  # all is said: by argparse, or to a reader that has gone
        return int(end.code or FINE)
    except (ConfigError, options.UsageError) as error:
        return _complain(error, WRONG_USAGE)
    except ProviderError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _module(command: str) -> Command:
    return cast("Command", import_module(f"provider.commands.{COMMANDS[command].module}"))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="ovirt-ccm",
        description="The Kubernetes cloud controller for oVirt.",
        epilog="`ovirt-ccm COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    options.add_common(parser, is_default=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, entry in COMMANDS.items():
        summary = f"{entry.summary[0].upper()}{entry.summary[1:]}."
        command = commands.add_parser(name, help=entry.summary, description=summary)
        options.add_common(command, is_default=False)
        if name in argv:  # a module is imported only when its command may be meant
            _module(name).add_arguments(command)
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints look like all others of the program."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.print_usage(sys.stderr)
        self.exit(WRONG_USAGE, f"error: {message}\n")


class _Version(argparse.Action):
    """Prints the version; it costs a look into the installed packages."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"ovirt-ccm {version('cloud-provider-ovirt')}\n")
        parser.exit()


def _make_lenient() -> None:
    """Have a terminal without UTF-8 show a question mark instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _complain(error: ProviderError, status: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return status
