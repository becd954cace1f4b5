"""`demo`: the real controller on a simulated engine and cluster, to be watched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.commands.stopping import until_stopped
from provider.commands.terminal import output
from provider.errors import KubeError, ProviderError

if TYPE_CHECKING:
    import argparse

    from provider.app import App
    from provider.commands.demo_view import View
    from provider.kube.api import KubeApi
    from provider.simulator.lab import Lab

# This one has no kubelet: the controller registers its Node, as it would while a VM's kubelet
# is not running.
_WITHOUT_KUBELET = frozenset({"edge-3"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long."""
    parser.epilog = (
        "With --kubeconfig it plays on that cluster instead of a simulated one; the Nodes that it"
        " has registered there go when it ends. --config is not read."
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="end after so long (default: at Ctrl-C)"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 after SIGTERM, Ctrl-C or `--seconds`."""
    return asyncio.run(_demo(arguments))


async def _demo(arguments: argparse.Namespace) -> int:
    from provider.simulator.lab import Lab

    is_simulated = arguments.kubeconfig is None
    lab = Lab(
        controller_port=0,
        has_cluster=is_simulated,
        without_kubelet=_WITHOUT_KUBELET,
    )
    async with lab:
        if is_simulated:
            arguments.kubeconfig = lab.kubeconfig
        await until_stopped(_play(arguments, lab))
    output().print("\nThe demo has ended; nothing of it is left.")
    return 0


async def _play(arguments: argparse.Namespace, lab: Lab) -> None:
    from provider.app import App
    from provider.commands.demo_view import View
    from provider.configfile import load_config
    from provider.kube.access import load_access
    from provider.kube.api import KubeApi
    from provider.metrics import Metrics

    config = load_config(lab.config_file)
    access = await load_access(arguments.kubeconfig)
    async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
        if not lab.cluster:
            await _refuse_namesakes(api, lab)
        try:
            async with asyncio.timeout(arguments.seconds):
                app = App(config, access, insecure_http=True)
                await _show(View(lab, api, arguments.kubeconfig), app)
        except TimeoutError:
            pass
        finally:
            if not lab.cluster:
                await asyncio.shield(_clean_up(api, lab))


async def _show(view: View, app: App) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run())
        tasks.create_task(view.run())


async def _refuse_namesakes(api: KubeApi, lab: Lab) -> None:
    """Keep the demo off nodes of a real cluster that are called like its VMs."""
    from provider.commands.gather import list_nodes

    names = {vm.name for vm in lab.engine.world.vms.values()}
    if taken := sorted(names & (await list_nodes(api)).keys()):
        raise ProviderError(
            f"the cluster has nodes that are called like VMs of the demo: {', '.join(taken)}.",
            remedy="Take a cluster without them, or leave --kubeconfig out.",
        )


async def _clean_up(api: KubeApi, lab: Lab) -> None:
    """Delete the Nodes that the controller has registered for VMs of the demo."""
    from provider.commands.gather import list_nodes
    from provider.model import ANNOTATION_ENGINE

    for node in (await list_nodes(api)).values():
        if node.annotations.get(ANNOTATION_ENGINE) == lab.engine.world.instance_id:
            try:
                await api.delete_node(node)
            except KubeError as error:
                output().print(f"node {node.name} is left over: {error}")
