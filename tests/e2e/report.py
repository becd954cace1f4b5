"""Progress, a line a step, with the time that each took."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoryError(Exception):
    """Something is not as it must be; the text says what."""


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say the step when it is done, or that it failed; a terminal sees it begin too."""
    start = time.monotonic()
    if sys.stdout.isatty():
        sys.stdout.write(f"   ...    {text}\r")
        sys.stdout.flush()
    try:
        yield
    except BaseException:
        _line("FAILED", start, text)
        raise
    _line("ok", start, text)


def title(text: str) -> None:
    """Begin a chapter."""
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line of its own, for what a step has found."""
    sys.stdout.write(f"          {text}\n")
    sys.stdout.flush()


def _line(result: str, start: float, text: str) -> None:
    seconds = time.monotonic() - start
    sys.stdout.write(f"{result:<6}{seconds:6.1f} s  {text}\n")
    sys.stdout.flush()


def require(*, fact: bool, what: str) -> None:
    """StoryError unless it is so."""
    if not fact:
        raise StoryError(what)
