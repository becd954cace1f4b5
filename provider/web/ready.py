"""Small answers that are sent in one piece.

What aiohttp does for responses of any kind, whose headers may change until they are sent, takes as
long as all the rest of a lookup.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web

from provider.web.headers import COMMON

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

_COMMON = "".join(f"{name}: {value}\r\n" for name, value in COMMON.items())


class Ready(web.Response):
    """200 with these headers, as they are sent, and this body, for a request that `takes_ready`.

    Its headers are those that it is made with, and the common ones, whatever is set later.
    """

    def __init__(self, lines: str, body: bytes) -> None:
        super().__init__(body=body)
        self._lines = lines
        self._piece = body
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool:
        """Always."""
        return True

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is sent before the end."""
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send all of it, once."""
        writer, self._writer = self._writer, None
        if writer is not None:
            size = len(self._piece)
            head = f"HTTP/1.1 200 OK\r\n{self._lines}{_COMMON}Content-Length: {size}\r\n{_date()}"
            await writer.write(head.encode() + self._piece)


def takes_ready(request: web.Request) -> bool:
    """Whether it asks for no more than the head and the body of an answer, as nearly all do."""
    return (
        request.method == hdrs.METH_GET
        and request.version == HttpVersion11
        and request.keep_alive
        and hdrs.IF_NONE_MATCH not in request.headers
    )


def _date() -> str:
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    """The end of the head."""
    return f"Date: {formatdate(second, usegmt=True)}\r\n\r\n"
