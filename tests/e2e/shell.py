"""Programs of this machine, called and waited for."""

from __future__ import annotations

import asyncio

from tests.e2e.report import StoryError


async def run(*command: str) -> str:
    """What it printed; StoryError with what it complained of when it failed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise StoryError(f"{' '.join(command)}: {errors.decode().strip()}")
    return output.decode()


async def ip(command: str, *, inside: int | None = None) -> None:
    """Run this command of `ip`, here or in the network namespace of a process."""
    entered = () if inside is None else ("nsenter", f"--net=/proc/{inside}/ns/net")
    await run(*entered, "ip", *command.split())
