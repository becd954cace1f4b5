"""Reads from one engine over HTTP: log-in, headers, replay after a lost session, errors."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from provider.errors import EngineError
from provider.ovirt.faults import Reply, is_proof_of_absence, request_fault
from provider.ovirt.pace import Pace
from provider.ovirt.session import Session
from provider.ovirt.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from provider.config import Engine, Limits
    from provider.metrics import Metrics
    from provider.ovirt.session import Token
    from provider.reload import Reload

log = structlog.get_logger()


class EngineClient:
    """The connection to one engine; an async context manager that logs out at its end.

    `pace` is that of all work on its answers.
    """

    def __init__(self, engine: Engine, limits: Limits, metrics: Metrics) -> None:
        self.engine = engine
        self.limits = limits
        self.pace = Pace()
        self._transport = Transport(engine, limits.engine_requests, metrics)
        self._read_timeout = limits.engine_read_timeout.total_seconds()
        self._session = Session(engine, self._transport, self._read_timeout)
        self._agent = f"ovirt-ccm/{version('cloud-provider-ovirt')}"
        self._run = uuid.uuid4().hex[:8]
        self._count = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._transport)
        self._stack.push_async_callback(self._session.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def may_retry_refused(self) -> bool:
        """Whether a password that the engine has refused is tried again, in good time."""
        return self._session.may_retry_refused

    @may_retry_refused.setter
    def may_retry_refused(self, is_allowed: bool) -> None:
        self._session.may_retry_refused = is_allowed

    @property
    def logins(self) -> int:
        """How many log-ins the engine has granted: after each, everything may be another."""
        return self._session.logins

    @property
    def reloads(self) -> tuple[Reload, ...]:
        """The files that are read again."""
        return self._transport.trust.reload, self._session.reload

    def remember(self, before: EngineClient) -> None:
        """Hold back the secret that the engine has refused to `before`, an earlier client."""
        is_same_account = (before.engine.url, before.engine.username) == (
            self.engine.url,
            self.engine.username,
        )
        if is_same_account:
            self._session.remember(before._session)

    def has_new_secret(self) -> bool:
        """Whether the password file holds another secret than the one that was refused last."""
        return self._session.has_new_secret()

    async def access_token(self) -> str:
        """A token for the official SDK; logs in when there is none."""
        return (await self._session.token()).value

    async def get(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str],
        timeout: float | None = None,  # noqa: ASYNC109  seconds, see below
    ) -> Reply:
        """The engine's 200 to GET of `path` below `/api`; every other answer is an EngineError.

        `verb` names the request in metrics. `timeout` is in seconds, `engine_read_timeout` when
        not given. InternalFault when the engine answers 500.
        """
        reply = await self._ask(verb, path, params, timeout)
        if reply.status == 200:
            return reply
        raise self._fault(verb, path, reply)

    async def find(self, verb: str, path: str, params: Mapping[str, str]) -> Reply | None:
        """As `get`, for a single object: None when the engine proves that it does not exist.

        The id in `path` must be a well-formed UUID: a malformed one gets the same 404.
        """
        reply = await self._ask(verb, path, params, None)
        if reply.status == 200:
            return reply
        if is_proof_of_absence(reply):
            return None
        raise self._fault(verb, path, reply)

    async def _ask(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str],
        timeout: float | None,  # noqa: ASYNC109  passed on
    ) -> Reply:
        token = await self._session.token()
        reply = await self._send(verb, path, params, token, timeout)
        if reply.status == 401 and token.is_proven:
            token = await self._session.renew(token)
            reply = await self._send(verb, path, params, token, timeout)
        if reply.status == 401:
            raise self._session.distrust(token, reply)
        if "Correlation-Id" in reply.headers:  # from behind the engine's authentication
            token.is_proven = True
        return reply

    async def _send(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str],
        token: Token,
        timeout: float | None,  # noqa: ASYNC109  passed on
    ) -> Reply:
        headers = self._headers(token)
        try:
            return await self._transport.get(
                verb, f"/api{path}", params, headers, timeout or self._read_timeout
            )
        except EngineError as error:
            error.add_note(f"correlation id {headers['Correlation-Id']}")
            raise

    def _headers(self, token: Token) -> dict[str, str]:
        """Filter: false makes a demoted account an error instead of an empty list."""
        self._count += 1
        return {
            "Accept": "application/json",
            "Authorization": f"Bearer {token.value}",
            "Correlation-Id": f"ccm-{self._run}-{self._count}",
            "Filter": "false",
            "User-Agent": self._agent,
            "Version": "4",
        }

    def _fault(self, verb: str, path: str, reply: Reply) -> EngineError:
        error = request_fault(self.engine.name, reply, path)
        if correlation := reply.headers.get("Correlation-Id"):
            error.add_note(f"correlation id {correlation}")
        log.debug(
            "engine refuses",
            engine=self.engine.name,
            verb=verb,
            status=reply.status,
            correlation_id=correlation,
        )
        return error
