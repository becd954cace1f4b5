"""Whether the process lives and is ready, as a list of named checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable


class Check(Struct, frozen=True):
    """A named check; `missing` gives None when it is met, else what is missing, in words."""

    name: str
    missing: Callable[[], str | None]


def report(checks: tuple[Check, ...], otherwise: str) -> tuple[bool, str]:
    """Whether all checks are met, and a line for each in the form of the API server's /readyz.

    The last line is `ok` or `otherwise`.
    """
    lines: list[str] = []
    is_ok = True
    for check in checks:
        missing = check.missing()
        is_ok = is_ok and missing is None
        lines.append(f"[+]{check.name} ok" if missing is None else f"[-]{check.name}: {missing}")
    lines.append("ok" if is_ok else otherwise)
    return is_ok, "\n".join(lines) + "\n"
