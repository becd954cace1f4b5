from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.simulator.cluster_wire import NODES, node, started


def version(wire_object: dict[str, dict[str, str]]) -> str:
    return wire_object["metadata"]["resourceVersion"]


async def test_a_watch_sees_each_write_once_and_in_order() -> None:
    async with started() as wire, wire.watch() as watch:
        wire.cluster.nodes.create(node())
        await wire.patch(f"{NODES}/a", {"metadata": {"labels": {"x": "y"}}})
        await wire.patch(f"{NODES}/a", {"metadata": {"labels": {"x": "y"}}})
        wire.cluster.nodes.delete("a")

        events = [await watch.next() for _ in range(3)]

    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(version(found)) for _, found in events]
    assert versions == sorted(set(versions))


async def test_a_watch_from_a_version_repeats_what_came_after_it() -> None:
    async with started() as wire:
        seen = version(wire.cluster.nodes.create(node("a")))
        wire.cluster.nodes.create(node("b"))

        async with wire.watch(f"resourceVersion={seen}") as watch:
            kind, found = await watch.next()

    assert (kind, found["metadata"]["name"]) == ("ADDED", "b")


async def test_a_version_that_left_the_window_is_an_error_event() -> None:
    async with started(window=2) as wire:
        seen = version(wire.cluster.nodes.create(node("a")))
        for name in ("b", "c", "d"):
            wire.cluster.nodes.create(node(name))

        async with wire.watch(f"resourceVersion={seen}") as watch:
            kind, found = await watch.next()
            with pytest.raises(EOFError):
                await watch.next()

    assert (kind, found["code"], found["reason"]) == ("ERROR", 410, "Expired")


async def test_a_forgotten_version_may_be_refused_by_status() -> None:
    async with started(is_expiry_event=False) as wire:
        seen = version(wire.cluster.nodes.create(node("a")))
        wire.cluster.nodes.create(node("b"))
        wire.cluster.forget_history()

        code, body = await wire.send("GET", f"{NODES}?watch=1&resourceVersion={seen}")

    assert (code, body["code"], body["reason"]) == (410, 410, "Expired")


async def test_bookmarks_come_at_their_period_and_name_the_newest_version() -> None:
    query = "allowWatchBookmarks=true"
    async with started(bookmark_period=0.05) as wire, wire.watch(query) as watch:
        wire.cluster.kubelet("a", system_uuid="u")
        newest = version(wire.cluster.lease("kube-node-lease", "a"))
        await watch.next()

        kind, found = await watch.next()

    assert (kind, version(found)) == ("BOOKMARK", newest)


async def test_no_bookmark_is_sent_to_who_did_not_ask() -> None:
    async with started(bookmark_period=0.02) as wire, wire.watch("timeoutSeconds=1") as watch:
        with pytest.raises(EOFError):
            await watch.next()


async def test_a_watch_list_ends_its_first_events_with_a_bookmark() -> None:
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with started() as wire:
        wire.cluster.nodes.create(node("b"))
        wire.cluster.nodes.create(node("a"))

        async with wire.watch(query) as watch:
            events = [await watch.next() for _ in range(3)]

    assert [kind for kind, _ in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert [found["metadata"].get("name") for _, found in events[:2]] == ["a", "b"]
    assert events[2][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_pages_show_the_state_of_the_first_page() -> None:
    async with started() as wire:
        for name in ("a", "b", "c"):
            wire.cluster.nodes.create(node(name))

        first = await wire.get(f"{NODES}?limit=2")
        wire.cluster.nodes.delete("c")
        wire.cluster.nodes.patch("b", {"metadata": {"labels": {"x": "y"}}})
        wire.cluster.nodes.create(node("d"))
        token = first["metadata"]["continue"]
        second = await wire.get(f"{NODES}?limit=2&continue={token}")

    assert [item["metadata"]["name"] for item in second["items"]] == ["c"]
    assert version(second) == version(first)


async def test_a_forgotten_page_is_expired_and_offers_a_new_token() -> None:
    async with started() as wire:
        for name in ("a", "b", "c"):
            wire.cluster.nodes.create(node(name))
        first = await wire.get(f"{NODES}?limit=1")
        wire.cluster.nodes.delete("b")
        wire.cluster.forget_history()

        token = first["metadata"]["continue"]
        code, body = await wire.send("GET", f"{NODES}?limit=5&continue={token}")
        rest = await wire.get(f"{NODES}?continue={body['metadata']['continue']}")

    assert (code, body["reason"]) == (410, "Expired")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]


async def test_a_watch_that_its_client_leaves_is_forgotten() -> None:
    async with started() as wire:
        faults = wire.cluster.faults
        async with wire.watch():
            before = faults.open_watches
        for _ in range(1000):
            if faults.open_watches == 0:
                break
            await asyncio.sleep(0.005)

        assert (before, faults.open_watches) == (1, 0)


async def test_stop_ends_open_watches_cleanly() -> None:
    async with started() as wire, wire.watch() as watch:
        await wire.cluster.stop()

        with pytest.raises(EOFError):
            await watch.next()


async def test_a_list_from_the_future_is_a_timeout() -> None:
    async with started() as wire:
        code, body = await wire.send("GET", f"{NODES}?resourceVersion=999")

    assert (code, body["reason"]) == (504, "Timeout")


async def test_down_cuts_watches_and_up_serves_what_was_stored() -> None:
    async with started() as wire:
        wire.cluster.nodes.create(node())
        async with wire.watch() as watch:
            await watch.next()
            await wire.cluster.down()
            with pytest.raises(aiohttp.ClientError):
                await watch.next()
        with pytest.raises(aiohttp.ClientConnectorError):
            await wire.get(NODES)

        await wire.cluster.up()

        assert len((await wire.get(NODES))["items"]) == 1
