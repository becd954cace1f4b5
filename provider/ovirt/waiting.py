"""Which single VMs are read between listings, and when. Pure: time is passed in.

Four kinds wait: those to which something has just happened, before all others; those that somebody
wants (a node that waits for its instance), those in a state that passes, and running ones whose
guest has not reported an address. The last two are given up after a while: a guest without an
agent never reports, and the next listing sees them anyway.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from provider.model import InstanceStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.model import Instance, Snapshot

WANT_LASTS = 60.0  # seconds; whoever still waits says so again
_PATIENCE = 600.0  # seconds that a VM is read for its own sake

_PASSING = frozenset(
    {
        InstanceStatus.IMAGE_LOCKED,
        InstanceStatus.MIGRATING,
        InstanceStatus.POWERING_DOWN,
        InstanceStatus.POWERING_UP,
        InstanceStatus.REBOOT_IN_PROGRESS,
        InstanceStatus.RESTORING_STATE,
        InstanceStatus.SAVING_STATE,
        InstanceStatus.WAIT_FOR_LAUNCH,
    }
)


class Waiting:
    """The VMs that wait; each is due `interval` seconds after it was read last."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._wanted: dict[str, float] = {}  # until when
        self._own: dict[str, tuple[InstanceStatus | None, float]] = {}  # in what state since when
        self._unread: set[str] = set()  # not found when it was read; a listing will tell
        self._read: dict[str, float] = {}
        self._woken: dict[str, float] = {}  # since when
        self._again: dict[str, float] = {}  # when

    @property
    def woken(self) -> int:
        """How many were woken and not read since."""
        return len(self._woken)

    def wake(self, ids: Iterable[str], now: float) -> None:
        """Something has happened to these: they are due at once, and once more after `interval`.

        The second reading is for an event that is told before the change that it tells of.
        """
        for instance_id in ids:
            self._woken.setdefault(instance_id, now)

    def want(self, ids: Iterable[str], now: float) -> None:
        """Somebody waits for these; it is forgotten after a minute."""
        for instance_id in ids:
            self._wanted[instance_id] = now + WANT_LASTS

    def forget(self, instance_id: str) -> None:
        """Nobody need wait for it: it does not exist."""
        self._wanted.pop(instance_id, None)
        self._again.pop(instance_id, None)

    def observe(self, snapshot: Snapshot, changed: Iterable[str], now: float) -> None:
        """Takes from a listing which VMs wait by themselves; all count as read just now.

        But for those that were woken after it began. `changed` has the ids of all that differ
        from what was known before.
        """
        found = {
            i: vm.status
            for i in self._unread.union(self._own, changed)
            if (vm := snapshot.instances.get(i)) and _waits_by_itself(vm)
        }
        self._unread.clear()
        self._own = {
            i: known if (known := self._own.get(i)) and known[0] is status else (status, now)
            for i, status in found.items()
        }
        self._wanted = {i: until for i, until in self._wanted.items() if until > now}
        self._read = dict.fromkeys((*self._own, *self._wanted), now)
        self._woken = {i: since for i, since in self._woken.items() if since > snapshot.started}
        self._again.clear()

    def was_read(self, instance_id: str, instance: Instance | None, now: float) -> None:
        """It was read, and was found to be `instance`; None when it is no instance now."""
        self._read[instance_id] = now
        self._again.pop(instance_id, None)
        if self._woken.pop(instance_id, None) is not None:
            self._again[instance_id] = now + self._interval
        if instance is None:
            self._unread.add(instance_id)
        if instance is None or not _waits_by_itself(instance):
            self._own.pop(instance_id, None)
        elif self._own.get(instance_id, (None, 0.0))[0] is not instance.status:
            self._own[instance_id] = (instance.status, now)

    def next(self, now: float) -> tuple[str, float] | None:
        """The VM that is to be read first and when it is due; None when none waits."""
        due = [
            (self._read.get(i, -self._interval) + self._interval, True, i)
            for i in self._waiting(now)
        ]
        due += [(when, False, i) for i, when in chain(self._woken.items(), self._again.items())]
        if not due:
            return None
        # Of those that are due by now whoever was woken comes first.
        when, _, instance_id = min(due, key=lambda one: (max(one[0], now), one[1], one[0], one[2]))
        return instance_id, when

    def _waiting(self, now: float) -> set[str]:
        own = {i for i, (_, since) in self._own.items() if now - since < _PATIENCE}
        return own | {i for i, until in self._wanted.items() if until > now}


def _waits_by_itself(instance: Instance) -> bool:
    if instance.status is InstanceStatus.UP:
        return not any(a for i in instance.interfaces for a in i.addresses if not a.is_link_local)
    return instance.status in _PASSING
