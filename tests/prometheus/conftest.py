"""Prometheus and promtool as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.prometheus.programs import ProgramsError, find

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Where prometheus and promtool are."""
    try:
        return find()
    except ProgramsError as error:
        pytest.fail(str(error), pytrace=False)
