"""`config schema`."""

import json

import pytest

from provider.cli import main
from provider.config import schema


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["config", "schema"])

    assert status == 0
    assert json.loads(capsys.readouterr().out) == schema()
