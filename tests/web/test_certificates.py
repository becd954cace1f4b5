"""The certificate of the port: given, renewed, unusable, or made here."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from provider.config import Server
from provider.errors import ProviderError
from provider.metrics import Metrics
from provider.web.certificates import ServingCertificate, make_self_signed
from tests.web.served import ask, protection, server_of, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.looptime

LOOK = 11  # seconds, after which the files have been looked at


class Pair:
    """A certificate and its key, in two files."""

    def __init__(self, folder: Path) -> None:
        self.files = {"certificate_file": folder / "tls.crt", "key_file": folder / "tls.key"}
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(self.context)
        self.write(self.issue())

    def issue(self) -> trustme.LeafCert:
        return self.authority.issue_cert("127.0.0.1")

    def write(self, certificate: trustme.LeafCert, *, has_key: bool = True) -> None:
        (pem, *_), key = certificate.cert_chain_pems, certificate.private_key_pem
        self.files["certificate_file"].write_bytes(pem.bytes())
        if has_key:
            self.files["key_file"].write_bytes(key.bytes())


def der(leaf: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


class Port:
    """An open port and what it has counted and reported."""

    def __init__(self, number: int, certificate: ServingCertificate, metrics: Metrics) -> None:
        self.number = number
        self.certificate = certificate
        self._metrics = metrics

    @property
    def problem(self) -> str:
        return self.certificate.reload.problem

    @property
    def end(self) -> datetime:
        name = "ovirt_ccm_serving_certificate_expiry_timestamp_seconds"
        value = self._metrics.registry.get_sample_value(name)
        assert value
        return datetime.fromtimestamp(value, UTC)


@asynccontextmanager
async def port(folder: Path, **settings: Any) -> AsyncIterator[Port]:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        safe = await stack.enter_async_context(protection(folder, metrics, **settings))
        server = await stack.enter_async_context(server_of(metrics=metrics, protection=safe))
        yield Port(server.port, safe.certificate, metrics)


async def test_the_given_certificate_is_shown_and_its_end_measured(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    leaf = pair.issue()
    pair.write(leaf)
    async with port(tmp_path, **pair.files) as open_port:
        answer = await ask(open_port.number, pair.context)

        assert (answer.status, answer.certificate) == (200, der(leaf))
        end = x509.load_der_x509_certificate(answer.certificate).not_valid_after_utc
        assert open_port.end == end


async def test_a_renewed_certificate_is_shown_and_no_request_fails(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    statuses: list[int] = []
    async with port(tmp_path, **pair.files) as open_port, asyncio.TaskGroup() as load:

        async def ask_again_and_again() -> None:
            while True:
                statuses.append((await ask(open_port.number, pair.context)).status)
                await asyncio.sleep(0.5)

        asking = [load.create_task(ask_again_and_again()) for _ in range(3)]
        for _ in range(3):
            leaf = pair.issue()
            pair.write(leaf)
            await asyncio.sleep(LOOK)
            shown = (await ask(open_port.number, pair.context)).certificate
            assert shown == der(leaf)
        for task in asking:
            task.cancel()

    assert len(statuses) > 100
    assert set(statuses) == {200}
    assert open_port.problem == ""


async def test_a_connection_outlives_the_certificate_that_it_began_with(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with port(tmp_path, **pair.files) as open_port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", open_port.number, ssl=pair.context
        )
        pair.write(pair.issue())
        await asyncio.sleep(9)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok\n")
        await asyncio.sleep(LOOK)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

        assert await reader.readuntil(b"ok\n")
        writer.transport.abort()


async def test_a_pair_that_does_not_fit_is_kept_out_until_it_does(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    old, new = pair.issue(), pair.issue()
    pair.write(old)
    async with port(tmp_path, **pair.files) as open_port:
        pair.write(new, has_key=False)
        await asyncio.sleep(LOOK)
        assert "key values mismatch" in open_port.problem
        assert (await ask(open_port.number, pair.context)).certificate == der(old)

        pair.write(new)
        await asyncio.sleep(LOOK)

        assert open_port.problem == ""
        assert (await ask(open_port.number, pair.context)).certificate == der(new)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("", "there is no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nno\n", "there is no certificate in PEM"),
    ],
)
async def test_what_cannot_be_read_leaves_the_old_one_at_work(
    content: str | None, why: str, tmp_path: Path
) -> None:
    pair = Pair(tmp_path)
    async with port(tmp_path, **pair.files) as open_port:
        spoil(pair.files["certificate_file"], content)
        await asyncio.sleep(LOOK)

        assert (await ask(open_port.number, pair.context)).status == 200
        assert open_port.problem.startswith("the certificate ")
        assert why in open_port.problem


def spoil(file: Path, content: str | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content, "utf-8")


async def test_without_a_usable_pair_at_the_start_it_says_what_to_set(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.write(pair.issue(), has_key=False)

    with pytest.raises(ProviderError, match=r"mismatch.* Set server\.certificate_file"):
        ServingCertificate(server_settings(pair), Metrics()).open()


async def test_a_key_with_a_passphrase_is_an_error_and_no_question(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"geheim")
    )
    pair.files["key_file"].write_bytes(locked)

    with pytest.raises(ProviderError, match="no key in PEM without a passphrase"):
        ServingCertificate(server_settings(pair), Metrics()).open()


def server_settings(pair: Pair) -> Server:
    return Server.model_validate(pair.files)


async def test_without_a_pair_it_makes_one_of_its_own(tmp_path: Path) -> None:
    async with port(tmp_path) as open_port:
        shown = (await ask(open_port.number, trusting())).certificate

        pem = ssl.DER_cert_to_PEM_cert(shown).encode()
        assert (await ask(open_port.number, trusting(pem))).status == 200
        certificate = x509.load_der_x509_certificate(shown)
        assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
        assert open_port.end == certificate.not_valid_after_utc
        assert open_port.end > datetime.now(UTC) + timedelta(days=364)


async def test_its_own_is_made_anew_before_it_ends(tmp_path: Path) -> None:
    async with port(tmp_path) as open_port:
        first = (await ask(open_port.number, trusting())).certificate
        await asyncio.sleep(LOOK)
        assert (await ask(open_port.number, trusting())).certificate == first

        open_port.certificate._end = datetime.now(UTC) + timedelta(days=29)
        await asyncio.sleep(LOOK)

        assert (await ask(open_port.number, trusting())).certificate != first
        assert open_port.end > datetime.now(UTC) + timedelta(days=364)


async def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    async with port(tmp_path) as open_port:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting()
            context.minimum_version = context.maximum_version = version
            assert (await ask(open_port.number, context)).status == 200
        assert open_port.certificate.open().minimum_version is ssl.TLSVersion.TLSv1_2


def test_its_own_is_for_the_names_of_this_machine() -> None:
    pem, _ = make_self_signed(timedelta(days=1))

    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "localhost" in names.value.get_values_for_type(x509.DNSName)
    assert ip_address("::1") in names.value.get_values_for_type(x509.IPAddress)
