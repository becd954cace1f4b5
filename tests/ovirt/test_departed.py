"""What an engine said of VMs that are not selected any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.ovirt.departed import Departed, Departure, Word
from tests.builders import uuid_of
from tests.ovirt.lab import many, running

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_left_a_listing_is_remembered_with_the_engine_s_word(tmp_path: Path) -> None:
    async with running(tmp_path, many(3)) as lab, lab.lister() as lister:
        first = await lister.take(None)
        removed, untagged = lab.world.vm("w0"), lab.world.vm("w1")
        lab.world.forget(removed)
        untagged.tags = ()
        await lister.take(first)
        gone, unselected = lister.departed.get(removed.id), lister.departed.get(untagged.id)

    assert gone == Departure(removed.id, first.engine_id, Word.GONE, "w0")
    assert unselected == Departure(untagged.id, first.engine_id, Word.UNSELECTED, "w1")
    assert lister.departed.named("w0") == (gone,)


async def test_what_is_selected_again_is_not_departed(tmp_path: Path) -> None:
    async with running(tmp_path, many(2)) as lab, lab.lister() as lister:
        first = await lister.take(None)
        machine = lab.world.vm("w0")
        tags, machine.tags = machine.tags, ()
        second = await lister.take(first)
        assert lister.departed.get(machine.id)
        machine.tags = tags
        await lister.take(second)

    assert lister.departed.get(machine.id) is None


async def test_a_proof_of_absence_is_a_word_too(tmp_path: Path) -> None:
    async with running(tmp_path, many(1)) as lab, lab.lister() as lister:
        listing = await lister.take(None)
        assert await lister.is_gone(uuid_of("x"), listing.engine_id)

    departure = lister.departed.get(uuid_of("x"))
    assert departure
    assert (departure.word, departure.name) == (Word.GONE, None)


async def test_a_vm_that_is_read_and_selected_is_not_departed(tmp_path: Path) -> None:
    async with running(tmp_path, many(1)) as lab, lab.lister() as lister:
        await lister.take(None)
        machine = lab.world.vm("w0")
        tags, machine.tags = machine.tags, ()
        await lister.read(machine.id, is_member=True)
        assert lister.departed.get(machine.id)
        machine.tags = tags
        await lister.read(machine.id, is_member=True)

    assert lister.departed.get(machine.id) is None


def test_the_words_of_another_engine_are_forgotten() -> None:
    departed = Departed()
    departed.serve("one")
    departed.heard("x", Word.GONE)
    departed.serve("one")
    assert departed.get("x")
    departed.serve("two")
    assert departed.get("x") is None


def test_the_oldest_are_forgotten_first() -> None:
    departed = Departed()
    for number in range(5000):
        departed.heard(str(number), Word.GONE)
    departed.heard("904", Word.GONE)

    assert departed.get("903") is None
    assert departed.get("904")
    assert sum(departed.get(str(number)) is not None for number in range(5000)) == 4096


def test_a_restored_engine_is_not_believed_that_what_it_listed_before_is_gone() -> None:
    departed = Departed()
    departed.serve("e")
    departed.heard("before", Word.GONE)
    departed.distrust(["listed", "back"])
    departed.are_selected(["back"])

    for instance_id in ("before", "listed", "back", "never-listed"):
        departed.heard(instance_id, Word.GONE)
    words = {
        i: d.word for i in ("before", "listed", "back", "never-listed") if (d := departed.get(i))
    }

    assert words == {
        "before": Word.LOST,
        "listed": Word.LOST,
        "back": Word.GONE,
        "never-listed": Word.GONE,
    }
