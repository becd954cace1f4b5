"""What an answer of the API server means: its HTTP status and Status object as our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from provider.errors import (
    ApiUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    OutcomeUnknown,
    TooManyRequests,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXCERPT = 200
# client-go waits a second when a 429 names no time (rest/with_retry.go).
_DEFAULT_RETRY_AFTER = 1.0
# An absurd Retry-After must not park a node for a day.
_MAX_RETRY_AFTER = 300.0


class Cause(msgspec.Struct):
    """One entry of `details.causes` of a Status."""

    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct):
    name: str = ""
    causes: list[Cause] | None = None


class Status(msgspec.Struct):
    """A Status object of meta/v1: how the API server says that something failed."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None

    @property
    def causes(self) -> list[Cause]:
        """The single faults, when the API server lists them."""
        return (self.details and self.details.causes) or []


_decoder = msgspec.json.Decoder(Status)


def decode_status(raw: bytes) -> Status | None:
    """The Status in `raw`; None when it is something else, such as a proxy's page."""
    try:
        status = _decoder.decode(raw)
    except msgspec.MsgspecError:
        return None
    return status if status.kind == "Status" else None


class Reply(Struct, frozen=True):
    """An answer that has arrived as a whole; `what` names the request: `patch nodes/n1`."""

    what: str
    is_write: bool
    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON; whatever is not did not come from the API server."""
        return self.headers.get("Content-Type", "").startswith("application/json")


def error_of(reply: Reply) -> KubeError | None:
    """What went wrong by the answer; None when nothing did.

    Only a Status object proves anything about an object: a page with status 404 is a proxy's.
    """
    if 200 <= reply.code < 300:
        return None if reply.is_json else _no_answer(reply, _excerpt(reply))
    status = decode_status(reply.body)
    message = f"{reply.what}: {status.message if status else _excerpt(reply)}"
    wait = _retry_after(reply)
    if reply.code == 429 or (reply.code >= 500 and wait is not None and not reply.is_write):
        return TooManyRequests(message, retry_after=wait or _DEFAULT_RETRY_AFTER)
    if reply.code in (401, 403):
        return Forbidden(message, remedy=_REMEDIES[reply.code])
    if status is None or reply.code not in _ERRORS or _is_no_path(status):
        return _no_answer(reply, message.removeprefix(f"{reply.what}: "))
    if _is_stale(status):
        return Conflict(message)
    return _ERRORS[reply.code](message)


_ERRORS: dict[int, type[KubeError]] = {
    400: Invalid,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}
_REMEDIES = {
    401: "Check that the token or certificate is of this cluster and has not expired.",
    403: "Check the ClusterRole and its binding.",
}


def _is_no_path(status: Status) -> bool:
    """Whether a 404 is about the path, which says nothing about an object."""
    return status.code == 404 and not (status.details and status.details.name)


def _is_stale(status: Status) -> bool:
    """Whether a 422 says that the object is no longer what it was.

    So does a JSON patch of which a `test` failed, which names no field, and a merge-patch whose
    uid is another's (seen on 1.37).
    """
    if status.code != 422:
        return False
    fields = [cause.field for cause in status.causes if cause.field]
    return not fields or fields == ["metadata.uid"]


def _no_answer(reply: Reply, why: str) -> KubeError:
    message = f"{reply.what}: HTTP {reply.code}: {why}"
    return OutcomeUnknown(message) if reply.is_write else ApiUnavailable(message)


def _retry_after(reply: Reply) -> float | None:
    """Seconds of `Retry-After`; None when there is none. The API server never sends a date."""
    text = reply.headers.get("Retry-After", "")
    return min(float(text), _MAX_RETRY_AFTER) if text.isdecimal() else None


def _excerpt(reply: Reply) -> str:
    text = " ".join(reply.body[: 4 * _EXCERPT].decode(errors="replace").split())[:_EXCERPT]
    return f"not an answer of the API server: {text!r}"
