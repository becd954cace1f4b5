"""The recorded requests of engine 4.5.8, sent to the simulator: it answers as the engine did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from yarl import URL

from provider.simulator.engine import SimulatedEngine
from tests.simulator.preparations import PREPARATIONS
from tests.simulator.recorded import (
    READER_PASSWORD,
    Recording,
    give_unfiltered_devices,
    recorded_scenario,
    recordings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Recorded requests that are not replayed, and why.
NOT_REPLAYED = {
    17: "token-info is asked by the engine itself, with a secret of its own",
    72: "affinity labels are not simulated",
    73: "affinity labels are not simulated",
    105: "Expect: 100-continue is the HTTP library's affair",
    128: "a next run is refused on the recorded hosts because they are no real hosts",
}
# Members that the simulator renders for each cluster alike, and the engine does not.
NOT_RENDERED = {
    "policy": "migration policies of some clusters",
    "bios_type": "one recorded cluster has no machine type yet",
    "custom_scheduling_policy_properties": "one recorded cluster has no machine type yet",
}
READERS = {20, 99, 116, 120}
PLAIN_USERS = {92, 93, 94, 95, 96, 97, 135}
SENT_AS_RECORDED = {9, 10, 11, 13, 163}  # Basic, none, or a token that is no longer known

REPLAYED = [r for r in recordings() if r.number not in NOT_REPLAYED]


def _account(number: int) -> tuple[str, str]:
    if number in READERS:
        return "reader@internal", READER_PASSWORD
    if number in PLAIN_USERS:
        return "user@internal", "secret"
    return "admin@internal", "secret"


async def _token(
    engine: SimulatedEngine, session: aiohttp.ClientSession, recorded: Recording
) -> str:
    name, password = _account(recorded.number)
    form = {
        "grant_type": "password",
        "scope": "none" if recorded.number == 14 else "ovirt-app-api",
        "username": name,
        "password": password,
    }
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    body = urlencode(form)
    async with session.post("/ovirt-engine/sso/oauth/token", data=body, headers=headers) as reply:
        return str((await reply.json())["access_token"])


@pytest.mark.parametrize("recorded", REPLAYED, ids=[r.name for r in REPLAYED])
async def test_the_simulator_answers_as_the_engine_did(recorded: Recording) -> None:
    engine = SimulatedEngine(recorded_scenario(recorded))
    engine.faults.refusal_seconds = 0
    give_unfiltered_devices(engine)
    url = await engine.start()
    try:
        reply, body = await _send(engine, recorded, url.removesuffix("/ovirt-engine"))
    finally:
        await engine.stop()

    assert reply.status == recorded.status
    assert _headers(dict(reply.headers)) == _headers(recorded.meta["response_headers"])
    _compare_bodies(recorded, body, url.removesuffix("/ovirt-engine"))


async def _send(
    engine: SimulatedEngine, recorded: Recording, origin: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    """The recorded request, by the same kind of account, with a token of its own."""
    async with aiohttp.ClientSession(origin) as session:
        headers = {"Accept-Encoding": "identity"} | recorded.meta["request_headers"]
        if "Authorization" in headers and recorded.number not in SENT_AS_RECORDED:
            headers["Authorization"] = f"Bearer {await _token(engine, session, recorded)}"
        await PREPARATIONS.get(recorded.number, _nothing)(engine, session)
        async with session.request(
            recorded.meta["method"],
            URL(origin + recorded.meta["path"], encoded=True),
            headers=headers,
            skip_auto_headers=("Accept", "Content-Type"),
            data=recorded.meta.get("request_body"),
        ) as reply:
            return reply, await reply.read()


async def _nothing(_engine: SimulatedEngine, _session: aiohttp.ClientSession) -> None:
    return


def _headers(headers: dict[str, str]) -> dict[str, object]:
    """What a client may rely on, of the headers of an answer."""
    lower = {name.lower(): value for name, value in headers.items()}
    location = lower.get("location", "")
    return {
        "content-type": lower.get("content-type"),
        "is_empty": lower.get("content-length") == "0",
        "is_chunked": "transfer-encoding" in lower,
        "closes": lower.get("connection", "").lower() == "close",
        "www-authenticate": lower.get("www-authenticate"),
        "content-encoding": lower.get("content-encoding"),
        "vary": lower.get("vary"),
        "correlation": _correlation(lower.get("correlation-id")),
        "has_cookie": "set-cookie" in lower,
        "location": location.partition("/ovirt-engine")[2].rpartition("/")[0],
        "has_link": "link" in lower,
    }


def _correlation(value: str | None) -> str | None:
    is_random = value is not None and len(value) == 36 and value.count("-") == 4
    return "random" if is_random else value


def _compare_bodies(recorded: Recording, body: bytes, origin: str) -> None:
    kind = recorded.header("content-type") or ""
    if kind.startswith("application/json"):
        _compare_documents(recorded, json.loads(body), origin)
    elif kind.startswith("application/xml"):
        mine, theirs = (ET.fromstring(text) for text in (body, recorded.body))  # noqa: S314 # our own
        assert _xml_shape(mine) == _xml_shape(theirs)
    elif len(recorded.body) < 500:
        text = recorded.body.decode().replace("https://localhost:18443", origin)
        assert _page(body.decode()) == _page(text)


def _page(text: str) -> str:
    """The page without its document type, which says nothing."""
    return text[text.index("<html>") :] if "<html>" in text else text


def _compare_documents(recorded: Recording, mine: Any, origin: str) -> None:
    theirs = recorded.json()
    if "error_code" in theirs or ("detail" in theirs and "sql" not in theirs["detail"]):
        text = json.dumps(theirs).replace("https://localhost:18443", origin)
        assert mine == json.loads(text)
        return
    differences = list(_differences(theirs, mine, ""))
    assert differences == []


def _differences(theirs: Any, mine: Any, path: str) -> Iterator[str]:
    """Where the keys and types of two documents differ."""
    if _kind(theirs) != _kind(mine):
        yield f"{path}: recorded {_kind(theirs)}, simulated {_kind(mine)}"
    elif isinstance(theirs, dict):
        for key in sorted(theirs.keys() ^ mine.keys()):
            if key not in NOT_RENDERED:
                yield f"{path}/{key}: only {'recorded' if key in theirs else 'simulated'}"
        for key in theirs.keys() & mine.keys():
            yield from _differences(theirs[key], mine[key], f"{path}/{key}")
    elif isinstance(theirs, list):
        yield from _list_differences(theirs, mine, path)


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case str():
            return "string"
    return "number"


def _list_differences(theirs: list[Any], mine: list[Any], path: str) -> Iterator[str]:
    """Lists of the same objects are compared one by one, others by what their elements share."""
    if not theirs or not isinstance(theirs[0], dict) or "/link" in path:
        return
    if path.endswith(("/event", "/statistic", "/job", "/network")):
        yield from _kin_differences(theirs, mine, path)
        return
    known = {item.get("id", n): item for n, item in enumerate(mine)}
    if (wanted := _order(path, theirs)) != (found := _order(path, mine)):
        yield f"{path}: recorded {wanted}, simulated {found}"
    for n, item in enumerate(theirs):
        key = item.get("id", n)
        if key not in known:
            yield f"{path}/{key}: only recorded"
        else:
            yield from _differences(item, known[key], f"{path}/{key}")


def _order(path: str, items: list[Any]) -> list[str]:
    """The names in their order, where the engine has one."""
    names = [str(item.get("name")) for item in items]
    return names if path == "/vm" else sorted(names)


def _kin_differences(theirs: list[Any], mine: list[Any], path: str) -> Iterator[str]:
    if bool(theirs) != bool(mine):
        yield f"{path}: recorded {len(theirs)}, simulated {len(mine)}"
        return
    always = set.intersection(*(set(item) for item in theirs))
    ever = set.union(*(set(item) for item in theirs)) | {"correlation_id", *_REFS}
    for item in mine:
        if missing := always - set(item) - _REFS - {"correlation_id"}:
            yield f"{path}: {missing} only recorded"
        if more := set(item) - ever:
            yield f"{path}: {more} only simulated"
        for key in item.keys() & theirs[0].keys():
            yield from _differences(theirs[0][key], item[key], f"{path}/{key}")


_REFS = {"vm", "host", "cluster", "data_center", "template", "user"}


def _xml_shape(element: ET.Element) -> tuple[str, Any, Any]:
    children = [_xml_shape(child) for child in element if child.tag not in NOT_RENDERED]
    if element.tag in ("nics", "reported_devices", "tags", "vms"):
        return element.tag, sorted(element.attrib), children
    return element.tag, sorted(element.attrib), sorted(set(map(repr, children)))
