"""The least that answering a lookup can cost in Python: a bare aiohttp handler, as a process.

Standard input has one line of JSON: the files of certificate and key, and the body of the answer
for each key. It prints the port that it serves on loopback, and serves until standard input ends.
It looks at no token, logs nothing and counts nothing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

from aiohttp import web


async def main(certificate: str, key: str, texts: dict[str, str]) -> None:
    """Serve until standard input ends."""
    bodies = {name: text.encode() for name, text in texts.items()}

    async def answer(request: web.Request) -> web.Response:
        body = bodies[request.match_info["key"]]
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/v1/instances/{key}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.stdin.readline())))
