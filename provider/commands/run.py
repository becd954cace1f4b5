"""`run`: the controller, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from provider.commands.stopping import until_stopped

if TYPE_CHECKING:
    import argparse

    from provider.app import App
    from provider.config import Config
    from provider.configfile import ConfigWatch
    from provider.kube.access import Access

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How the port is served; all else is in the configuration file."""
    parser.add_argument(
        "--insecure-http",
        action="store_true",
        help="serve plain HTTP without asking for tokens; server.bind must be a loopback address",
    )


def run(arguments: argparse.Namespace) -> int:
    """0 after a signal; ProviderError for what no waiting would mend."""
    keep_memory()
    gc.disable()  # until the heap is settled: loading makes nearly no garbage
    asyncio.run(until_stopped(_work(arguments)))
    return 0


async def _work(arguments: argparse.Namespace) -> NoReturn:
    import structlog

    from provider import logs
    from provider.configfile import ConfigWatch
    from provider.kube.access import load_access

    watch = ConfigWatch(arguments.config)
    logs.set_up(watch.config.logging)
    access = await load_access(arguments.kubeconfig)
    try:
        await follow(watch, access, insecure_http=arguments.insecure_http)
    except asyncio.CancelledError:
        structlog.get_logger(__name__).info("stopped")
        raise


async def follow(watch: ConfigWatch, access: Access, *, insecure_http: bool) -> NoReturn:
    """Work by the configuration in the file, whatever it becomes.

    Each new one means new parts in this process, after the old ones have ended in their order.
    They go on with the Lease, which is given up when they do not come to work. A configuration
    that cannot be worked by, such as one whose port is taken, gives way to the one before;
    ProviderError when there is none.
    """
    from provider import logs
    from provider.app import App
    from provider.errors import LeaseLost, ProviderError

    app: App | None = None
    proven: Config | None = None  # what to go back to
    try:
        while True:
            logs.set_up(watch.config.logging)
            before = app
            app = App(watch.config, access, (watch.reload,), insecure_http=insecure_http)
            if before:
                app.remember(before)
            else:
                settle_heap()
            try:
                changed = await _until_changed(app, watch)
            except LeaseLost:
                raise
            except ProviderError as error:
                if proven is None:
                    raise
                watch.reload.kept(str(error))
                watch.config, proven = proven, None
            else:
                watch.reload.taken()
                watch.config, proven = changed, watch.config
    finally:
        if app:
            await app.give_up_lease()


async def _until_changed(app: App, watch: ConfigWatch) -> Config:
    """The changed configuration, once the app has ended; raises what ends the app before."""
    working = asyncio.create_task(app.run())
    watching = asyncio.create_task(watch.changed())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        changed = watching.result()
        app.keep_lease(changed)
        return changed
    finally:
        await _end(working, watching)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks once and return when they have ended, also when cancelled meanwhile."""
    for task in tasks:
        task.cancel()
    ending = asyncio.gather(*tasks, return_exceptions=True)
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


def keep_memory() -> None:
    """Keep freed memory, up to 64 MiB of it, for the next listing.

    glibc would give a page's 5 MB back to the kernel and take them anew for the next page: a
    quarter of a listing's CPU seconds went into that. One arena, as each thread that unpacks
    would keep as much. Another C library goes on in its own way.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)  # the largest that it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 64 * 1024 * 1024)


def settle_heap() -> None:
    """Have the garbage collector work, and keep it from walking what stays anyway.

    It would look at all modules again and again while a listing makes thousands of objects, and
    hold the loop up for most of the time that a first listing takes.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
