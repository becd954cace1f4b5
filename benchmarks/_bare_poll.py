"""The least that reading all VMs can cost in Python: aiohttp and msgspec alone, as a process.

Standard input has one line of JSON: the engine's url, a user, the search, the page size and how
often to read all. Standard output has the CPU seconds of each reading. The VMs become msgspec's
structs and nothing more: no Instance, no snapshot, no comparison with those before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp

from provider.commands.run import settle_heap
from provider.ovirt import wire


async def main(task: dict[str, Any]) -> None:
    """Read all VMs so many times, and say what each time cost."""
    form = {
        "grant_type": "password",
        "scope": "ovirt-app-api",
        "username": task["username"],
        "password": task["password"],
    }
    async with aiohttp.ClientSession(headers={"Accept": "application/json"}) as session:
        async with session.post(f"{task['url']}/sso/oauth/token", data=form) as reply:
            token = (await reply.json(content_type=None))["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Version": "4", "Filter": "false"}
        for _ in range(task["times"]):
            began = time.process_time()
            await read_all(session, headers, task)
            sys.stdout.write(f"{time.process_time() - began}\n")


async def read_all(
    session: aiohttp.ClientSession, headers: dict[str, str], task: dict[str, Any]
) -> None:
    """Read page after page until one is not full."""
    number, found = 1, task["page_size"]
    while found == task["page_size"]:
        params = {
            "search": f"{task['search']} page {number}",
            "max": str(task["page_size"]),
            "follow": task["follow"],
        }
        async with session.get(f"{task['url']}/api/vms", params=params, headers=headers) as reply:
            found = len(wire.read("bare", wire.Vms, await reply.read()).vm or ())
        number += 1


if __name__ == "__main__":
    settle_heap()
    asyncio.run(main(json.loads(sys.stdin.readline())))
