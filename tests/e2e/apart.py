"""The part of a run that has namespaces of its own; __main__ starts it there."""

from __future__ import annotations

import asyncio
import signal
import sys
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
    "logs -n kube-system -l app.kubernetes.io/name=cloud-provider-ovirt --tail=-1 --prefix",
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
    """Write what the cluster shows at the end beside the logs."""
    with (site.plan.logs / "cluster.txt").open("w") as file:
        for command in _SHOWN:
            try:
                shown = await site.cluster.kubectl(*command.split())
            except KubectlError as error:
                shown = str(error)
            file.write(f"$ kubectl {command}\n{shown}\n")


def main() -> int:
    """0 when the story went well, 1 when not, 130 after Ctrl-C."""
    # The first process of a namespace gets no signal that it does not handle.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    assets, kubelet, images, folder, logs, project = map(Path, sys.argv[1:7])
    plan = Plan(assets, kubelet, images, folder, logs, project, cgroup=sys.argv[7])
    try:
        return asyncio.run(_main(plan))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
