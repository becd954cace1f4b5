"""The options that commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from provider.errors import ProviderError

DEFAULT_CONFIG = Path("/etc/ovirt-ccm/config.yaml")
"""The default of `--config`; repeated here because the configuration is slow to import."""


class UsageError(ProviderError):
    """The options do not fit the configuration: wrong usage, found out late."""


def add_common(parser: argparse.ArgumentParser, *, is_default: bool) -> None:
    """`--config` and `--kubeconfig`, which may stand before or after the command.

    Only the parser with `is_default` sets them when they are not given: those after the command
    must not undo those before it.
    """
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=DEFAULT_CONFIG if is_default else argparse.SUPPRESS,
        help=f"configuration file (default: {DEFAULT_CONFIG})",
    )
    common.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        default=None if is_default else argparse.SUPPRESS,
        help="kubeconfig of the cluster (default: the pod's service account)",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--output`, for commands whose result a script may want."""
    parser.add_argument(
        "--output",
        choices=("table", "json"),
        default="table",
        help="a table for people (default) or JSON for scripts",
    )
