"""The log-in to one engine, and its manners.

A refused password takes the engine 5 s, and five of them lock the account for an hour, which may
be the account of other programs. So a refused secret is tried again once after ten minutes and
then hourly, a changed one at once, and whatever may have been a refusal is not repeated quickly.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.errors import EngineError, EngineUnavailable, LoginRefused
from provider.ovirt.faults import fresh_token_refused, login_fault
from provider.ovirt.transport import NoAnswer
from provider.reload import Reload

if TYPE_CHECKING:
    from provider.config import Engine
    from provider.ovirt.faults import Reply
    from provider.ovirt.transport import Transport

SCOPE = "ovirt-app-api"
_FIRST_RETRY = 600.0  # seconds until a refused secret is tried for the second time
_LATER_RETRY = 3600.0  # and from then on: as long as an account stays locked
# A log-in without an answer may have been a refusal that nobody waited for.
_UNANSWERED_PAUSE = 30.0
_UNANSWERED_PAUSE_MAX = 600.0
# An engine whose database came back refuses its own tokens for up to five minutes.
_ILL_PAUSE = 60.0
# A refusal takes 5 s: a shorter time-out would make a wrong password look like an outage.
_LOGIN_TIMEOUT_MIN = 15.0
_LOGOUT_TIMEOUT = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class Token:
    """What a log-in gave; `is_proven` once the engine has accepted it."""

    value: str = field(repr=False)
    is_proven: bool = False


class _Granted(msgspec.Struct):
    access_token: str


@dataclass(slots=True)
class _Barrier:
    """Until when (loop time) no log-in is sent, why, and for which secret; "" is any."""

    until: float
    error: EngineError
    secret: str = field(repr=False)
    times: int


class Session:
    """At most one log-in at a time; `logins` counts those that the engine granted."""

    def __init__(self, engine: Engine, transport: Transport, timeout: float) -> None:
        self._engine = engine
        self._transport = transport
        self._timeout = max(timeout, _LOGIN_TIMEOUT_MIN)
        self._token: Token | None = None
        self._lock = asyncio.Lock()
        self._barrier: _Barrier | None = None
        self._granted: str | None = None  # the secret of the last log-in that was granted
        self.reload = Reload("password_file", engine.name)
        self.logins = 0
        self.may_retry_refused = True
        """Whether a refused secret is tried again: of several replicas by one alone."""

    def remember(self, before: Session) -> None:
        """Know what `before`, a session of the same user, knew of secrets: which are refused."""
        self._barrier = before._barrier
        self._granted = before._granted

    def has_new_secret(self) -> bool:
        """Whether the password file holds another secret than the one that was refused last."""
        try:
            secret = self._read()
        except LoginRefused:
            return False
        return self._barrier is None or secret != self._barrier.secret

    async def token(self) -> Token:
        """A token that was not refused yet; logs in when there is none."""
        async with self._lock:
            if self._token is None:
                self._token = await self._log_in()
            return self._token

    async def renew(self, refused: Token) -> Token:
        """A token instead of `refused`, which the engine no longer knows."""
        if self._token is refused:
            self._token = None
        return await self.token()

    def distrust(self, token: Token, reply: Reply) -> EngineError:
        """The error of a fresh token that was refused; no log-in follows for a while."""
        error = fresh_token_refused(self._engine.name, reply)
        if self._token is token:
            self._token = None
            self._barrier = _Barrier(self._now() + _ILL_PAUSE, error, "", 1)
        return error

    async def close(self) -> None:
        """Logs out; a session that stays would occupy the engine for half an hour."""
        if self._token is None:
            return
        form = {"scope": SCOPE, "token": self._token.value}
        self._token = None
        try:
            await self._transport.post(
                "logout", "/services/sso-logout", form, timeout=_LOGOUT_TIMEOUT
            )
        except EngineError as error:
            log.debug("log-out failed", engine=self._engine.name, error=error.message)

    async def _log_in(self) -> Token:
        secret = self._secret()
        barrier = self._barrier
        if barrier and barrier.secret in ("", secret) and self._is_up(barrier):
            raise barrier.error
        try:
            token = await self._ask(secret)
        except LoginRefused as error:
            times = barrier.times + 1 if barrier and barrier.secret == secret else 1
            pause = _FIRST_RETRY if times == 1 else _LATER_RETRY
            self._barrier = _Barrier(self._now() + pause, error, secret, times)
            raise
        except NoAnswer as error:
            self._barrier = self._after_silence(error, secret)
            raise
        self._barrier = None
        self._granted = secret
        self.logins += 1
        return token

    def _is_up(self, barrier: _Barrier) -> bool:
        """Whether nothing may be sent yet; a refused secret is for the leader to try again."""
        is_refused = isinstance(barrier.error, LoginRefused)
        return self._now() < barrier.until or (is_refused and not self.may_retry_refused)

    def _after_silence(self, error: NoAnswer, secret: str) -> _Barrier:
        """The barrier after a log-in without an answer; a known refusal stays one."""
        known = self._barrier if self._barrier and self._barrier.secret == secret else None
        if known and isinstance(known.error, LoginRefused):
            return _Barrier(self._now() + _LATER_RETRY, known.error, secret, known.times)
        times = known.times + 1 if known else 1
        pause = min(_UNANSWERED_PAUSE * 2 ** (times - 1), _UNANSWERED_PAUSE_MAX)
        return _Barrier(self._now() + pause, error, secret, times)

    async def _ask(self, secret: str) -> Token:
        form = {
            "grant_type": "password",
            "scope": SCOPE,
            "username": self._engine.username,
            "password": secret,
        }
        reply = await self._transport.post(
            "login", "/sso/oauth/token", form, timeout=self._timeout
        )
        if reply.status != 200:
            raise login_fault(self._engine.name, self._engine.username, reply)
        try:
            return Token(msgspec.json.decode(reply.body, type=_Granted).access_token)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EngineUnavailable(
                self._engine.name, "answers a log-in with something that holds no token."
            ) from error

    def _secret(self) -> str:
        """The secret in the file; while the file cannot be used, the one that served before."""
        try:
            secret = self._read()
        except LoginRefused as error:
            if self._granted is None:
                raise
            self.reload.kept(error.message)
            return self._granted
        self.reload.unchanged()
        return secret

    def _read(self) -> str:
        path = self._engine.password_file
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            # Never the decoder's words: they show bytes of the password.
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise LoginRefused(
                self._engine.name,
                f"no log-in is possible: password_file {path} cannot be read: {why}.",
                remedy="Mount or create the file, readable for this program.",
            ) from None
        secret = text.removesuffix("\n").removesuffix("\r")
        if not secret:
            raise LoginRefused(
                self._engine.name,
                f"no log-in is possible: password_file {path} is empty.",
                remedy="Write the password into it.",
            )
        return secret

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
