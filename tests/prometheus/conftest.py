"""Prometheus and promtool as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs import required
from tests.prometheus.programs import find

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Where prometheus and promtool are."""
    return required(find)
