"""A server that answers each request with the bytes, pauses and breaks of a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def is_watch(self) -> bool:
        return "watch=true" in self.target


class Reset(Exception):
    """Ends the connection with RST."""


@dataclass
class Server:
    """Each answer is a list of steps: bytes to send, seconds to wait, or Reset at the end.

    After the last step of an answer that is not framed the connection is closed.
    """

    answer: Callable[[Request], list[bytes | float | type[Reset]]]
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read(reader)
                self.requests.append(request)
                for step in self.answer(request):
                    await _do(step, writer)
                if not request.headers.get("x-keep"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, Reset):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[Request], list[bytes | float | type[Reset]]],
) -> AsyncIterator[Server]:
    server = Server(answer)
    tasks: set[asyncio.Task[Any]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.ensure_future(server.serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        await asyncio.sleep(0.01)  # asyncio loses a connection that is just being accepted
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # the transports close in their own time
        await listener.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body, asyncio.get_running_loop().time())


async def _do(step: bytes | float | type[Reset], writer: asyncio.StreamWriter) -> None:
    if isinstance(step, bytes):
        writer.write(step)
        await writer.drain()
    elif isinstance(step, int | float):
        await asyncio.sleep(step)
    else:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        raise Reset


def reply(
    code: int, body: Any, content_type: str = "application/json", **headers: str
) -> list[bytes | float | type[Reset]]:
    """A whole answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": content_type, "Content-Length": str(len(raw))}
    fields |= {"Connection": "close"} | {k.replace("_", "-"): v for k, v in headers.items()}
    lines = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    return [f"HTTP/1.1 {code} X\r\n{lines}\r\n".encode() + raw]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The beginning of a watch."""
END = b"0\r\n\r\n"
"""Its orderly end."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(kind: str, item: dict[str, Any]) -> bytes:
    """A line of a watch in a chunk of its own."""
    return chunk(json.dumps({"type": kind, "object": item}).encode() + b"\n")


def node(name: str, version: int, **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)} | metadata
    return {"kind": "Node", "apiVersion": "v1", "metadata": meta}


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"kind": "Node", "metadata": {"resourceVersion": str(version)}})


def listing(version: int, *nodes: dict[str, Any], continue_: str = "") -> dict[str, Any]:
    meta = {"resourceVersion": str(version)} | ({"continue": continue_} if continue_ else {})
    return {"kind": "NodeList", "apiVersion": "v1", "metadata": meta, "items": list(nodes)}


def status(code: int, message: str, reason: str = "", **details: Any) -> dict[str, Any]:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return body | {"reason": reason, "details": details, "code": code}
