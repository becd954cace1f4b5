"""What an answer of an engine that is not 200 means, and what to do about it. Pure.

An engine that restarts, or whose database is away, answers nearly any status for nearly anything:
404 for VMs that exist, 400 for correct requests, 401 for tokens that it has just given. Only what
cannot come from an ill engine is taken as a statement about the account or the request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from provider.errors import EngineError, EngineUnavailable, LoginRefused, PermissionMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

EXCERPT = 200  # characters of an error page that may be shown: enough for its first sentence

ROLE_REMEDY = (
    "Give the account the role ReadOnlyAdmin on the system"
    " (Administration > Configure > System Permissions)."
)
_LOGIN_REMEDY = (
    "Check username (user@profile) and the content of password_file. Do not try often:"
    " five wrong passwords lock the account for an hour."
)
_LOCKED_REMEDY = (
    "Unlock or enable the account at the engine (ovirt-aaa-jdbc-tool user unlock <user>),"
    " or wait an hour."
)
_DOWN_REMEDY = (
    "It is asked again by itself. If that lasts, look at the service ovirt-engine on its machine."
)
# The title of a page says no more than its text.
_MARKUP = re.compile(r"<(script|style|title)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
# What the engine did when it failed, which hides why: its SQL, its servlets and stack.
_INNARDS = re.compile(r" ?\[select .*?\](?=;)| Context Path:.*", re.DOTALL)


class InternalFault(EngineUnavailable):
    """The engine answered 500: it failed on this very request, or is ill altogether."""


class Reply(Struct, frozen=True):
    """A whole answer; the keys of `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Inner(msgspec.Struct):
    detail: str = ""


class _Fault(msgspec.Struct):
    detail: str = ""
    reason: str = ""
    fault: _Inner | None = None


class _LoginFault(msgspec.Struct):
    error_code: str = ""
    error: str = ""


def is_proof_of_absence(reply: Reply) -> bool:
    """Whether the engine says that the object does not exist.

    Only its REST layer answers 404 with no body and a correlation id; every other 404 comes from
    a server that is stopping or from another server (seen on engine 4.5.8).
    """
    return (
        reply.status == 404
        and not reply.body
        and reply.headers.get("Content-Length") == "0"
        and "Correlation-Id" in reply.headers
    )


def excerpt(body: bytes) -> str:
    """The first words of a fault or an error page, without markup; at most 200 characters."""
    try:
        fault = msgspec.json.decode(body, type=_Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        text = _MARKUP.sub(" ", body[:20_000].decode("utf-8", errors="replace"))
    else:
        text = fault.detail or (fault.fault.detail if fault.fault else "") or fault.reason
    return _INNARDS.sub("", " ".join(text.split()))[:EXCERPT].rstrip(" .")


def request_fault(engine: str, reply: Reply, path: str) -> EngineError:
    """What the engine's answer to a read of `path` means."""
    text = excerpt(reply.body)
    said = f"answers {reply.status} to {path}" + (f": {text}." if text else ".")
    match reply.status:
        case 400 if "insufficient permissions" in text.lower():
            return PermissionMissing(
                engine, "the account may not see all VMs of the engine.", remedy=ROLE_REMEDY
            )
        case 403:
            return PermissionMissing(engine, said, remedy=ROLE_REMEDY)
        case 500:
            return InternalFault(engine, said)
        case 301 | 302 | 303 | 307 | 308:
            return EngineUnavailable(
                engine,
                f"answers {reply.status} to {path}, a redirect.",
                remedy="Is url the address of an oVirt engine?",
            )
        case 404:
            return EngineUnavailable(
                engine, said, remedy="The engine is stopping, or url is not that of an engine."
            )
        case 502 | 503 | 504:  # the page of a proxy or of an engine without its application
            return EngineUnavailable(
                engine,
                f"answers {reply.status} to {path}: it is down, starting or stopping.",
                remedy=_DOWN_REMEDY,
            )
        case _:
            return EngineUnavailable(engine, said)


def fresh_token_refused(engine: str, reply: Reply) -> EngineError:
    """What a 401 for a token that the engine has just given means: the engine is ill."""
    return EngineUnavailable(
        engine, f"refuses a token that it has just given: {excerpt(reply.body) or 'no reason'}."
    )


def login_fault(engine: str, username: str, reply: Reply) -> EngineError:
    """What the answer of the token endpoint means; every refusal of it is a 400."""
    try:
        fault = msgspec.json.decode(reply.body, type=_LoginFault)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return request_fault(engine, reply, "the log-in")
    text = " ".join(fault.error.split())[:EXCERPT].rstrip(".")
    if reply.status == 400 and fault.error_code == "access_denied":
        is_locked = "locked" in text or "disabled" in text
        return LoginRefused(
            engine,
            f"refuses the log-in of {username}: {text}.",
            remedy=_LOCKED_REMEDY if is_locked else _LOGIN_REMEDY,
        )
    why = f"{fault.error_code or reply.status} {text}".rstrip()
    return EngineUnavailable(engine, f"cannot log anybody in now: {why}.")
