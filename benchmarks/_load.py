"""Load on an HTTPS server: connections that are kept, one request at a time on each.

A plain loop over sockets: a request costs it a quarter of what it costs a server in Python, so
that on a processor of its own it is never what is measured.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

CHUNK = 1 << 18
PATIENCE = 30.0  # seconds until an answer must be there


class Broken(Exception):
    """The server gave no answer, or another than 200."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and how its certificate is checked."""

    host: str
    port: int
    trust: ssl.SSLContext


class Connection:
    """One connection to a server, and the request that is under way on it."""

    def __init__(self, address: Address) -> None:
        raw = socket.create_connection((address.host, address.port), timeout=PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = address.trust.wrap_socket(raw, server_hostname=address.host)
        self._socket.settimeout(0)
        self._received = bytearray()
        self._length = 0  # of the answer with its head; 0 while that is not known
        self.since = 0.0
        """When the request should have been sent."""

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def send(self, request: bytes, since: float) -> None:
        """Send a request; it must be smaller than the socket's buffer."""
        self.since = since
        self._received.clear()
        self._length = 0
        self._socket.send(request)

    def has_answer(self) -> bool:
        """Read what has come; whether it is the whole answer."""
        received = self._received
        while True:
            try:
                data = self._socket.recv(CHUNK)
            except ssl.SSLWantReadError:
                return False
            if not data:
                raise Broken(f"the connection was closed after {bytes(received)!r}")
            received += data
            self._length = self._length or _whole_length(received)
            if len(received) == self._length:
                return True

    @property
    def answer(self) -> tuple[str, bytes]:
        """Head and body of the last answer."""
        head, _, body = bytes(self._received).partition(b"\r\n\r\n")
        return head.decode(), body


def _whole_length(received: bytearray) -> int:
    """Bytes of the answer with its head; 0 while the head is not there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    if not received.startswith(b"HTTP/1.1 200 "):
        raise Broken(received.decode())
    mark = b"\r\nContent-Length: "
    start = received.index(mark, 0, end + 2) + len(mark)
    return end + 4 + int(received[start : received.index(b"\r", start)])


class Pool:
    """Some connections to one server; closed at the end of the block."""

    def __init__(self, address: Address, connections: int) -> None:
        self._idle = [Connection(address) for _ in range(connections)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._idle:
            connection.close()

    def ask(self, request: bytes) -> tuple[float, str, bytes]:
        """Seconds, head and body of one answer, with nothing else under way."""
        connection = self._idle[0]
        connection.send(request, time.perf_counter())
        while not connection.has_answer():
            if not select.select([connection], (), (), PATIENCE)[0]:
                raise Broken(f"no answer within {PATIENCE:.0f} s")
        return time.perf_counter() - connection.since, *connection.answer

    def drive(self, requests: Iterator[bytes], seconds: float, rate: float = 0.0) -> list[float]:
        """The seconds that each answer took; `rate` requests a second, 0: as many as can be.

        At a rate a request's time begins when it is due, whether a connection is free or not, so
        that a server that halts is charged for every request that came meanwhile.
        """
        now = time.perf_counter
        took: list[float] = []
        idle, busy = self._idle, set[Connection]()
        due = began = now()
        while (moment := now()) < began + seconds or busy:
            while idle and due <= moment < began + seconds:
                connection = idle.pop()
                connection.send(next(requests), due if rate else moment)
                busy.add(connection)
                due += 1 / rate if rate else 0.0
            wait = max(due - moment, 0.0) if idle and moment < began + seconds else PATIENCE
            for connection in select.select(busy, (), (), wait)[0]:
                if connection.has_answer():
                    took.append(now() - connection.since)
                    busy.remove(connection)
                    idle.append(connection)
        return took
