"""`tag` and `untag` against a simulated engine, through the official SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.simulator.scenario import TagSpec
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from tests.commands.conftest import Lab, MakeLab


def by_administrator(lab: Lab) -> Lab:
    lab.configure(engine={"username": "admin@internal"})
    return lab


async def selected(lab: Lab) -> list[str]:
    ended = await lab.run("instances", "--output", "json")
    return [one["name"] for one in ended.json]


async def test_the_tag_is_made_and_attached(make_lab: MakeLab) -> None:
    lab = by_administrator(await make_lab(vm("a", tags=()), vm("b", tags=()), tags=()))

    ended = await lab.run("tag", "a", "b")

    assert ended.status == 0
    assert ended.out.splitlines() == [
        "done: make the tag docker-host",
        "done: tag a with docker-host",
        "done: tag b with docker-host",
    ]
    assert await selected(lab) == ["a", "b"]


async def test_a_dry_run_changes_nothing(make_lab: MakeLab) -> None:
    lab = by_administrator(await make_lab(vm("a", tags=()), vm("b")))

    ended = await lab.run("tag", "a", "b", "--dry-run")

    assert (ended.status, ended.out) == (0, "would tag a with docker-host\n")
    assert await selected(lab) == ["b"]


async def test_what_is_so_already_is_said(make_lab: MakeLab) -> None:
    lab = by_administrator(await make_lab(many(1)))

    ended = await lab.run("tag", "w0")

    assert (ended.status, ended.out) == (0, "Nothing to do: it is so already.\n")


async def test_the_tag_is_taken_away(make_lab: MakeLab) -> None:
    lab = by_administrator(await make_lab(many(2)))

    ended = await lab.run("untag", "w0")

    assert (ended.status, ended.out) == (0, "done: take the tag docker-host from w0\n")
    assert await selected(lab) == ["w1"]


async def test_an_unknown_vm_is_one_sentence_and_changes_nothing(make_lab: MakeLab) -> None:
    lab = by_administrator(await make_lab(vm("a", tags=()), tags=(TagSpec(name="docker-host"),)))

    ended = await lab.run("tag", "a", "nobody")

    assert ended.status == 1
    assert ended.err.startswith("error: engine east: has no VM called nobody.")
    assert await selected(lab) == []


async def test_an_account_that_may_only_read_is_told_so(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("a", tags=()))

    ended = await lab.run("tag", "a")

    assert ended.status == 1
    assert "needs an account that may change tags and VMs" in ended.err


async def test_of_several_engines_one_must_be_named(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("a", tags=()))
    west = lab.engine_section(name="west", url="http://127.0.0.1:1/ovirt-engine")
    east = lab.engine_section(username="admin@internal")
    lab.configure(engines=[east, west])

    unclear = await lab.run("tag", "a")
    unknown = await lab.run("tag", "a", "--engine", "north")
    clear = await lab.run("tag", "a", "--engine", "east")

    assert unclear.err == ("error: several engines are configured. Give --engine: east, west.\n")
    assert "no engine north is configured" in unknown.err
    assert (unclear.status, unknown.status, clear.status) == (2, 2, 0)
