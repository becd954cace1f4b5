"""A TCP proxy in front of a server, whose faults are switched while connections are open."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

HOST = "127.0.0.1"
_PIECE = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST
# The alert `handshake_failure`, which ends a handshake (RFC 8446, section 6).
_TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"


class Proxy:
    """Hands every byte on, both ways, from `async with` to its end.

    The switches, of all connections, open ones included:
      delay: seconds before each piece of an answer. rate: bytes of answers in a second, for each
        connection; 0 is no limit. swallows: takes connections and bytes, and hands nothing on.
      limit: closes after so many bytes of answers, for connections that come; 0 is no limit.
      resets: RST for connections that come. refuses_tls: a TLS alert for connections that come.
    """

    def __init__(self, port: int) -> None:
        """`port` of the server, on the loopback address."""
        self._target = port
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._listener: asyncio.Server
        self.port = 0
        self.connections = 0
        """How many have come."""
        self.heal()

    def heal(self) -> None:
        """All switches back; what is open stays open."""
        self.delay, self.rate, self.limit = 0.0, 0, 0
        self.swallows = self.resets = self.refuses_tls = False

    def cut(self) -> None:
        """RST for everything that is open."""
        for writer in self._open.values():
            _reset(writer)

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._listener.close()
        for task, writer in tuple(self._open.items()):
            task.cancel()
            writer.transport.abort()  # what is not sent yet is lost
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._listener.wait_closed()
        await asyncio.sleep(0.01)  # the transports close in their own time

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(lambda done: self._open.pop(done))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.resets:
                _reset(writer)
            elif self.refuses_tls:
                await reader.read(_PIECE)
                writer.write(_TLS_ALERT)
            else:
                await self._relay(reader, writer)
        except* (OSError, _Over):
            pass
        finally:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, upstream = await asyncio.open_connection(HOST, self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._hand_on(reader, upstream))
                both.create_task(self._answer(answers, writer, self.limit))
        finally:
            upstream.transport.abort()

    async def _hand_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(_PIECE):
            if not self.swallows:
                target.write(piece)
                await target.drain()
        raise _Over

    async def _answer(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int
    ) -> None:
        sent = 0
        while piece := await source.read(self.rate // 10 or _PIECE):
            await asyncio.sleep(len(piece) / self.rate if self.rate else self.delay)
            if self.swallows:
                continue
            target.write(piece[: limit - sent] if limit else piece)
            await target.drain()
            sent += len(piece)
            if limit and sent >= limit:
                break
        raise _Over


class _Over(Exception):
    """One side has ended the connection, or the proxy has."""


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
