"""What an engine said, asked for one VM alone, of VMs that are not selected any more. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

# More than leave in a bad week; the oldest are forgotten first.
_REMEMBERED = 4096


class Word(StrEnum):
    """What the engine said: there is no such VM, or there is one that is not selected.

    LOST is the first, said by an engine that was restored from a backup and may have forgotten it.
    """

    GONE = "gone"
    LOST = "lost"
    UNSELECTED = "unselected"


class Departure(Struct, frozen=True):
    """A VM that is not selected, and its name as far as it was listed."""

    id: str
    engine_id: str
    word: Word
    name: str | None = None


class Departed:
    """The newest word on each VM that is not selected, of the engine that was listed last."""

    def __init__(self) -> None:
        self._engine_id = ""
        self._by_id: dict[str, Departure] = {}
        self._doubted: set[str] = set()

    def serve(self, engine_id: str) -> None:
        """This engine answers now; what another has said is forgotten."""
        if engine_id != self._engine_id:
            self._engine_id = engine_id
            self._by_id.clear()
            self._doubted.clear()

    def distrust(self, ids: Iterable[str]) -> None:
        """The engine was restored from a backup: it may have forgotten these, and all that left.

        That one of them is gone counts no more until it has been listed again.
        """
        self._doubted.update(ids, self._by_id)
        for instance_id, one in self._by_id.items():
            self._by_id[instance_id] = replace(one, word=self._believed(instance_id, one.word))

    def _believed(self, instance_id: str, word: Word) -> Word:
        return Word.LOST if word is Word.GONE and instance_id in self._doubted else word

    def heard(self, instance_id: str, word: Word | None) -> None:
        """The engine was asked for this VM alone; None when it is selected."""
        before = self._by_id.pop(instance_id, None)
        if word is None:
            return
        name = before.name if before else None
        believed = self._believed(instance_id, word)
        self._by_id[instance_id] = Departure(instance_id, self._engine_id, believed, name)
        if len(self._by_id) > _REMEMBERED:
            del self._by_id[next(iter(self._by_id))]

    def are_selected(self, ids: Iterable[str]) -> None:
        """These are in the newest listing."""
        selected = set(ids)
        self._doubted -= selected
        for instance_id in self._by_id.keys() & selected:
            del self._by_id[instance_id]

    def was_called(self, instance_id: str, name: str | None) -> None:
        """A VM of which the engine was asked had this name when it was listed."""
        if departure := self._by_id.get(instance_id):
            self._by_id[instance_id] = replace(departure, name=name)

    def get(self, instance_id: str) -> Departure | None:
        """What is known of this VM; None when it is selected or was never asked for."""
        return self._by_id.get(instance_id)

    def named(self, name: str) -> tuple[Departure, ...]:
        """Those that had this name when they were listed last."""
        return tuple(one for one in self._by_id.values() if one.name == name)
