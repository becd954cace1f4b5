"""What the engine answers: documents, faults, empty 404s and HTML pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.simulator.encoding import Document
    from provider.simulator.objects import User

HTML = "text/html;charset=UTF-8"
BAD_SYNTAX = "Request syntactically incorrect."
NOT_AUTHORIZED = "[User is not authorized to perform this action.]"
NO_PERMISSION = "query execution failed due to insufficient permissions."
EXPIRED = "invalid_grant: The provided authorization grant for the auth code has expired."
LOST_SQL = (
    "statementcallback; sql [select * from ((select  vms.* from  vms  )  order by vm name asc ) "
    "as t1 offset (1 -1) limit 1]; this connection has been closed.; nested exception is "
    "org.postgresql.util.psqlexception: this connection has been closed."
)
STALE_SESSION = (
    "org.springframework.dao.DataAccessResourceFailureException: PreparedStatementCallback; SQL "
    "[select * from  getvdcoptionbyname(?, ?)]; This connection has been closed.; nested "
    "exception is org.postgresql.util.PSQLException: This connection has been closed."
)
WEB_SERVER_503 = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>
<title>503 Service Unavailable</title>
</head><body>
<h1>Service Unavailable</h1>
<p>The server is temporarily unable to service your
request due to maintenance downtime or capacity
problems. Please try again later.</p>
</body></html>
"""


@dataclass
class Reply:
    """An answer with a document: `name` is its XML element."""

    name: str
    document: Document
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that ends the request."""


class Fault(Refusal):
    """A fault of the API, in the format of the request."""

    def __init__(self, status: int, detail: str, reason: str = "Operation Failed") -> None:
        super().__init__(detail)
        self.status, self.detail, self.reason = status, detail, reason

    def reply(self) -> Reply:
        """The fault as a document."""
        return Reply("fault", {"detail": self.detail, "reason": self.reason}, self.status)


class ActionFault(Fault):
    """A command that failed: the fault is wrapped in the action."""

    def reply(self) -> Reply:
        """The failed action as a document."""
        fault = {"detail": self.detail, "reason": self.reason}
        return Reply("action", {"fault": fault, "status": "failed"}, self.status)


class Missing(Refusal):
    """404 of the API itself: an empty body, and a correlation id."""


class Empty(Refusal):
    """Another answer without a body: 406, 415."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Page(Refusal):
    """An HTML page. Only pages that the API itself makes carry a correlation id."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        content_type: str = HTML,
        is_correlated: bool = False,
        is_chunked: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status, self.text, self.content_type = status, text, content_type
        self.is_correlated, self.is_chunked = is_correlated, is_chunked
        self.headers = headers or {}


def authorize(user: User, fault: type[Fault] = Fault) -> None:
    """Refuse a command of a user who may only read."""
    if not user.may_write:
        raise fault(403, NOT_AUTHORIZED)


def error_page(text: str) -> str:
    """The short error page of the application server."""
    return f"<html><head><title>Error</title></head><body>{text}</body></html>"


def unauthorized(text: str) -> Page:
    """401, in HTML, whatever the request accepts."""
    return Page(401, error_page(text))


def unknown_path(url: str) -> Page:
    """404 for a path that the API does not have: HTML, but with a correlation id."""
    text = f"RESTEASY003210: Could not find resource for full path: {url}"
    return Page(404, text, is_correlated=True)


def crash(text: str) -> Page:
    """500 of the container: a page with a stack trace."""
    trace = f"java.lang.IllegalStateException: {text}\n\tat org.ovirt.engine.Simulated.java:1"
    head = "<html><head><title>ERROR</title></head>"
    return Page(500, f"{head}<body><pre>{trace}</pre></body></html>")
