"""A running controller as commands ask it: `--server`, who asks, and what comes back."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import aiohttp

from provider.commands import options
from provider.commands.server_errors import (
    HOW_TO_GET_ONE,
    ServerError,
    token_unusable,
    unreachable,
    unwelcome,
)
from provider.errors import ProviderError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    Params = Mapping[str, str] | Sequence[tuple[str, str]]

_SECONDS = 15.0
"""Until an answer must be there whole."""
# A stream says something at least every half minute, if only that nothing has happened.
_SILENCE = 90.0
_STREAM = "text/event-stream"
_LINE = 1 << 20  # bytes; an event is one line
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Server:
    """Where a controller is asked, who asks, and how its certificate is checked.

    `token` is that of who asks, instead of one that has to be read.
    """

    url: str
    kubeconfig: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    name: str | None = None
    is_verified: bool = True
    token: str = field(default="", repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether it is asked by TLS: without, no token is sent."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    id: str
    event: str
    data: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--server` and what belongs to it."""
    group = parser.add_argument_group(
        "asking a running controller",
        "Its certificate is checked, and the token of the kubeconfig's user says who asks, unless"
        " one is given. That user needs the ClusterRole of manifests/lookup-reader.yaml.",
    )
    group.add_argument(
        "--server", metavar="URL", help="ask this controller, such as https://HOST:10258"
    )
    group.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the bearer token of who asks"
    )
    group.add_argument(
        "--server-ca", type=Path, metavar="FILE", help="CA certificates that it is checked with"
    )
    group.add_argument(
        "--server-name", metavar="NAME", help="name in its certificate when the URL has another"
    )
    group.add_argument(
        "--insecure-skip-tls-verify",
        action="store_true",
        help="do not check its certificate; needs --token-file: whoever is on the way sees it",
    )


def of(arguments: argparse.Namespace) -> Server | None:
    """The controller that is to be asked; None without `--server`; UsageError for nonsense."""
    if arguments.server is None:
        _refuse_without_server(arguments)
        return None
    server = Server(
        url=_url(arguments.server),
        kubeconfig=arguments.kubeconfig,
        token_file=arguments.token_file,
        ca_file=arguments.server_ca,
        name=arguments.server_name,
        is_verified=not arguments.insecure_skip_tls_verify,
    )
    if not server.is_secure and urlsplit(server.url).hostname not in _LOOPBACK:
        message = f"--server {server.url}: without TLS only this machine itself may be asked."
        raise options.UsageError(message, remedy="Use https://.")
    if server.is_secure and not server.is_verified and server.token_file is None:
        message = "--insecure-skip-tls-verify would show your own token to anybody on the way."
        remedy = f"Give one with few rights: --token-file FILE. {HOW_TO_GET_ONE}"
        raise options.UsageError(message, remedy=remedy)
    return server


def _refuse_without_server(arguments: argparse.Namespace) -> None:
    for name in ("token_file", "server_ca", "server_name", "insecure_skip_tls_verify"):
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise options.UsageError(f"{option} is for a controller that is asked: give --server.")


def _url(text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    if not _is_usable(url):
        message = f"--server {text} is no URL of a controller."
        raise options.UsageError(message, remedy="It is one such as https://HOST:10258.")
    return urlsplit(url).geturl().rstrip("/")  # the scheme in lower case


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or parts.username)
    return has_place and is_plain and parts.scheme in ("http", "https")


class ServerClient:
    """An open session with a controller; an async context manager. ServerError when it fails."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": "ovirt-ccm", **await _authorization(self._server)},
            connector=aiohttp.TCPConnector(ssl=_tls(self._server)),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_LINE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, path: str, params: Params = ()) -> bytes:
        """The body of the answer to GET `path`, which is a 200."""
        try:
            async with asyncio.timeout(_SECONDS), self._open(path, params, {}) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unreachable(self._server, error) from error
        if response.status != 200:
            raise unwelcome(self._server, response.status, response.headers, body)
        return body

    async def events(self, path: str, params: Params, last: str) -> AsyncIterator[ServerEvent]:
        """The events of the stream at `path` after that with the id `last`, until it ends."""
        headers = {"Accept": _STREAM} | ({"Last-Event-ID": last} if last else {})
        try:
            async with self._open(path, params, headers) as response:
                if response.status != 200 or response.content_type != _STREAM:
                    body = await response.read()
                    raise unwelcome(self._server, response.status, response.headers, body)
                async for event in _events(response.content, last):
                    yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unreachable(self._server, error) from error

    def _open(
        self, path: str, params: Params, headers: dict[str, str]
    ) -> aiohttp.client._RequestContextManager:
        return self._session.get(
            self._server.url + path,
            params=params,
            headers=headers,
            server_hostname=self._server.name if self._server.is_secure else None,
            timeout=aiohttp.ClientTimeout(sock_connect=_SECONDS, sock_read=_SILENCE),
            allow_redirects=False,
        )


async def _events(lines: aiohttp.StreamReader, last: str) -> AsyncIterator[ServerEvent]:
    """The events of a text/event-stream (HTML Living Standard, 9.2.6)."""
    fields: dict[str, list[str]] = {}
    async for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        last = fields["id"][-1] if "id" in fields else last
        if "data" in fields:
            event = fields.get("event", ["message"])[-1]
            yield ServerEvent(last, event, "\n".join(fields["data"]))
        fields = {}


async def _authorization(server: Server) -> dict[str, str]:
    if server.token:
        return {"Authorization": f"Bearer {server.token}"}
    if not server.is_secure:
        return {}
    if server.token_file:
        return {"Authorization": f"Bearer {_token(server.token_file)}"}
    # The library behind it is slow to import, and not needed with a token file.
    from provider.kube.access import load_access

    try:
        access = await load_access(server.kubeconfig)
        headers = await access.headers()
    except ProviderError as error:
        raise ServerError(f"no token: {error.message}", remedy=HOW_TO_GET_ONE) from error
    if not headers:
        raise token_unusable(f"the user of the kubeconfig {server.kubeconfig}")
    return headers


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ServerError(f"the token file {file}: {why}.", remedy=HOW_TO_GET_ONE) from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ServerError(f"the token file {file} holds no token.", remedy=HOW_TO_GET_ONE)
    return token


def _tls(server: Server) -> ssl.SSLContext | bool:
    if not server.is_secure:
        return False
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
    except (OSError, ssl.SSLError) as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ServerError(f"--server-ca {server.ca_file}: {why}.") from error
    if not server.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
