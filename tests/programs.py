"""Programs that tests start and nobody installs: fetched once a machine, into one cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Places = Mapping[str, Path]


class ProgramsError(Exception):
    """The programs cannot be had; the text ends with the remedy."""


def cache() -> Path:
    """The folder of all that is fetched or built once a machine."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cloud-provider-ovirt"


def required(find: Callable[[], dict[str, Path]]) -> dict[str, Path]:
    """Where the programs are; the test that needs them fails with the remedy when they are not."""
    try:
        return find()
    except ProgramsError as error:
        pytest.fail(str(error), pytrace=False)


def main(target: str, fetch: Callable[[], Places]) -> int:
    """Exit status 0 when the programs of a make target are there; their places are printed."""
    try:
        places = fetch()
    except ProgramsError as error:
        sys.stderr.write(f"{target}: {error}\n")
        return 1
    for place in places.values():
        sys.stdout.write(f"{place}\n")
    return 0
