"""Logs: one format for all, and no secret in them."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from provider.config import Logging
from provider.logs import set_up


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_json_lines_carry_the_fields_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Logging(format="json"))

    structlog.get_logger().info("engine answers", engine="east", password="s3cret")

    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["engine"], line["level"]) == ("engine answers", "east", "info")
    assert line["password"] == "***"
    assert line["timestamp"].endswith("Z")


def test_records_of_libraries_come_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Logging(format="json", level="warning"))

    logging.getLogger("aiohttp").info("not this")
    logging.getLogger("aiohttp").warning("that")

    assert json.loads(capsys.readouterr().err)["event"] == "that"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Logging())

    structlog.get_logger().warning("engine is silent", engine="east")

    line = capsys.readouterr().err
    assert "engine is silent" in line
    assert "engine=east" in line
    assert "\x1b" not in line
