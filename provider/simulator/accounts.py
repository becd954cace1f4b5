"""Single sign-on: passwords, tokens, the lock after wrong passwords, sessions that end."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provider.simulator.replies import EXPIRED, LOST_SQL, STALE_SESSION, Fault, unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.simulator.faults import Faults
    from provider.simulator.objects import User
    from provider.simulator.world import World

API_SCOPE = "ovirt-app-api"
_GRANTED = (
    "ovirt-app-api ovirt-ext=token-info:authz-search ovirt-ext=token-info:public-authz-search "
    "ovirt-ext=token-info:validate ovirt-ext=token:password-access"
)
_ACCOUNT_DAYS = 7


class SsoRefusal(Exception):
    """An error of the token endpoint: always 400 and JSON."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.document = {"error_code": code, "error": text}


@dataclass(slots=True)
class Session:
    """A log-in. A stale one began while the engine held dead database connections."""

    user: User
    scope: str
    last_used: float
    is_stale: bool


class Accounts:
    """Who is logged in, and who may not be."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world, self._faults = world, faults
        self.sessions: dict[str, Session] = {}
        self._wrong: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    async def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """A new token; SsoRefusal as the engine words it, 5 s later for a wrong password."""
        if self._faults.database == "away":
            raise SsoRefusal("server_error", f"PreparedStatementCallback; {LOST_SQL}")
        if form.get("grant_type") != "password":
            raise SsoRefusal(
                "unsupported_grant_type",
                "The authorization grant type is not supported by the authorization server.",
            )
        for name in ("username", "password"):
            if not form.get(name):
                raise SsoRefusal("invalid_request", f"Missing parameter: '{name}'")
        user = await self.authenticate(form["username"], form["password"])
        return self._issue(user, form.get("scope", ""))

    def _issue(self, user: User, scope: str) -> dict[str, Any]:
        granted = _GRANTED if scope == API_SCOPE else scope
        token = secrets.token_urlsafe(64)
        self.sessions[token] = Session(
            user, granted, self._world.clock.elapsed(), self._faults.database == "stale"
        )
        self._world.write_event(30, {}, user)
        exp = self._world.clock.epoch_ms() + _ACCOUNT_DAYS * 86_400_000
        return {
            "access_token": token,
            "scope": granted,
            "exp": str(exp // 1000 * 1000),
            "token_type": "bearer",
        }

    async def authenticate(self, name: str, password: str) -> User:
        """The user of this name and password; SsoRefusal otherwise."""
        if "@" not in name or not name.rpartition("@")[2]:
            raise _denied(f"{name}@N/A", "No valid profile found in credentials.")
        user = next((u for u in self._world.users if u.name == name), None)
        now = self._world.clock.elapsed()
        if self._locked_until.get(name, 0.0) > now:
            await asyncio.sleep(self._faults.refusal_seconds)
            raise _denied(
                name,
                "Unable to log in because the user account is disabled or locked. "
                "Contact the system administrator.",
            )
        if user is None or not secrets.compare_digest(
            user.password.encode(), password.encode("utf-8", "surrogateescape")
        ):
            await self._count_wrong(name, now)
            raise _denied(
                name,
                "Unable to log in. Verify your login information or contact the system "
                "administrator.",
            )
        self._wrong.pop(name, None)
        return user

    async def _count_wrong(self, name: str, now: float) -> None:
        self._wrong[name] = self._wrong.get(name, 0) + 1
        if self._wrong[name] >= self._faults.lock_after:
            self._locked_until[name] = now + self._faults.lock_seconds
            del self._wrong[name]
        await asyncio.sleep(self._faults.refusal_seconds)

    def session(self, token: str) -> Session:
        """The live session of a token, used now; 401 otherwise, or what a lost database gives."""
        session = self.sessions.get(token)
        now = self._world.clock.elapsed()
        if self._faults.refuse_tokens or session is None:
            raise unauthorized(EXPIRED)
        if now - session.last_used > self._faults.session_idle:
            del self.sessions[token]
            raise unauthorized(EXPIRED)
        if API_SCOPE not in session.scope.split():
            raise unauthorized("The required scope ovirt-app-api is not granted.")
        session.last_used = now
        self._check_database(session)
        return session

    def _check_database(self, session: Session) -> None:
        match self._faults.database:
            case "stale" if session.is_stale:
                raise unauthorized(STALE_SESSION)
            case "away" | "stale":
                raise Fault(400, LOST_SQL)
            case "up":
                session.is_stale = False

    def log_out(self, token: str) -> None:
        """End a session; an unknown token is no error."""
        if session := self.sessions.pop(token, None):
            self._world.write_event(31, {}, session.user)

    def forget_everybody(self) -> None:
        """Tokens live in memory: a restart ends every session."""
        self.sessions.clear()


def _denied(name: str, reason: str) -> SsoRefusal:
    return SsoRefusal("access_denied", f"Cannot authenticate user '{name}': {reason}.")
