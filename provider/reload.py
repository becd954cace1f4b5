"""Files that are read again while the program runs, and whether what they hold is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONFIGURATION = "configuration"
"""The `file` of the configuration file."""

_log = structlog.get_logger(__name__)


class Reload:
    """Whether what a file holds now is at work; each change of that is logged once.

    `file` is what the file is for, `engine` the engine that it belongs to, if any. `problem` says
    why its content is not used and what it held before still is; it is empty when all is well.
    """

    def __init__(self, file: str, engine: str = "") -> None:
        self.file = file
        self.engine = engine
        self.problem = ""

    def kept(self, why: str) -> None:
        """The content cannot be used: what was there before stays at work."""
        if why != self.problem:
            _log.warning(
                "a changed file cannot be used; what it held before stays", **self._facts(why)
            )
        self.problem = why

    def taken(self) -> None:
        """The content is at work."""
        _log.info("a changed file is at work", **self._facts())
        self.problem = ""

    def unchanged(self) -> None:
        """The content is at work, as it was before."""
        if self.problem:
            _log.info("a file is what it was before it could not be used", **self._facts())
        self.problem = ""

    def _facts(self, why: str = "") -> dict[str, str]:
        facts = {"file": self.file, "engine": self.engine, "why": why}
        return {name: value for name, value in facts.items() if value}


Stamp = tuple[tuple[int, ...] | None, ...]


def stamp(paths: Iterable[Path | None]) -> Stamp:
    """What differs as soon as one of the files does; None for one that cannot be looked at.

    Links are followed: a volume of a pod is changed by pointing a link elsewhere.
    """
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size) if found else None
