"""What a new leader makes of what it has learnt while another led."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from provider.app import App
from provider.config import Config
from provider.kube.access import load_access
from tests.controllers.engines import site
from tests.controllers.lab import until
from tests.ovirt.lab import vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.controllers.engines import Object, Site

pytestmark = pytest.mark.looptime

TAINT = "example.com/gpu"
RULES = [{"tag": "gpu", "taints": [f"{TAINT}=true:NoExecute"]}]


@asynccontextmanager
async def replica(here: Site, folder: Path) -> AsyncIterator[None]:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(here.cluster.kubeconfig())
    config = Config(
        engines=(here.east.engine,),
        rules=RULES,
        server={"bind": "127.0.0.1:0"},
    )
    app = App(config, await load_access(kubeconfig), insecure_http=True)
    running = asyncio.create_task(app.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def test_a_new_leader_undoes_nothing_by_what_it_has_listed_before(tmp_path: Path) -> None:
    vms = [vm("e1", tags=("docker-host", "gpu"))]
    async with site(tmp_path, vms) as here, AsyncExitStack() as leading:
        here.kubelet("e1", here.east.world.vm("e1"))

        def has_taint() -> bool:
            taints = here.node("e1")["spec"].get("taints") or ()
            return TAINT in [taint["key"] for taint in taints]

        await leading.enter_async_context(replica(here, tmp_path))
        await until(lambda: here.is_initialised("e1") and has_taint())
        async with replica(here, tmp_path):
            await asyncio.sleep(40)  # it has listed, and does so again in a minute
            here.east.world.vm("e1").detach("gpu")
            await until(lambda: not has_taint())
            await leading.aclose()

            await asyncio.sleep(60)
            added = [event["message"] for event in here.cluster.events() if _is_added(event)]
            assert len(added) == 1  # when the node was initialised

            here.east.world.vm("e1").attach("gpu")
            await until(has_taint)


def _is_added(event: Object) -> bool:
    return f"taint {TAINT}=true:NoExecute: added" in event["message"]
