"""The engine's event log: numbered, newest first, with the codes and texts of a real engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.simulator.clock import Clock

SEVERITY_AND_TEXT: dict[int, tuple[str, str]] = {
    1: ("normal", "Starting oVirt Engine."),
    2: ("normal", "Stopping oVirt Engine."),
    12: ("error", "Host {host} is non responsive."),
    14: ("normal", "Host {host} was recovered."),
    30: ("normal", "User {user} connecting from '127.0.0.1' using session 'simulated' logged in."),
    31: ("normal", "User {user} connected from '127.0.0.1' using session 'simulated' logged out."),
    33: ("normal", "VM {vm} powered off by {user} (Host: {host})."),
    34: ("normal", "VM {vm} creation was initiated by {user}."),
    35: ("normal", "VM {vm} configuration was updated by {user}."),
    53: ("normal", "VM {vm} creation has been completed."),
    61: ("normal", "VM {vm} is down. {reason}"),
    62: (
        "normal",
        "Migration started (VM: {vm}, Source: {host}, Destination: {target}, User: {user}).",
    ),
    63: ("normal", "Migration completed (VM: {vm}, Source: {source}, Destination: {host})."),
    73: ("normal", "VM shutdown initiated by {user} on VM {vm} (Host: {host})."),
    113: ("normal", "VM {vm} was successfully removed by {user}."),
    119: ("error", "VM {vm} is down with error. Exit message: {reason}."),
    126: ("warning", "VM {vm} is not responding."),
    138: ("error", "VM {vm} has been paused due to unknown storage error."),
    142: ("warning", "VM {vm} was set to the Unknown status."),
    153: ("normal", "VM {vm} was started by {user} (Host: {host})."),
    32: ("normal", "VM {vm} started on Host {host}"),
    157: ("normal", "User {user} initiated reboot of VM {vm}."),
    163: ("normal", "VM {vm} status was restored to Up."),
    430: ("normal", "Tag {tag} configuration was updated by {user}."),
    432: ("normal", "New Tag {tag} was created by {user}."),
    434: ("normal", "Tag {tag} was removed by {user}."),
    440: ("normal", "Tag {tag} was attached to VM(s) {vm} by {user}."),
    446: ("normal", "Tag {tag} was detached from VM(s) {vm} by {user}."),
    501: ("normal", "Suspending VM {vm} was initiated by {user} (Host: {host})."),
    503: ("normal", "VM {vm} on Host {host} is suspended."),
    555: ("normal", "Tag {tag} was moved from {source} to {target} by {user}."),
}


@dataclass(slots=True)
class Event:
    """One entry; `refs` holds name and id of the objects that the engine names in it."""

    id: int
    code: int
    severity: str
    time: int
    description: str
    correlation_id: str
    refs: dict[str, tuple[str, str]] = field(default_factory=dict)


class EventLog:
    """All events since the simulation began. Ids rise by one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[Event] = []
        self._next = 1

    def write(
        self,
        code: int,
        refs: dict[str, tuple[str, str]] | None = None,
        *,
        correlation_id: str = "",
        **words: str,
    ) -> Event:
        """A new event of this code; its text takes names from `refs` and then from `words`."""
        severity, text = SEVERITY_AND_TEXT.get(code, ("normal", f"Event {code}."))
        names = {kind: name for kind, (name, _) in (refs or {}).items()}
        description = text.format_map(_Words({**names, **words})).rstrip()
        event = Event(
            self._next, code, severity, self._clock.epoch_ms(), description, correlation_id,
            dict(refs or {}),
        )  # fmt: skip
        self._next += 1
        self._events.append(event)
        return event

    def newest_first(self) -> Iterator[Event]:
        """Every event, id descending."""
        return reversed(self._events)

    def find(self, event_id: str) -> Event | None:
        """The event of this id."""
        return next((e for e in self._events if str(e.id) == event_id), None)

    def rewind(self, last_id: int) -> None:
        """Go back to what a restored database holds: later ids are given again."""
        self._events = [e for e in self._events if e.id <= last_id]
        self._next = last_id + 1


class _Words(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return {"user": "SYSTEM"}.get(key, "<UNKNOWN>")
