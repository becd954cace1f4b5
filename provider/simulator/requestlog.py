"""What clients asked the simulated engine, for tests to look at."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass

_KEPT_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request that was answered; status 0 when the connection was dropped."""

    method: str
    path: str
    query: str
    correlation_id: str
    status: int


class RequestLog:
    """What clients asked: the last requests in order, and how many of each."""

    def __init__(self) -> None:
        self.seen: deque[SeenRequest] = deque(maxlen=_KEPT_REQUESTS)
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0

    def add(self, request: SeenRequest) -> None:
        """Note an answered request; `counts` has `GET /vms/{id}` as its keys."""
        self.seen.append(request)
        plain = re.sub(r"^/ovirt-engine(/api)?(/v4)?", "", request.path)
        plain = re.sub(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}", "{id}", plain)
        self.counts[f"{request.method} {plain or '/'}"] += 1

    def clear(self) -> None:
        """Forget everything seen so far."""
        self.seen.clear()
        self.counts.clear()
        self.most_in_flight = self.in_flight
