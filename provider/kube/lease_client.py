"""The one Lease that the replicas share: read, written and watched on connections of its own."""

from __future__ import annotations

import platform
import secrets
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from provider.errors import ApiUnavailable
from provider.reasons import Reason

from .codec import Undecodable, decode_event
from .lines import split_lines
from .transport import Client, Request, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from provider.metrics import Metrics

    from .access import Access

NAMESPACE = "kube-system"
"""Where the Lease is whatever the namespace of the pods: two installations share it."""
RELEASED: Mapping[str, Any] = {"holderIdentity": "", "leaseDurationSeconds": 1}
"""What a holder leaves behind, as client-go does; the API server takes no shorter duration."""
NAME = "ovirt-cloud-controller-manager"
"""What the Lease is called, and the source of the Events on it."""

_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
_KINDS = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
# client-go gives the elector's requests half the renew deadline of 10 s, so that one that hangs
# leaves time for another.
_TIMEOUT = timedelta(seconds=5)
# A watch ends by itself after so long, as all watches do, so that API servers can be balanced.
_LIFETIME = 300


class Lease(Struct, frozen=True):
    """The Lease as it was read; what others have put into it stays in it when it is written."""

    raw: dict[str, Any]

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        return str(self.raw["metadata"]["resourceVersion"])

    @property
    def spec(self) -> dict[str, Any]:
        """Its `spec`."""
        return self.raw.get("spec") or {}

    @property
    def holder(self) -> str:
        """The identity of whoever holds it; "" when nobody does."""
        return self.spec.get("holderIdentity") or ""

    @property
    def is_released(self) -> bool:
        """Whether its holder has given it up."""
        return RELEASED.items() <= self.spec.items()


class LeaseClient(Client):
    """Reads and writes the Lease; an async context manager that opens and closes the session.

    Every call raises KubeError, and gives up after 5 s. The connections are not those of the
    other calls: a renewal never waits behind them, and no fence keeps it back.
    """

    def __init__(self, access: Access, metrics: Metrics) -> None:
        super().__init__(Transport(access, _TIMEOUT, metrics))

    async def read(self) -> Lease:
        """The Lease, read through to etcd; NotFound when there is none."""
        return await self._lease(Request("get", "leases", f"{_LEASES}/{NAME}"))

    async def create(self, spec: dict[str, Any]) -> Lease:
        """The new Lease; Conflict when there is one."""
        body = _KINDS | {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec}
        return await self._lease(Request("create", "leases", _LEASES, body=body))

    async def replace(self, lease: Lease, spec: dict[str, Any]) -> Lease:
        """`lease` with this spec; Conflict when it has changed, NotFound when it is gone."""
        body = lease.raw | _KINDS | {"spec": lease.spec | spec}
        return await self._lease(Request("update", "leases", f"{_LEASES}/{NAME}", body=body))

    async def watch(self, lease: Lease, idle: timedelta) -> AsyncGenerator[Lease, None]:
        """What becomes of `lease`, until it is deleted or the API server ends the watch.

        TimeoutError after `idle` without a change.
        """
        params = {
            "watch": "true",
            "fieldSelector": f"metadata.name={NAME}",
            "resourceVersion": lease.version,
            "timeoutSeconds": str(_LIFETIME),
        }
        request = Request("watch", "leases", _LEASES, params)
        async with (
            self._transport.stream(request, idle) as content,
            aclosing(split_lines(content.iter_any())) as lines,
        ):
            async for line in lines:
                changed = _changed(request, line)
                if changed is None:
                    return
                yield changed

    async def say(self, lease: Lease, message: str) -> None:
        """Create an Event on `lease`."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{NAME}.{secrets.token_hex(8)}", "namespace": NAMESPACE},
            "involvedObject": _KINDS
            | {"namespace": NAMESPACE, "name": NAME, "uid": lease.raw["metadata"]["uid"]},
            "type": "Normal",
            "reason": Reason.LEADER_ELECTION,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": NAME},
            "reportingComponent": NAME,
            "reportingInstance": platform.node(),
        }
        await self._transport.send(Request("create", "events", _EVENTS, body=event))

    async def _lease(self, request: Request) -> Lease:
        return _decode(request, await self._transport.send(request))


def stamp(moment: datetime) -> str:
    """MicroTime: RFC 3339 in UTC with six digits, without which the API server answers 422."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Metadata(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - its name on the wire
    uid: str


class _Spec(msgspec.Struct):
    holderIdentity: str | None = None  # noqa: N815
    leaseDurationSeconds: int | None = None  # noqa: N815
    leaseTransitions: int | None = None  # noqa: N815


class _Shape(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None


_shape = msgspec.json.Decoder(_Shape)


def _decode(request: Request, raw: bytes) -> Lease:
    """The Lease with all that is in it, once what is read of it is known to be there."""
    try:
        _shape.decode(raw)
    except msgspec.MsgspecError as error:
        raise ApiUnavailable(f"{request}: the answer is no Lease: {error}.") from error
    return Lease(msgspec.json.decode(raw))


def _changed(request: Request, line: bytes) -> Lease | None:
    """The Lease in an event of the watch; None when it was deleted."""
    try:
        event = decode_event(line)
    except Undecodable as error:
        raise ApiUnavailable(f"{request}: {error}.") from error
    match event.type:
        case "ADDED" | "MODIFIED":
            return _decode(request, event.raw)
        case "DELETED":
            return None
    raise ApiUnavailable(f"{request}: {bytes(event.raw[:200])!r}")
