"""The certificate of the port: of two files that may change, or made here when none is given."""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

from provider.errors import ProviderError
from provider.reload import Reload, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.config import Server
    from provider.metrics import Metrics

_log = structlog.get_logger(__name__)

_LOOK = 10.0  # seconds; a kubelet takes up to a minute to bring a change
_LIFE = timedelta(days=365)
_RENEWAL = timedelta(days=30)  # before its end one that was made here is made anew
_SKEW = timedelta(hours=1)  # that a client's clock may be behind


class ServingCertificate:
    """What the port shows to whoever connects; TLS 1.2 and newer.

    Each pair gets a context of its own, which takes the place of the one before in new
    handshakes: a pair that does not fit together never gets there, and what is open stays open.
    `reload` tells of a pair that cannot be used.
    """

    def __init__(self, settings: Server, metrics: Metrics) -> None:
        self._certificate_file = settings.certificate_file
        self._key_file = settings.key_file
        self._metrics = metrics
        self._stamp = stamp(self._files)
        self._current: ssl.SSLContext
        self._end: datetime
        self.reload = Reload("serving_certificate")

    def open(self) -> ssl.SSLContext:
        """The context to serve with, whatever becomes of the files; ProviderError without one."""
        self._stamp = stamp(self._files)
        try:
            self._take()
        except (OSError, ValueError) as error:
            raise ProviderError(
                f"the certificate {self._certificate_file} with the key {self._key_file} cannot"
                f" be used: {_words(error)}.",
                remedy="Set server.certificate_file and server.key_file to a pair in PEM, or"
                " neither.",
            ) from None
        outer = self._current
        # Called in each handshake, also when the client names no server.
        outer.sni_callback = self._show
        return outer

    async def run(self) -> NoReturn:
        """Look every 10 s whether there is another pair, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._certificate_file:
                self._look()
            elif datetime.now(UTC) > self._end - _RENEWAL:
                self._take()
                _log.info("a new self-signed certificate is shown", end=self._end.isoformat())

    @property
    def _files(self) -> tuple[Path | None, ...]:
        return self._certificate_file, self._key_file

    def _look(self) -> None:
        found = stamp(self._files)
        if found == self._stamp:
            return
        self._stamp = found
        try:
            self._take()
        except (OSError, ValueError) as error:
            self.reload.kept(
                f"the certificate {self._certificate_file} with the key {self._key_file} cannot"
                f" be used: {_words(error)}"
            )
        else:
            self.reload.taken()

    def _show(self, handshake: ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        handshake.context = self._current

    def _take(self) -> None:
        """Show what there is now from the next handshake on; OSError or ValueError if it fails."""
        context = _context()
        if self._certificate_file and self._key_file:
            end = _end(self._certificate_file.read_bytes())
            _load(context, self._certificate_file, self._key_file)
        else:
            pem, key = make_self_signed(_LIFE)
            end = _end(pem)
            with _in_memory(pem + key) as path:
                _load(context, path, path)
        self._end = end
        self._current = context
        self._metrics.serving_certificate_expiry.set(self._end.timestamp())


def make_self_signed(life: timedelta) -> tuple[bytes, bytes]:
    """A certificate of this machine that ends after `life`, and its ECDSA key; both in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ovirt-ccm")])
    hosts = dict.fromkeys(("localhost", platform.node()))
    addresses = map(ip_address, ("127.0.0.1", "::1"))
    names = (
        *(x509.DNSName(host) for host in hosts if host and host.isascii()),
        *map(x509.IPAddress, addresses),
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage((ExtendedKeyUsageOID.SERVER_AUTH,)), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # each costs as much as a new connection
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    # Without a passphrase of ours OpenSSL would ask for it on the terminal.
    context.load_cert_chain(certificate, key, password=lambda: b"")


@contextmanager
def _in_memory(content: bytes) -> Iterator[Path]:
    """A file that holds `content` and is on no disk: the program may write to none."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield Path(f"/proc/self/fd/{descriptor}")


def _end(pem: bytes) -> datetime:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        raise ValueError("there is no certificate in PEM") from None


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        # OpenSSL gives no reason for a file that it cannot parse; the certificate's was parsed.
        reason = error.reason or "there is no key in PEM without a passphrase"
        return reason.replace("_", " ").lower() if reason.isupper() else reason
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
