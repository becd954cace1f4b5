"""Who a token belongs to, and what its owner may read: TokenReview and SubjectAccessReview."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from provider.errors import ApiUnavailable

from .transport import Client, Request, Transport

if TYPE_CHECKING:
    from provider.metrics import Metrics

    from .access import Access

_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
# Somebody waits for the answer, who does better to come again than to wait longer.
_TIMEOUT = timedelta(seconds=3)


class Identity(msgspec.Struct, frozen=True):
    """Whom the API server takes somebody for: `userInfo` of authentication.k8s.io/v1.

    It has no member at all beside a token that is not accepted.
    """

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: Identity | None = None


class _AccessStatus(msgspec.Struct):
    allowed: bool = False


_Status = TypeVar("_Status", _TokenStatus, _AccessStatus)


class _Review(msgspec.Struct, Generic[_Status]):
    status: _Status


_token_review = msgspec.json.Decoder(_Review[_TokenStatus])
_access_review = msgspec.json.Decoder(_Review[_AccessStatus])


class Reviews(Client):
    """Asks the API server; an async context manager with connections of its own.

    Every call raises KubeError, and gives up after 3 s.
    """

    def __init__(self, access: Access, metrics: Metrics) -> None:
        super().__init__(Transport(access, _TIMEOUT, metrics))

    async def authenticate(self, token: str) -> Identity | None:
        """Whose token it is; None when the API server does not accept it."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        request = Request("review", "tokenreviews", _TOKENS, body=body)
        status = await self._status(request, _token_review)
        return status.user if status.authenticated else None

    async def may(self, identity: Identity, verb: str, path: str) -> bool:
        """Whether it may do this to `path`, which is no resource of the API server's."""
        spec: dict[str, Any] = {
            "user": identity.username,
            "uid": identity.uid,
            "groups": identity.groups,
            "extra": identity.extra,
            "nonResourceAttributes": {"verb": verb, "path": path},
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }
        request = Request("review", "subjectaccessreviews", _ACCESS, body=body)
        return (await self._status(request, _access_review)).allowed

    async def _status(
        self, request: Request, decoder: msgspec.json.Decoder[_Review[_Status]]
    ) -> _Status:
        raw = await self._transport.send(request)
        try:
            return decoder.decode(raw).status
        except msgspec.MsgspecError as error:
            raise ApiUnavailable(f"{request}: the answer is no review: {error}.") from error
