"""Helm and kubectl as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kube.conftest import kube_assets
from tests.manifests.programs import find
from tests.manifests.render import Renderer
from tests.programs import required

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kube_assets"]


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Where helm and kubectl are."""
    return required(find)


@pytest.fixture
def renderer(programs: dict[str, Path], tmp_path: Path) -> Renderer:
    """Renders what is shipped."""
    return Renderer(programs, tmp_path)
