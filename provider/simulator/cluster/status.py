"""Errors of the simulated API server: each is a `Status` object of meta/v1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Cause:
    """One invalid field, as `Status.details.causes` lists it."""

    reason: str
    field: str
    message: str


class StatusError(Exception):
    """A refusal of the API server; `body` is what goes on the wire."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.metadata = dict(metadata or {})

    @property
    def body(self) -> dict[str, Any]:
        """The `Status` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


@dataclass(frozen=True)
class Subject:
    """What an error is about: `nodes "a"` of a group, kind `Node`."""

    plural: str
    kind: str
    group: str = ""
    name: str = ""
    uid: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def qualified(self) -> str:
        """`nodes`, or `leases.coordination.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def details(self) -> dict[str, Any]:
        """`Status.details` with the plural as kind, as the API server has it."""
        facts = {"name": self.name, "group": self.group, "kind": self.plural, "uid": self.uid}
        return {key: value for key, value in facts.items() if value} | dict(self.extra)


def not_found(subject: Subject) -> StatusError:
    """404: there is no such object."""
    return StatusError(
        404,
        "NotFound",
        f'{subject.qualified} "{subject.name}" not found',
        details=subject.details,
    )


def no_such_path() -> StatusError:
    """404: the server does not serve this path."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(subject: Subject) -> StatusError:
    """409: a create met an object of that name."""
    message = f'{subject.qualified} "{subject.name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=subject.details)


def conflict(
    subject: Subject,
    why: str = (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    ),
) -> StatusError:
    """409: the version or identity that the request names is not the stored one."""
    message = f'Operation cannot be fulfilled on {subject.qualified} "{subject.name}": {why}'
    return StatusError(409, "Conflict", message, details=subject.details)


def invalid(subject: Subject, causes: Iterable[Cause]) -> StatusError:
    """422: the object breaks a rule of its kind."""
    listed = tuple(causes)
    texts = [f"{cause.field}: {cause.message}" for cause in listed]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    names = {"name": subject.name, "group": subject.group, "kind": subject.kind}
    details: dict[str, Any] = {key: value for key, value in names.items() if value}
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field}
        for cause in listed
    ]
    kind = f"{subject.kind}.{subject.group}" if subject.group else subject.kind
    return StatusError(
        422, "Invalid", f'{kind} "{subject.name}" is invalid: {text}', details=details
    )


def inapplicable(why: str) -> StatusError:
    """422: a JSON patch that names what is not there; the server does not say which part."""
    message = f"the server rejected our request due to an error in our request ({why})"
    return StatusError(422, "Invalid", message)


def undecodable_patch(why: str) -> StatusError:
    """422: what a patch makes of the object does not fit its kind."""
    return invalid(Subject("", ""), [Cause("FieldValueInvalid", "patch", f"Invalid value: {why}")])


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no or a wrong bearer token."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> StatusError:
    """405: the resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message)


def not_acceptable() -> StatusError:
    """406: the client takes no format that is served."""
    return StatusError(406, "NotAcceptable", "406: Not Acceptable")


def expired(message: str, *, continue_token: str = "") -> StatusError:
    """410: the history that the request needs is forgotten."""
    metadata = {"continue": continue_token} if continue_token else {}
    return StatusError(410, "Expired", message, metadata=metadata)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body is of a kind that the server does not read."""
    names = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types: {names}"
    return StatusError(415, "UnsupportedMediaType", message)


def too_many_requests(retry_after: int) -> StatusError:
    """429: come back after `retry_after` seconds."""
    return StatusError(
        429,
        "TooManyRequests",
        "Too many requests, please try again later.",
        details={"retryAfterSeconds": retry_after},
    )


def timeout() -> StatusError:
    """504: the server gave up waiting; a write may have been stored."""
    message = (
        "Timeout: request did not complete within requested timeout - context deadline exceeded"
    )
    return StatusError(504, "Timeout", message)
