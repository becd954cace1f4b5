"""The list of instances: filters, pages, what is refused, validators and compression."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from provider.model import InstanceStatus
from provider.web.documents import InstanceList
from tests.controllers.lab import until
from tests.ovirt.lab import many, vm
from tests.web.lookup_lab import lookup

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.lookup_lab import Reply

pytestmark = pytest.mark.looptime


def names(reply: Reply) -> list[str]:
    assert reply.status == 200
    return [one.name for one in msgspec.json.decode(reply.body, type=InstanceList).instances]


async def test_instances_are_ordered_by_name(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("b"), vm("c"), vm("a")) as api:
        reply = await api.get("instances")

    assert names(reply) == ["a", "b", "c"]
    assert reply["total"] == 3
    assert reply["continue"] is None
    assert reply["engines"][0]["name"] == "east"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("zone=red", ["red-1"]),
        ("zone=blue&status=down", ["down-1"]),
        ("region=nowhere", []),
        ("cluster=red", ["red-1"]),
        ("host=hv-3", ["blue-3"]),
        ("tag=gpu", ["gpu-1"]),
        ("tag=docker-host", ["blue-3", "down-1", "gpu-1", "red-1"]),
        ("status=up", ["blue-3", "gpu-1", "red-1"]),
        ("managed=false", ["blue-3", "down-1", "red-1"]),
        ("managed=true", ["gpu-1"]),
        ("engine=east", ["blue-3", "down-1", "gpu-1", "red-1"]),
        ("q=BLUE", ["blue-3"]),
        ("q=0.0.7", ["gpu-1"]),
        ("q=no-such", []),
    ],
)
async def test_filters_narrow_the_list(tmp_path: Path, query: str, expected: list[str]) -> None:
    vms = (
        vm("red-1", cluster="red", host="hv-2", ip="10.0.0.5"),
        vm("blue-3", host="hv-3", ip="10.0.0.6"),
        vm("gpu-1", tags=("gpu",), ip="10.0.0.7"),
        vm("down-1", status=InstanceStatus.DOWN),
    )
    async with lookup(tmp_path, *vms) as api:
        api.lab.kubelet("gpu-1")
        await until(lambda: any(row.document.managed for row in api.catalogue.order))
        assert names(await api.get(f"instances?{query}")) == expected


async def test_pages_lead_through_all_of_them(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(7)) as api:
        seen, query = [], "limit=3"
        while query:
            reply = await api.get(f"instances?{query}")
            seen.append(names(reply))
            assert reply["total"] == 7
            query = reply["continue"] and f"limit=3&continue={reply['continue']}"

    assert seen == [["w0", "w1", "w2"], ["w3", "w4", "w5"], ["w6"]]


async def test_a_page_goes_on_where_the_last_ended_though_instances_come_and_go(
    tmp_path: Path,
) -> None:
    async with lookup(tmp_path, many(6)) as api:
        first = await api.get("instances?limit=3")
        world = api.lab.engine.world
        world.forget(api.lab.vm("w2"))  # the last that was seen
        await until(lambda: len(api.catalogue.order) == 5)
        second = await api.get(f"instances?limit=3&continue={first['continue']}")

    assert names(second) == ["w3", "w4", "w5"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("zoen=blue", "There is no parameter zoen here. Allowed are engine, zone,"),
        ("zone=", "at `$.zone`"),
        ("zone=a&zone=b", "zone is given more than once"),
        ("limit=0", "limit (1 to 10000)"),
        ("limit=10001", "limit (1 to 10000)"),
        ("limit=1.0", "limit (1 to 10000)"),
        ("limit=null", "limit (1 to 10000)"),
        ("managed=yes", "managed (true | false)"),
        ("managed=null", "managed (true | false)"),
        ("status=UP", "status (down | image_locked |"),
        ("engine=west", "Allowed are east."),
        ("continue=x", "`continue` must be"),
        ("continue=WyJhIl0", "`continue` must be"),
    ],
)
async def test_a_query_that_is_not_known_is_refused_with_what_is_allowed(
    tmp_path: Path, query: str, told: str
) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        reply = await api.get(f"instances?{query}")

    assert (reply.status, reply.kind) == (400, "query-invalid")
    assert told in reply["detail"]


async def test_the_list_is_compressed_for_whoever_takes_it(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(100)) as api:
        plain = await api.get("instances")
        packed, again = await asyncio.gather(
            *(api.get("instances", Accept_Encoding="br, gzip;q=0.5") for _ in range(2))
        )
        refused = await api.get("instances", Accept_Encoding="gzip;q=0, identity")

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.body) == gzip.decompress(again.body) == plain.body
    assert len(packed.body) < len(plain.body) / 5
    assert "Content-Encoding" not in refused.headers


async def test_a_list_is_valid_until_something_changes(tmp_path: Path) -> None:
    async with lookup(tmp_path, vm("w0")) as api:
        etag = (await api.get("instances")).headers["ETag"]
        await asyncio.sleep(70)
        same = await api.get("instances", If_None_Match=etag)
        api.lab.vm("w0").stop()
        await until(lambda: api.catalogue.order[0].document.status == "down")
        changed = await api.get("instances", If_None_Match=etag)

    assert (same.status, same.body) == (304, b"")
    assert int(same.headers["Age"]) < 70
    assert changed.status == 200


async def test_zones_are_counted(tmp_path: Path) -> None:
    vms = (
        vm("a"),
        vm("b", status=InstanceStatus.SUSPENDED),
        vm("c", cluster="red", host="hv-2", status=InstanceStatus.NOT_RESPONDING),
        vm("d", cluster="red", host="hv-2", status=InstanceStatus.POWERING_UP),
    )
    async with lookup(tmp_path, *vms) as api:
        api.lab.kubelet("a")
        await until(lambda: any(row.document.node for row in api.catalogue.order))
        reply = await api.get("zones")

    none: dict[str, Any] = dict.fromkeys(
        ("running", "changing", "stopped", "paused", "unknown"), 0
    )
    assert reply["zones"] == [
        {
            "region": "east",
            "zone": "blue",
            "instances": 2,
            "nodes": 1,
            "statuses": none | {"running": 1, "stopped": 1},
        },
        {
            "region": "east",
            "zone": "red",
            "instances": 2,
            "nodes": 0,
            "statuses": none | {"unknown": 1, "changing": 1},
        },
    ]
