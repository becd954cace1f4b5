"""Who may read what: bearer tokens, asked of the API server and remembered for seconds.

It fails closed: what the API server does not allow, now or some seconds ago, is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from provider.errors import KubeError
from provider.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.kube.reviews import Identity, Reviews
    from provider.metrics import Metrics

    _Ask = Callable[[], Awaitable[Identity | None]]

_log = structlog.get_logger(__name__)

READER = "ovirt-lookup-reader"
"""The ClusterRole that allows all that is served: the remedy of a refusal."""

_VERB = "get"  # also of HEAD: all that is served is read
_ALLOWED_SECONDS, _DENIED_SECONDS = 10.0, 5.0
_REMEMBERED = 4096  # answers of each kind, of some 500 bytes
# What a flood of random tokens may be to the API server, and what may wait here for its answers.
_AT_A_TIME, _WAITING = 4, 64
_PATIENCE = 5.0  # seconds


# Whose token this is, "", or whether its owner may read this path. Of the token there is the
# SHA-256: it is kept nowhere itself.
_Question = tuple[bytes, str]


class _Answer(NamedTuple):
    """Who is allowed; None when the API server does not."""

    until: float
    user: Identity | None


class Guard:
    """Admits requests; `close` when no more come.

    Whoever was let in before has a lane of its own to the API server, which a flood of random
    tokens does not fill.
    """

    def __init__(self, reviews: Reviews, metrics: Metrics) -> None:
        self._reviews = reviews
        self._metrics = metrics
        self._allowed: dict[_Question, _Answer] = {}
        self._denied: dict[_Question, _Answer] = {}
        self._guests, self._strangers = _Lane(), _Lane()
        self._failure = ""

    async def admit(self, authorization: str | None, path: str) -> str:
        """The name of the user, who may `get` the path; for "" it is enough to be one.

        `authorization` is the header. Problem: 401 without an accepted token, 403 without the
        right, 503 when the API server could not be asked.
        """
        token = _token(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        clock = asyncio.get_running_loop().time
        now = clock()
        allowed = self._allowed.get((digest, path))
        if allowed and allowed.user and now < allowed.until:
            return allowed.user.username
        known = self._known((digest, ""), now)
        if known is None:
            known = await self._answer((digest, ""), partial(self._reviews.authenticate, token))
            now = clock()
        if known.user is None:
            raise _unauthenticated("The API server does not accept this token.", "invalid_token")
        name = known.user.username
        if path:
            known = self._known((digest, path), now) or await self._answer(
                (digest, path), partial(self._permit, known.user, path)
            )
            if known.user is None:
                raise _forbidden(name, path)
        return name

    async def close(self) -> None:
        """Ask nothing more."""
        asking = [*self._guests.asking.values(), *self._strangers.asking.values()]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _permit(self, user: Identity, path: str) -> Identity | None:
        return user if await self._reviews.may(user, _VERB, path) else None

    def _known(self, question: _Question, now: float) -> _Answer | None:
        """The answer that still counts, if there is one."""
        answer = self._allowed.get(question) or self._denied.get(question)
        return answer if answer and now < answer.until else None

    async def _answer(self, question: _Question, ask: _Ask) -> _Answer:
        is_guest = (question[0], "") in self._allowed  # though it may count no more
        lane = self._guests if is_guest else self._strangers
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(self._asked_once(lane, question, ask))
        except (KubeError, TimeoutError):
            raise _unavailable() from None

    def _asked_once(self, lane: _Lane, question: _Question, ask: _Ask) -> asyncio.Task[_Answer]:
        """The task that asks, which all who want to know the same have in common."""
        if question not in lane.asking:
            if len(lane.asking) >= _WAITING:
                raise _busy()
            task = asyncio.create_task(self._ask(lane, question, ask))
            lane.asking[question] = task
            task.add_done_callback(partial(lane.done, question))
        return lane.asking[question]

    async def _ask(self, lane: _Lane, question: _Question, ask: _Ask) -> _Answer:
        async with lane.slots:
            try:
                user = await ask()
            except KubeError as error:
                self._count(question, "error")
                self._failed(error)
                raise
            self._count(question, "allowed" if user else "denied")
            self._works()
            # From now on and not from when it was asked for: the API server, too, remembers a
            # token for 10 s, and asked right before their end it would know a deleted one.
            return self._keep(question, user, asyncio.get_running_loop().time())

    def _keep(self, question: _Question, user: Identity | None, now: float) -> _Answer:
        """The answer, which counts from now on; of too many the oldest are dropped."""
        self._allowed.pop(question, None)
        self._denied.pop(question, None)
        some, seconds = (
            (self._allowed, _ALLOWED_SECONDS) if user else (self._denied, _DENIED_SECONDS)
        )
        until = now + seconds
        digest, path = question
        if path:  # no longer than the token itself: that this is allowed says all
            whose = self._allowed.get((digest, ""))
            until = min(until, whose.until if whose else now)
        some[question] = answer = _Answer(until, user)
        if len(some) > _REMEMBERED:
            del some[next(iter(some))]
        return answer

    def _count(self, question: _Question, result: str) -> None:
        self._metrics.reviews.labels("access" if question[1] else "token", result).inc()

    def _failed(self, error: KubeError) -> None:
        if not self._failure:
            _log.warning("nobody can be admitted", error=str(error))
        self._failure = str(error)

    def _works(self) -> None:
        if self._failure:
            _log.info("requests can be admitted again")
        self._failure = ""


class _Lane:
    """Questions that wait for one another and for nobody else."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(_AT_A_TIME)
        self.asking: dict[_Question, asyncio.Task[_Answer]] = {}

    def done(self, question: _Question, task: asyncio.Task[_Answer]) -> None:
        """The question has been asked."""
        del self.asking[question]
        if not task.cancelled():
            task.exception()  # all who waited may be gone


def _token(authorization: str | None) -> str:
    """The bearer token (RFC 6750, 2.1); Problem 401 when there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise _unauthenticated("Send a token of the cluster: `Authorization: Bearer TOKEN`.")
    return token


def _unauthenticated(detail: str, error: str = "") -> Problem:
    challenge = 'Bearer realm="ovirt-ccm"' + (f', error="{error}"' if error else "")
    headers = {"WWW-Authenticate": challenge}
    return Problem(401, "unauthenticated", "Unauthenticated", detail, headers=headers)


def _forbidden(user: str, path: str) -> Problem:
    detail = (
        f"{user} may not {_VERB} {path}. Bind it to the ClusterRole {READER}, or to another whose"
        " nonResourceURLs have the path."
    )
    return Problem(403, "forbidden", "Forbidden", detail, user=user, verb=_VERB, path=path)


def _unavailable() -> Problem:
    detail = "The API server cannot be asked now who may read this."
    return Problem(503, "review-unavailable", "Review unavailable", detail, retry_after=5)


def _busy() -> Problem:
    detail = "Too many tokens wait for their review."
    return Problem(503, "review-unavailable", "Review unavailable", detail, retry_after=1)
