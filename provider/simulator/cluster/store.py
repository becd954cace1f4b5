"""Objects by name, one counter of revisions, and a window of history to watch from."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .resources import STORAGES
from .status import expired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .resources import Object

Key = tuple[str, str]
"""Namespace ("" for none) and name."""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True)
class Change:
    """One write; `object` is the new state, for DELETED the last one with the new revision."""

    type: ChangeType
    revision: int
    object: Object
    previous: Object | None


class Subscription:
    """Changes after a revision as they come; ends with None when the store closes it."""

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self._changes: deque[Change | None] = deque()
        self._arrived = asyncio.Event()

    def put(self, change: Change | None) -> None:
        """Append a change that is new enough; None ends the subscription."""
        if change is not None and change.revision <= self._revision:
            return
        self._changes.append(change)
        self._arrived.set()

    async def get(self) -> Change | None:
        """The next change, or None at the end; a cancelled call loses nothing."""
        while not self._changes:
            self._arrived.clear()
            await self._arrived.wait()
        return self._changes.popleft()


class Collection:
    """All objects of one kind. Stored objects are never changed, only replaced."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._objects: dict[Key, Object] = {}
        self._history: deque[Change] = deque()
        self._subscriptions: set[Subscription] = set()
        self.horizon = 0
        """The oldest revision that can still be watched or listed from."""

    def get(self, key: Key) -> Object | None:
        """The object of that key, or None."""
        return self._objects.get(key)

    def entries(self) -> list[tuple[Key, Object]]:
        """All objects in the order of their keys, as etcd returns them."""
        return sorted(self._objects.items(), key=lambda item: item[0])

    def entries_at(self, revision: int) -> list[tuple[Key, Object]]:
        """The objects as they were; 410 when the window does not reach that far."""
        self._require(revision)
        objects = dict(self._objects)
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            if change.previous is None:
                del objects[key_of(change.object)]
            else:
                objects[key_of(change.object)] = change.previous
        return sorted(objects.items(), key=lambda item: item[0])

    def record(self, change: Change) -> None:
        """Store the change and hand it to every subscription."""
        key = key_of(change.object)
        if change.type == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = change.object
        self._history.append(change)
        while len(self._history) > self._window:
            self.horizon = self._history.popleft().revision
        for subscription in self._subscriptions:
            subscription.put(change)

    def subscribe(self, revision: int) -> Subscription:
        """The changes after `revision`, those of the past first; 410 when forgotten."""
        self._require(revision)
        subscription = Subscription(revision)
        for change in self._history:
            subscription.put(change)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget the subscription; again is harmless."""
        self._subscriptions.discard(subscription)

    def forget(self, revision: int) -> None:
        """Drop the history up to `revision`, as a compaction does."""
        self._history.clear()
        self.horizon = revision

    def close(self) -> None:
        """End every subscription."""
        for subscription in self._subscriptions:
            subscription.put(None)

    def _require(self, revision: int) -> None:
        if revision < self.horizon:
            message = f"too old resource version: {revision} ({self.horizon})"
            raise expired(message)


class Store:
    """One collection a kind, and the revision that all writes share, as in etcd."""

    def __init__(self, window: int) -> None:
        self.revision = 1
        self._collections = {storage: Collection(window) for storage in STORAGES}

    def __getitem__(self, storage: str) -> Collection:
        return self._collections[storage]

    def __iter__(self) -> Iterator[Collection]:
        return iter(self._collections.values())

    def put(self, storage: str, new: Object) -> Object:
        """The object as stored, with a new revision; nothing is checked here."""
        previous = self[storage].get(key_of(new))
        return self._record(storage, "MODIFIED" if previous else "ADDED", new, previous)

    def remove(self, storage: str, key: Key) -> Object:
        """The last state of the object, now gone; KeyError when there is none."""
        previous = self[storage].get(key)
        if previous is None:
            raise KeyError(key)
        return self._record(storage, "DELETED", previous, previous)

    def forget_history(self) -> None:
        """Every watch or page from before now answers 410."""
        for collection in self:
            collection.forget(self.revision)

    def close(self) -> None:
        """End every subscription."""
        for collection in self:
            collection.close()

    def _record(
        self, storage: str, kind: ChangeType, new: Object, previous: Object | None
    ) -> Object:
        self.revision += 1
        metadata = new["metadata"] | {"resourceVersion": str(self.revision)}
        stored = new | {"metadata": metadata}
        self[storage].record(Change(kind, self.revision, stored, previous))
        return stored


def key_of(stored: Object) -> Key:
    """Namespace and name of an object."""
    metadata = stored["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
