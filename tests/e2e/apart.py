"""The part of a run that has namespaces of its own; __main__ starts it there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from tests.e2e.report import StoryError, title
from tests.e2e.site import Plan, Site
from tests.e2e.story import FIRST, SECOND, tell
from tests.kube.control_plane import KubectlError
from tests.kube.process import ProcessError

_SHOWN = (
    "get nodes -o wide",
    "get pods -A -o wide",
    "describe pods -n kube-system",
    "get events -A",
)


async def _main(plan: Plan) -> int:
    title("A control plane, and an oVirt engine that runs two Docker hosts")
    async with Site(plan, (FIRST, SECOND)) as site:
        try:
            await tell(site)
        except (AssertionError, StoryError, KubectlError, ProcessError) as error:
            sys.stderr.write(f"e2e: {error}\n")
            return 1
        finally:
            await _keep(site)
    return 0


async def _keep(site: Site) -> None:
    """Keep what the cluster shows at the end, and what the control plane has logged."""
    commands = [*_SHOWN]
    for name in (await _kubectl(site, "get pods -n kube-system -o name")).split():
        commands += [f"logs -n kube-system {name}", f"logs -n kube-system {name} --previous"]
    shown = [f"$ kubectl {command}\n{await _kubectl(site, command)}\n" for command in commands]
    await asyncio.to_thread(_write, site, shown)


def _write(site: Site, shown: list[str]) -> None:
    (site.plan.logs / "cluster.txt").write_text("".join(shown), "utf-8")
    for log in site.cluster.control_plane.folder.glob("*.log"):
        shutil.copy(log, site.plan.logs)


async def _kubectl(site: Site, command: str) -> str:
    try:
        return await site.cluster.kubectl(*command.split())
    except KubectlError as error:
        return str(error)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not through a buffer, whose lock the end of Python wants
    os._exit(1)  # the first process of a namespace takes all others along


def main() -> int:
    """0 when the story went well, 1 when not, 130 after Ctrl-C."""
    # The first process of a namespace gets no signal that it does not handle.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    assets, kubelet, images, folder, logs, project = map(Path, sys.argv[1:7])
    plan = Plan(assets, kubelet, images, folder, logs, project, cgroup=sys.argv[7])
    try:
        return asyncio.run(_main(plan))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
