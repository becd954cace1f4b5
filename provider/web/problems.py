"""Errors as documents: application/problem+json of RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "application/problem+json"
_encode = msgspec.json.Encoder().encode


class Problem(Exception):
    """Raised by a handler: the request gets this as its answer.

    `kind` names what went wrong for programs and never changes, such as `absence-unknown`; it is
    the last part of the document's `type`. `title` says the same to people and is the same for
    all of a kind, `detail` is about this request and carries the remedy. `retry_after`, in whole
    seconds, becomes header and member; `age`, the seconds since the oldest listing began that this
    rests on, a header. `members` are further members of the document, such as
    `candidates`: whatever msgspec can encode.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str = "",
        *,
        retry_after: int | None = None,
        age: float | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
            self.members["retry_after"] = retry_after
        if age is not None:
            self.headers["Age"] = str(int(age))

    @property
    def type(self) -> str:
        """A reference relative to the server (RFC 9457, 3.1.1): `/problems/absence-unknown`."""
        return f"/problems/{self.kind}"

    def document(self) -> dict[str, Any]:
        """The members of the document; `detail` only where there is one."""
        detail = {"detail": self.detail} if self.detail else {}
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            **detail,
            **self.members,
        }


def respond(problem: Problem) -> web.Response:
    """The answer that `problem` stands for; nobody may keep it."""
    return web.Response(
        body=_encode(problem.document()),
        status=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        content_type=CONTENT_TYPE,
    )


def of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses, such as an unknown path or a method, as a Problem."""
    phrase = HTTPStatus(error.status).phrase
    kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    return Problem(error.status, phrase.lower().replace(" ", "-"), phrase, headers=kept)


def unforeseen() -> Problem:
    """A fault of the program's own; the log says which, the answer does not."""
    return Problem(
        500,
        "internal-error",
        "Internal error",
        "The request met a fault of the program; its log says more. Report it with that line.",
    )
