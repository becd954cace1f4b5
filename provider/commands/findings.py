"""What `check` has found out, one thing a line."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from provider.errors import ProviderError


class Result(StrEnum):
    """How one check ended; only FAILED makes the exit status 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


class Finding(Struct, frozen=True):
    """The end of one check of a `subject`: what is so, and what to do about it."""

    subject: str
    result: Result
    message: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding for scripts."""
        return {
            "subject": self.subject,
            "result": self.result,
            "message": self.message,
            "remedy": self.remedy,
        }


def failure(subject: str, error: ProviderError, remedy: str = "") -> Finding:
    """The finding that `error` is; `remedy` when it has none of its own."""
    return Finding(subject, Result.FAILED, error.message, error.remedy or remedy)
