"""How many nodes may be deleted within an hour, and the record that outlives a process.

When more than the budget want to go at once, something is wrong that no single proof shows: the
budget latches, and nothing more is deleted until the instances return or an operator allows it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provider.model import Node
    from provider.scalars import Share

WINDOW = timedelta(hours=1)
_FORM = "%Y-%m-%dT%H:%M:%SZ"


class RecordUnreadable(ValueError):
    """The record is not what the program writes: nothing may be deleted on it."""


class Deletion(Struct, frozen=True):
    """One deletion, recorded before it is tried; `is_allowed` beside the budget by an operator."""

    node: str
    uid: str
    at: datetime
    is_allowed: bool = False


class Record(Struct, frozen=True):
    """The deletions of the last hour, since when the budget is latched, and what may go anyway.

    `allowed` are uids of nodes that an operator lets go, latched or not. `events` name the newest
    event that was read of each engine, by the engine's id: one that lacks it later was restored
    from a backup.
    """

    deletions: tuple[Deletion, ...] = ()
    latched: datetime | None = None
    allowed: frozenset[str] = frozenset()
    events: Mapping[str, str] = field(default_factory=dict)


class Budget(Struct, frozen=True):
    """How many deletions an hour has room for, and how many it had."""

    limit: int
    used: int
    is_latched: bool

    @property
    def has_room(self) -> bool:
        """Whether one more may be deleted."""
        return not self.is_latched and self.used < self.limit


def budget(record: Record, managed: int, share: Share, now: datetime) -> Budget:
    """The budget of the hour that ends `now`, of a cluster with `managed` nodes of ours.

    At least one. Nodes that were deleted within the hour still count as nodes, so that the limit
    does not shrink with each. A time to come counts too: it is of a clock that is ahead.
    """
    used = sum(not one.is_allowed for one in _recent(record.deletions, now))
    gone = len(tuple(_recent(record.deletions, now)))
    return Budget(max(1, share.of(managed + gone)), used, record.latched is not None)


def _recent(deletions: Iterable[Deletion], now: datetime) -> Iterable[Deletion]:
    return (one for one in deletions if one.at > now - WINDOW)


def claim(
    record: Record, node: Node, managed: int, share: Share, now: datetime
) -> tuple[Record, bool]:
    """The record after a node asks to be deleted, and whether it may be.

    One that may is in the record, once however often it is tried. One that exceeds the budget
    latches it.
    """
    record = replace(record, deletions=tuple(_recent(record.deletions, now)))
    is_allowed = node.uid in record.allowed
    others = tuple(one for one in record.deletions if one.uid != node.uid)
    room = budget(replace(record, deletions=others), managed, share, now)
    if not is_allowed and not room.has_room:
        return replace(record, latched=record.latched or now), False
    entry = Deletion(node.name, node.uid, now, is_allowed)
    return replace(record, deletions=(*others, entry)), True


def latch(record: Record, now: datetime) -> Record:
    """The record with the latch; what an operator allowed before is not any more."""
    return replace(record, latched=record.latched or now, allowed=frozenset())


def lift(record: Record, allowed: Iterable[str] = ()) -> Record:
    """The record without latch, in which nodes of these uids may go beside the budget.

    What was allowed before is not any more.
    """
    return replace(record, latched=None, allowed=frozenset(allowed))


def saw(record: Record, events: Mapping[str, str]) -> Record:
    """The record with these events; those of engines that are not among them stay."""
    return replace(record, events={**record.events, **events})


# ---- as text -----------------------------------------------------------------------------------


def parse_record(text: str) -> Record:
    """The record that `format_record` wrote; an empty one of "". RecordUnreadable else.

    One of an earlier version lacks events; what a later one adds is left out.
    """
    if not text:
        return Record()
    try:
        raw = json.loads(text)
        return Record(
            deletions=tuple(_deletion(one) for one in raw["deletions"]),
            latched=_moment(raw["latched"]) if raw["latched"] else None,
            allowed=frozenset(str(uid) for uid in raw["allowed"]),
            events={str(key): str(value) for key, value in raw.get("events", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordUnreadable(f"{type(error).__name__}: {error}") from error


def _deletion(raw: dict[str, Any]) -> Deletion:
    is_allowed = bool(raw.get("allowed", False))
    return Deletion(str(raw["node"]), str(raw["uid"]), _moment(raw["at"]), is_allowed)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)


def format_record(record: Record) -> str:
    """The record as a text that `parse_record` reads; times in whole seconds of UTC."""
    return json.dumps(
        {
            "deletions": [
                {"node": d.node, "uid": d.uid, "at": d.at.strftime(_FORM)}
                | ({"allowed": True} if d.is_allowed else {})
                for d in record.deletions
            ],
            "latched": record.latched.strftime(_FORM) if record.latched else None,
            "allowed": sorted(record.allowed),
            "events": dict(record.events),
        },
        separators=(",", ":"),
    )
