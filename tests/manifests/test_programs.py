"""Where Helm and kubectl come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.manifests.programs import find
from tests.programs import ProgramsError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_missing_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ProgramsError, match="helm and kubectl cannot be found"):
        find()
