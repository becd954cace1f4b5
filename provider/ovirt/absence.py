"""Since how many complete listings of an engine a VM is missing. Pure: nothing is asked here.

Kept by every replica and by none beyond its end: a restart forgets and waits again, which is the
safe side.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.model import Snapshot

# More than anybody can be made to wait for (`deletion.confirmations`).
_REMEMBERED = 32


class AbsenceLog:
    """The starts of the last listings, and in which of them each VM was seen last.

    A listing that starts less than `spacing` seconds after the last that counts, as events may
    ask for, counts with that one: it proves presence, and no absence anew.
    """

    def __init__(self, spacing: float) -> None:
        self._spacing = spacing
        self._engine_id = ""
        self._count = 0
        self._starts: deque[float] = deque(maxlen=_REMEMBERED)
        self._last_seen: dict[str, int] = {}

    def observe(self, snapshot: Snapshot) -> None:
        """Take in a new complete listing; what was known of another engine is forgotten."""
        if snapshot.engine_id != self._engine_id:
            self._engine_id = snapshot.engine_id
            self.forget()
        if not self._starts or snapshot.started - self._starts[-1] >= self._spacing:
            self._count += 1
            self._starts.append(snapshot.started)
        seen = self._last_seen
        for instance_id in (*snapshot.instances, *snapshot.unreadable):
            seen[instance_id] = self._count
        oldest = self._count - len(self._starts)
        self._last_seen = {i: last for i, last in seen.items() if last > oldest}

    def forget(self) -> None:
        """Begin anew: the engine is no longer what it was."""
        self._starts.clear()
        self._last_seen.clear()

    def seen(self, instance_id: str) -> None:
        """The engine has said that this VM exists, after the newest listing."""
        self._last_seen[instance_id] = self._count

    def count(self, instance_id: str, engine_id: str, since: float) -> int:
        """How many listings in a row, up to the newest, lack the VM and started after `since`.

        0 for a VM of another engine than the one that was listed.
        """
        if engine_id != self._engine_id:
            return 0
        last = self._last_seen.get(instance_id, 0)
        lacking = min(self._count - last, len(self._starts))
        newest_first = list(reversed(self._starts))[:lacking]
        return sum(started > since for started in newest_first)
