"""A reader of server-sent events, as the HTML standard (9.2.6) has it, and what it has learnt."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str


@dataclass
class Reader:
    """Takes in bytes; `last_id` is what it would resume with."""

    last_id: str = ""
    retry: int | None = None
    comments: int = 0
    _rest: bytes = b""
    _name: str = ""
    _data: list[str] = field(default_factory=list)
    _id: str = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are complete now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = (self._line(line.decode()) for line in lines)
        return [event for event in found if event]

    def _line(self, line: str) -> Event | None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if line:
                self.comments += 1
            case "":
                return self._dispatch()
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "retry":
                self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        event = Event(self._name, "\n".join(self._data)) if self._data else None
        self._name, self._data = "", []
        return event
