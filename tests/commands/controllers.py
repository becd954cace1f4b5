"""A controller over the wire that answers what a test says, and commands that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trustme
from aiohttp import web

from provider.cli import main
from tests.commands.conftest import Ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    import pytest


@dataclass
class Controller:
    """Answers by path: a document, a response, or a list of them for one request after another."""

    url: str
    folder: Path
    capture: pytest.CaptureFixture[str]
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[web.BaseRequest] = field(default_factory=list)

    @property
    def token_file(self) -> Path:
        file = self.folder / "token"
        file.write_text("s3cret\n", encoding="utf-8")
        return file

    @property
    def authorization(self) -> str | None:
        """Who asked last, as it was said."""
        return self.requests[-1].headers.get("Authorization")

    def refuse(self, path: str, status: int, **members: Any) -> None:
        """Answer with this problem document."""
        self.answers[path] = problem(status, **members)

    async def run(self, *arguments: str, url: str = "", has_token: bool = True) -> Ended:
        """The command, which trusts the controller and has a token, in a thread."""
        argv = [*arguments, "--server", url or self.url]
        if has_token and self.url.startswith("https"):
            argv += ["--server-ca", str(self.folder / "ca.pem")]
            argv += ["--token-file", str(self.token_file)]
        return await run(self.capture, *argv)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        path = request.rel_url.raw_path
        answer = self.answers.get(path, problem(404, title="Not Found"))
        if isinstance(answer, list):  # one after another, as it is asked
            asked = sum(one.rel_url.raw_path == path for one in self.requests)
            answer = answer[asked - 1]
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


def problem(status: int, **members: Any) -> web.Response:
    document = {"type": "/problems/some", "title": "Some", "status": status, **members}
    return web.Response(
        status=status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
    )


async def run(capture: pytest.CaptureFixture[str], *argv: str) -> Ended:
    """The command in this process, in a thread."""
    capture.readouterr()
    status = await asyncio.to_thread(main, argv)
    said = capture.readouterr()
    assert "Traceback" not in said.err
    return Ended(status, said.out, said.err)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    capture: pytest.CaptureFixture[str],
    *names: str,
    is_plain: bool = False,
    until: datetime | None = None,
) -> AsyncIterator[Controller]:
    """A controller with a certificate for these names until then, of the CA in `ca.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",)), not_after=until).configure_cert(context)
    controller = Controller("", folder, capture)
    runner = web.ServerRunner(web.Server(controller.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=None if is_plain else context)
    await site.start()
    controller.url = f"http{'' if is_plain else 's'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield controller
    finally:
        await runner.cleanup()
