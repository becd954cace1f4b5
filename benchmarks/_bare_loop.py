"""The least that initialising nodes can cost in Python: a bare aiohttp loop, as a process.

Standard input has one line of JSON: the kubeconfig's path, the number of workers, the form of the
answers and, for each node, the writes to make in turn, each as path, content type and body. It
stays when all is written until standard input ends, so that it can be looked at. It reads every
answer whole and looks at nothing but its status. It keeps no watch, understands no Node and says
nothing about one.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp

USER_AGENT = "bare-loop"

_Write = tuple[str, str, str]


async def work(session: aiohttp.ClientSession, nodes: list[list[_Write]]) -> None:
    """Take node after node from the end of the list and write to it; SystemExit on a refusal."""
    while nodes:
        for path, content_type, body in nodes.pop():
            async with session.patch(
                path, data=body.encode(), headers={"Content-Type": content_type}
            ) as reply:
                answer = await reply.read()
                if reply.status != 200:
                    sys.exit(f"bare loop: {path}: {reply.status} {answer.decode()[:300]}")


async def main(
    access: dict[str, Any], workers: int, accept: str, nodes: list[list[_Write]]
) -> None:
    """Make all writes to the cluster of this kubeconfig."""
    cluster = access["clusters"][0]["cluster"]
    headers = {
        "Authorization": f"Bearer {access['users'][0]['user']['token']}",
        "User-Agent": USER_AGENT,
        "Accept": accept,
    }
    trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
    async with aiohttp.ClientSession(
        cluster["server"], headers=headers, connector=aiohttp.TCPConnector(ssl=trust)
    ) as session:
        await asyncio.gather(*(work(session, nodes) for _ in range(workers)))


if __name__ == "__main__":
    task = json.loads(sys.stdin.readline())
    kubeconfig = json.loads(Path(task["kubeconfig"]).read_text())
    asyncio.run(main(kubeconfig, task["workers"], task["accept"], task["nodes"][::-1]))
    sys.stdin.read()
