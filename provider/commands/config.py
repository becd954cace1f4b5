"""`config schema`: the JSON Schema of the configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.commands import terminal
from provider.config import schema

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be told."""
    parser.add_argument("topic", choices=("schema",), help="the JSON Schema of the file")


def run(_arguments: argparse.Namespace) -> int:
    """Print the schema."""
    terminal.print_json(schema())
    return 0
