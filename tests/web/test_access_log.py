"""The line of each request: what it says, and when there is none."""

import json
from datetime import datetime

import pytest
from aiohttp import ClientSession

from provider.config import Logging
from provider.web.access_log import AccessLog
from tests.web.served import served


def line(capsys: pytest.CaptureFixture[str]) -> str:
    (only,) = capsys.readouterr().err.splitlines()
    return only


async def test_each_request_is_a_line_of_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logging = Logging(level="debug", format="json")
    async with (
        served(logging=logging) as (client, _),
        client.get("/healthz?token=geheim") as reply,
    ):
        await reply.read()

    facts = json.loads(line(capsys))
    assert datetime.fromisoformat(facts.pop("timestamp")).tzinfo
    assert 0 < facts.pop("duration") < 5
    assert facts == {
        "event": "request",
        "level": "debug",
        "method": "GET",
        "path": "/healthz",
        "status": 200,
        "user": "",
        "bytes": 3,
    }


async def test_people_get_it_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    async with served(logging=Logging(level="debug")) as (client, _), client.get("/no") as reply:
        await reply.read()

    assert " [debug] request method=GET path=/no status=404 user='' duration=0.0" in line(capsys)


async def test_above_its_level_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    async with served(logging=Logging(level="info")) as (client, _), client.get("/healthz"):
        pass

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_path_and_no_name_makes_another_line(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = AccessLog(Logging.model_validate({"level": "debug", "format": form}))

    log.write("GET", "/a\n\x1b[1m\udce4", 200, "eve\nlevel=error", 0.001, 3)

    written = line(capsys)
    assert written.isprintable()
    assert "/a" in written


async def test_no_token_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"Authorization": "Bearer geheim"}
    async with served(logging=Logging(level="debug")) as (_, server):
        base = f"http://127.0.0.1:{server.port}"
        async with ClientSession(base, headers=headers) as client, client.get("/metrics"):
            pass

    assert "geheim" not in line(capsys)
