"""Answers of the real API server to the writes of one user, as a test wants them."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING, Self

import trustme
from aiohttp import web

if TYPE_CHECKING:
    from tests.kube.admin import Admin
    from tests.kube.admin import Object as Json

_ADMISSION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


class Refusals:
    """An admission webhook by which every change of a Node by `user` is answered with `status`.

    While `is_on`; else all is admitted. There from `async with` to its end.
    """

    def __init__(self, admin: Admin, user: str, status: Json) -> None:
        self.is_on = False
        self._admin = admin
        self._name = f"{user}.example.com"
        self._user = user
        self._status = status
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        application = web.Application()
        application.router.add_post("/", self._review)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
        await self._admin.call("POST", _ADMISSION, self._configuration(port, bundle))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._admin.call("DELETE", f"{_ADMISSION}/{self._name}")
        await self._runner.cleanup()

    def _configuration(self, port: int, bundle: str) -> Json:
        rule = {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["UPDATE"],
            "resources": ["nodes", "nodes/status"],
        }
        is_theirs = f"request.userInfo.username == '{self._user}'"
        webhook = {
            "name": self._name,
            "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
            "rules": [rule],
            "matchConditions": [{"name": "user", "expression": is_theirs}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
        }
        return {"metadata": {"name": self._name}, "webhooks": [webhook]}

    async def _review(self, request: web.Request) -> web.Response:
        review = await request.json()
        answer: Json = {"uid": review["request"]["uid"], "allowed": not self.is_on}
        if self.is_on:
            answer["status"] = self._status
        return web.json_response({**review, "response": answer})
