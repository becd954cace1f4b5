"""One line for each request that is served, at the level `debug`.

It is written without the machinery of the other logs, which takes longer than most answers.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from provider.config import Logging

_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes to standard error, in the format of all logs, if it `is_on`."""

    def __init__(self, settings: Logging) -> None:
        self.is_on = settings.level == "debug"
        self._render = _json if settings.format == "json" else _text

    def write(
        self, method: str, target: str, status: int, user: str, seconds: float, size: int
    ) -> None:
        """A line about an answer of `size` bytes; of the target the path only, as it came."""
        path = target.partition("?")[0].encode("ascii", "backslashreplace").decode()
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        facts = {
            "method": method,
            "path": path,
            "status": status,
            "user": user,
            "duration": seconds,
            "bytes": size,
        }
        sys.stderr.write(self._render(now, facts))


def _json(now: str, facts: dict[str, Any]) -> str:
    line = {"event": "request", "level": "debug", "timestamp": now, **facts}
    return _encode(line).decode() + "\n"


def _text(now: str, facts: dict[str, Any]) -> str:
    pairs = " ".join(f"{name}={_word(value)}" for name, value in facts.items())
    return f"{now} [debug] request {pairs}\n"


def _word(value: object) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    is_plain = text.isprintable() and text and " " not in text
    return text if is_plain else repr(text)
