"""What clients ask about themselves: SelfSubjectReview and SelfSubjectAccessReview."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from .status import unsupported_media_type

if TYPE_CHECKING:
    from collections.abc import Collection

    from .resources import Object

USER = "simulated"
_REVIEWS = {
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": "SelfSubjectReview",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "SelfSubjectAccessReview",
}


async def review(request: web.Request, denied: Collection[str]) -> web.Response | None:
    """The answer to such a question; None when the request is none.

    `denied` has what is not allowed, as `VERB RESOURCE`: `patch nodes/status`.
    """
    kind = _REVIEWS.get(request.path)
    if kind is None or request.method != "POST":
        return None
    if request.content_type != "application/json":
        raise unsupported_media_type(("application/json",))  # kubectl asks in protobuf
    question: Object = json.loads(await request.read())
    if kind == "SelfSubjectReview":
        status: Object = {"userInfo": {"username": USER, "groups": ["system:authenticated"]}}
    else:
        attributes = question["spec"]["resourceAttributes"]
        parts = (attributes["resource"], attributes.get("subresource"))
        what = f"{attributes['verb']} {'/'.join(part for part in parts if part)}"
        status = {"allowed": what not in denied}
    return web.json_response(question | {"status": status}, status=201)
