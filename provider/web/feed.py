"""What one reader of `/v1/changes` is told next: the catalogue as events, a piece at a time.

Level-triggered: an event holds what its row is when the event is made, and only the position of
the reader is remembered, never what was to be told. So a slow reader costs no memory and is told
once of a row that changed ten times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 64 * 1024
"""Bytes of changes after which a piece ends."""

_DIGITS = 19  # of no sequence number are there more; int() refuses thousands of them

_encode = msgspec.json.Encoder().encode


class Rows(Protocol):
    """What a feed reads; provider.web.catalogue says what each means."""

    epoch: str

    @property
    def generation(self) -> int:
        """The sequence number of the newest change."""
        ...

    def render(self, kind: str, key: str) -> bytes | None:
        """The row as JSON, as it is now; None when there is none."""
        ...

    def everything(self) -> Iterator[list[tuple[str, str, bytes]]]:
        """All rows, a few at a time, each as of when it is given."""
        ...

    def sequence_of(self, kind: str, key: str) -> int:
        """The number of the row's last change; larger when that is long ago."""
        ...

    def since(self, sequence: int) -> tuple[int, tuple[tuple[str, str], ...]] | None:
        """What changed after `sequence`, in order; None when that is not remembered."""
        ...


class Feed:
    """The events for a reader of rows of these `kinds`, whose last event had the id `last`.

    An id is `<epoch>-<sequence>`: whoever has read up to it knows the rows as they were at that
    change. With one of another epoch, or of a change that is not remembered any more, or with
    none, a full picture comes first: `reset` (forget everything), each row, `synced` (that was
    all). Its events carry no id before `synced`, so that whoever is cut off meanwhile starts over.
    A row that changes meanwhile is told once, as it is at the end of the picture.
    """

    def __init__(self, rows: Rows, kinds: frozenset[str], last: str) -> None:
        self._rows = rows
        self._kinds = kinds
        self._picture: Iterator[list[tuple[str, str, bytes]]] | None = None
        self._is_synced = True
        epoch, _, sequence = last.rpartition("-")
        is_known = epoch == rows.epoch and sequence.isdecimal() and len(sequence) <= _DIGITS
        self._position = int(sequence) if is_known else -1

    @property
    def position(self) -> int:
        """The number of the last change that was told."""
        return self._position

    def take(self) -> bytes | None:
        """The next piece, which may be empty; None when the reader knows everything."""
        found = self._rows.since(self._position)
        if found is None:
            return self._begin()
        if self._picture and (chapter := next(self._picture, None)) is not None:
            return b"".join(self._of_picture(chapter))
        self._picture = None
        _, changed = found
        if changed:
            return self._changes(changed)
        return None if self._is_synced else self._end()

    def heartbeat(self) -> bytes:
        """A comment, and lines that raise no event but bring the reader's id up to date."""
        return b":\n" + self._close()

    def _begin(self) -> bytes:
        self._position = self._rows.generation
        self._picture = self._rows.everything()
        self._is_synced = False
        return self._event("reset", b"{}")

    def _of_picture(self, chapter: list[tuple[str, str, bytes]]) -> Iterator[bytes]:
        for kind, key, body in chapter:
            # What has changed since the picture began follows as a change.
            is_as_then = self._rows.sequence_of(kind, key) <= self._position
            if kind in self._kinds and is_as_then:
                yield self._event(kind, body)

    def _changes(self, changed: tuple[tuple[str, str], ...]) -> bytes:
        piece = bytearray()
        for kind, key in changed:
            if len(piece) >= PIECE:
                break
            self._position = self._rows.sequence_of(kind, key)
            if kind in self._kinds:
                piece += self._change(kind, key)
        return bytes(piece)

    def _change(self, kind: str, key: str) -> bytes:
        body = self._rows.render(kind, key)
        if body is None:
            return self._event(f"{kind}-removed", _encode(_identity(kind, key)))
        return self._event(kind, body)

    def _end(self) -> bytes:
        self._is_synced = True
        return self._event("synced", b"{}")

    def _event(self, name: str, data: bytes) -> bytes:
        return b"event: %b\ndata: %b\n%b" % (name.encode(), data, self._close())

    def _close(self) -> bytes:
        line = f"id: {self._rows.epoch}-{self._position}\n\n" if self._is_synced else "\n"
        return line.encode()


def _identity(kind: str, key: str) -> dict[str, str]:
    """The members of a row that say which it is."""
    if kind == "instance":
        engine, _, instance_id = key.rpartition("/")
        return {"engine": engine, "id": instance_id}
    return {"name": key}
