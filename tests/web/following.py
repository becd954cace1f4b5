"""A catalogue whose rows a test sets, and a reader of its changes that keeps what it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provider.web.changes import KINDS
from provider.web.ring import Ring
from tests.web.event_stream import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.event_stream import Event

ROW = 25_000  # bytes, so that a few rows are a piece
REMEMBERED = 8  # changes


class SetRows:
    """Rows that a test sets, beside the real memory of changes, of `remembered` keys.

    Each row is about `size` bytes; everything is given in chapters of so many rows.
    """

    def __init__(
        self,
        epoch: str = "e1",
        *,
        remembered: int = REMEMBERED,
        size: int = ROW,
        chapter: int = 2,
    ) -> None:
        self.epoch = epoch
        self.rows: dict[tuple[str, str], bytes] = {}
        self.rendered = 0
        self._size = size
        self._chapter = chapter
        self._ring = Ring(remembered)

    @property
    def generation(self) -> int:
        return self._ring.sequence

    def put(self, kind: str, key: str) -> None:
        engine, _, one = key.rpartition("/")
        names = {"engine": engine, "id": one} if kind == "instance" else {"name": key}
        change = f"{self.epoch}-{self.generation}"
        document = {**names, "change": change, "filling": "x" * self._size}
        self.rows[kind, key] = json.dumps(document).encode()
        self._ring.note([(kind, key)])

    def remove(self, kind: str, key: str) -> None:
        del self.rows[kind, key]
        self._ring.note([(kind, key)])

    def render(self, kind: str, key: str) -> bytes | None:
        self.rendered += 1
        return self.rows.get((kind, key))

    def everything(self) -> Iterator[list[tuple[str, str, bytes]]]:
        keys = list(self.rows)
        for first in range(0, len(keys), self._chapter):
            chapter = [key for key in keys[first : first + self._chapter] if key in self.rows]
            self.rendered += len(chapter)
            yield [(*key, self.rows[key]) for key in chapter]

    def sequence_of(self, kind: str, key: str) -> int:
        return self._ring.of((kind, key))

    def since(self, sequence: int) -> tuple[int, tuple[tuple[str, str], ...]] | None:
        keys = self._ring.since(sequence)
        return None if keys is None else (self.generation, keys)

    async def changed(self, sequence: int) -> None:
        await self._ring.changed(sequence)


class Follower:
    """A reader; `told` are the names of the events that it was told.

    `repeated` counts those that told it what it knew.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.told: list[str] = []
        self.repeated = 0
        self.reader = Reader()

    @property
    def last_id(self) -> str:
        return self.reader.last_id

    def cut_off(self) -> None:
        """Forget the beginning of an event that has not come whole."""
        self.reader = Reader(self.last_id)

    def read(self, piece: bytes) -> None:
        for event in self.reader.feed(piece):
            self.told.append(event.name)
            self._apply(event)

    def _apply(self, event: Event) -> None:
        kind, _, is_removed = event.name.partition("-")
        if kind == "reset":
            self.rows = {}
        if kind in KINDS:
            key, data = (kind, _key(json.loads(event.data))), event.data.encode()
            self.repeated += self.rows.get(key) == data
            self.rows[key] = data
            if is_removed:
                del self.rows[key]


def _key(row: dict[str, str]) -> str:
    return f"{row['engine']}/{row['id']}" if "id" in row else row["name"]
