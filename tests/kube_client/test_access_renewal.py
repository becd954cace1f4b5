"""Certificates, CAs and kubeconfigs that are renewed while the program runs."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from provider.errors import ApiUnavailable
from provider.kube.access import load_access, service_account_access
from tests.kube_client.test_access import client, kubeconfig, pod, trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import EventDict

    from provider.kube.access import Access

pytestmark = pytest.mark.looptime

__all__ = ["pod"]  # the fixture

LOOK = 11  # seconds, after which the files have been looked at
KEPT = "a changed file cannot be used; what it held before stays"


class TlsServer:
    """Answers every request with the serial number of the client's certificate as its version."""

    def __init__(self, ca: trustme.CA, clients: trustme.CA | None = None) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.present(ca)
        if clients:
            clients.configure_trust(self.context)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.url = ""
        self.connections = 0

    def present(self, ca: trustme.CA) -> None:
        """Show a certificate of this CA from the next connection on."""
        ca.issue_cert("127.0.0.1").configure_cert(self.context)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = writer.get_extra_info("peercert") or {}
        body = json.dumps({"gitVersion": peer.get("serialNumber", "none")}).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head.format(len(body)).encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: TlsServer) -> AsyncIterator[TlsServer]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server.context)
    server.url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.sleep(0.01)  # the transports close in their own time


def issue(folder: Path, ca: trustme.CA) -> None:
    """A client certificate of `ca` where the kubeconfig looks for it."""
    cert = ca.issue_cert("client")
    cert.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    cert.private_key_pem.write_to_path(str(folder / "key.pem"))


async def made(folder: Path, url: str, ca: trustme.CA, **user: str) -> Access:
    path = kubeconfig(folder, url, **user)
    trust(path, ca)
    return await load_access(path)


CLIENT = {"client-certificate": "cert.pem", "client-key": "key.pem"}


async def test_a_new_ca_is_trusted_on_new_connections_and_the_old_one_no_longer(
    tmp_path: Path,
) -> None:
    old, new = trustme.CA(), trustme.CA()
    async with serving(TlsServer(old)) as server:
        access = await made(tmp_path, server.url, old)
        async with client(access) as api:
            await api.version()
            server.present(new)
            await api.version()  # on the connection that is open
            assert server.connections == 1

            new.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            await asyncio.sleep(LOOK)
            await api.version()
            assert server.connections == 2
        server.present(old)
        async with client(access) as api:
            with pytest.raises(ApiUnavailable, match="certificate"):
                await api.version()


@pytest.mark.parametrize("content", ["", "no certificate", None])
async def test_a_ca_file_that_cannot_be_used_changes_nothing(
    tmp_path: Path, content: str | None, logged: list[EventDict]
) -> None:
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    async with serving(TlsServer(ca)) as server:
        access = await made(tmp_path, server.url, ca)
        context = access.ssl
        file.unlink() if content is None else file.write_text(content)
        async with client(access) as api:
            await asyncio.sleep(200)
            await api.version()
            await asyncio.sleep(200)
            await api.version()
            assert access.ssl is context
            assert "cannot be used" in access.reloads[0].problem

            ca.cert_pem.write_to_path(str(file))
            await asyncio.sleep(61)
            await api.version()
    assert access.ssl is not context
    assert access.reloads[0].problem == ""
    assert [one["event"] for one in logged] == [KEPT, "a changed file is at work"]


async def test_a_client_certificate_is_renewed_in_place(tmp_path: Path) -> None:
    ca = trustme.CA()
    issue(tmp_path, ca)
    async with (
        serving(TlsServer(ca, ca)) as server,
        client(await made(tmp_path, server.url, ca, **CLIENT)) as api,
    ):
        first = await api.version()
        issue(tmp_path, ca)
        await asyncio.sleep(LOOK)
        second = await api.version()

    assert "none" not in (first, second)
    assert first != second


async def test_a_certificate_without_its_key_waits_for_it(tmp_path: Path) -> None:
    ca = trustme.CA()
    issue(tmp_path, ca)
    key = (tmp_path / "key.pem").read_text()
    async with serving(TlsServer(ca, ca)) as server:
        access = await made(tmp_path, server.url, ca, **CLIENT)
        async with client(access) as api:
            first = await api.version()
            issue(tmp_path, ca)
            renewed = (tmp_path / "key.pem").read_text()
            (tmp_path / "key.pem").write_text(key)
            await asyncio.sleep(LOOK)
            assert await api.version() == first
            assert "mismatch" in access.reloads[0].problem.lower()

            (tmp_path / "key.pem").write_text(renewed)
            await asyncio.sleep(LOOK)
            assert await api.version() != first
            assert access.reloads[0].problem == ""


async def test_another_kubeconfig_in_its_place_is_taken_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    path = kubeconfig(tmp_path, token="first")
    access = await load_access(path)

    path.write_text("not: [yaml")
    await asyncio.sleep(LOOK)
    assert await access.headers() == {"Authorization": "Bearer first"}
    kubeconfig(tmp_path, "https://127.0.0.1:2", token="second", **CLIENT)
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "Bearer first"}
    assert access.url == "http://127.0.0.1:1"

    issue(tmp_path, trustme.CA())
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "Bearer second"}
    assert access.url == "https://127.0.0.1:2"


async def test_the_ca_of_a_pod_is_read_again(pod: Path) -> None:
    access = await service_account_access(pod)
    assert isinstance(access.ssl, ssl.SSLContext)
    before = access.ssl.get_ca_certs()

    trustme.CA().cert_pem.write_to_path(str(pod / "ca.crt"))
    await asyncio.sleep(LOOK)
    await access.headers()

    assert isinstance(access.ssl, ssl.SSLContext)
    assert access.ssl.get_ca_certs() != before


async def test_an_api_server_without_tls_needs_no_certificates(tmp_path: Path) -> None:
    assert (await load_access(kubeconfig(tmp_path, token="t"))).ssl is False
