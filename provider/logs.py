"""Sets logging up: text for people or JSON for collectors, secrets taken out."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from provider.config import Logging

# Nothing logs these on purpose; this is for the day when somebody does.
_SECRET_KEYS = frozenset({"password", "token", "access_token", "authorization", "secret"})


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
    """`event` with the values of secret keys replaced (a structlog processor)."""
    for key in event:
        if key.lower() in _SECRET_KEYS:
            event[key] = "***"
    return event


def set_up(settings: Logging) -> None:
    """Write structlog's and the standard library's records to standard error, in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    last = (structlog.processors.format_exc_info, _renderer(settings.format))
    # Our own lines do not go through the standard library, which would take twice as long: a
    # join of thousands of nodes has a line for each. Loggers are not cached, as they would keep
    # the settings of their first line.
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())


def _renderer(form: str) -> structlog.typing.Processor:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
