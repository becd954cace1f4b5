"""The sockets that take connections, of both address families where there are two."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from provider.errors import ProviderError

# A full queue drops whoever comes, and a probe that is dropped tries again a second later.
_BACKLOG = 1024
# The kernel gives up a peer that takes or acknowledges nothing of what is sent to it: the only
# bound of a stream that nobody reads.
_UNACKNOWLEDGED = 30_000  # milliseconds
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


async def listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`; `::` stands for every address of both families.

    ProviderError, with its remedy, when one cannot be had.
    """
    try:
        return await _listen(host, port)
    except OSError as error:
        # A name that does not resolve has errno < 0.
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else error.strerror
        shown = f"[{host}]" if ":" in host else host
        raise ProviderError(
            f"cannot serve on {shown}:{port}: {why}.",
            remedy="Set server.bind to an address of this machine and a free port.",
        ) from None


async def _listen(host: str, port: int) -> list[socket.socket]:
    if host == "::":
        return [_every_address(port)]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    opened: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            opened.append(_ready(socket.create_server(address, family=family, backlog=_BACKLOG)))
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _every_address(port: int) -> socket.socket:
    try:
        if not socket.has_dualstack_ipv6():
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        both = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
        )
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _ready(socket.create_server(("0.0.0.0", port), backlog=_BACKLOG))  # noqa: S104 - as told
    return _ready(both)


def _ready(listener: socket.socket) -> socket.socket:
    listener.settimeout(0)  # for the loop
    # What it accepts inherits this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
    return listener
