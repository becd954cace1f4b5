"""How commands speak: results on standard output; progress, warnings and errors beside it."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from rich.status import Status

    from provider.errors import ProviderError

# Whoever pipes a table wants one line a row, however long.
_ENDLESS = 10_000


def output() -> Console:
    """Standard output; colours only on a terminal and without NO_COLOR, which rich looks after."""
    is_bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if is_bounded else _ENDLESS)


def progress(text: str) -> Status:
    """A context in which a terminal shows that the program works on something."""
    return Console(stderr=True).status(escape(text))


def complain(error: ProviderError) -> None:
    """Say on standard error what went wrong and what to do about it."""
    sys.stderr.write(f"error: {error}\n")


def print_json(value: Any) -> None:
    """`value` as JSON on standard output, escaped where that cannot show every letter."""
    console = output()
    is_ascii = not console.encoding.startswith("utf")
    console.out(json.dumps(value, indent=2, ensure_ascii=is_ascii), highlight=False)


def table(*columns: str) -> Table:
    """An empty table without lines, as kubectl draws them."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def cell(text: str) -> Text:
    """`text` as it is: names of VMs may look like markup."""
    return Text(text)


def words(values: Iterable[object]) -> str:
    """`values` as a list in a sentence or a cell."""
    return ", ".join(str(value) for value in values)


def log_warnings() -> None:
    """Have warnings that other parts log appear on standard error, a line each."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, _line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    level, text = event.pop("level"), event.pop("event")
    facts = words(f"{key} {value}" for key, value in event.items())
    return f"{level}: {text}" + (f" ({facts})" if facts else "")
