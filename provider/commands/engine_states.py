"""What is said of engines that could not be asked for an answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.web.documents import EngineState


def complain_of(engines: Iterable[EngineState]) -> int:
    """Say on standard error which engines could not be asked; 1 when there are any, else 0."""
    complaints = [complaint for one in engines if (complaint := _complaint(one))]
    sys.stderr.write("".join(f"error: {complaint}\n" for complaint in complaints))
    return 1 if complaints else 0


def _complaint(engine: EngineState) -> str:
    if engine.as_of is None:
        return engine.error or f"engine {engine.name} has not been listed yet."
    if engine.error is None:
        return ""
    return f"{engine.error} What is shown of it is as of {engine.as_of:%Y-%m-%d %H:%M:%S} UTC."
