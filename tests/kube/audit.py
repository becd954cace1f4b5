"""What the API server's audit log says about requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  verbs: [get, list, watch]
  resources:
  - {group: "", resources: [nodes]}
  - {group: coordination.k8s.io, resources: [leases]}
- level: None
"""
"""Every write, and the reads of nodes and leases; no bodies.

A watch is there twice: its start, its end.
"""

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request that the API server has answered."""

    verb: str
    """get, list, watch, create, update, patch, delete or deletecollection."""
    resource: str
    subresource: str
    name: str
    """Empty for a list, and for a create whose name is in the body only."""
    user: str
    user_agent: str
    code: int
    """HTTP status; 0 for one that ended without an answer."""
    uri: str
    stage: str
    received: datetime
    """When the API server had the request."""
    answered: datetime
    """When it had written the answer, as far as `stage` says."""

    @property
    def is_write(self) -> bool:
        """True for a request that asked for a change, whatever came of it."""
        return self.verb in _WRITES

    @property
    def is_success(self) -> bool:
        """True for a 2xx answer."""
        return 200 <= self.code < 300


def read(path: Path, start: int = 0) -> Iterator[AuditEntry]:
    """The entries that begin at this byte of the log or later, oldest first.

    A line that is not finished yet is left out. So is the rest of one that was not when `start`
    was taken: the API server writes a line in pieces.
    """
    with path.open("rb") as log:
        if start:
            log.seek(start - 1)
            log.readline()
        for line in log:
            if line.endswith(b"\n"):
                yield _entry(json.loads(line))


def _entry(event: dict[str, Any]) -> AuditEntry:
    target = event.get("objectRef", {})
    return AuditEntry(
        verb=event["verb"],
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        name=target.get("name", ""),
        user=event["user"].get("username", ""),
        user_agent=event.get("userAgent", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        uri=event["requestURI"],
        stage=event["stage"],
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        answered=datetime.fromisoformat(event["stageTimestamp"]),
    )
