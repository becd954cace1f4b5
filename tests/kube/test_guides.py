"""The commands of the guides that an operator copies, with the real kubectl and API server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from provider import model
from tests.kube.admin import UNINITIALIZED
from tests.kube.control_plane import KubectlError
from tests.kube.product import eventually, taint_keys, vm

if TYPE_CHECKING:
    from tests.kube.admin import Admin, Object
    from tests.kube.conftest import NewProduct
    from tests.kube.control_plane import ControlPlane
    from tests.kube.product import Product

_UNINSTALL = Path(__file__).parents[2] / "docs/uninstall.md"
_RULES = [{"tag": "docker-host", "labels": {"example.com/gpu": "true"}}]
_MARKS = {
    value
    for name, value in vars(model).items()
    if name.startswith(("ANNOTATION_", "LABEL_")) and str(value).startswith(model.PREFIX)
}


def commands(heading: str) -> list[list[str]]:
    """The commands marked `sh` below a heading of the guide, without `kubectl`."""
    section = _UNINSTALL.read_text("utf-8").split(f"{heading}\n")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    return [shlex.split(line.removeprefix("kubectl ")) for line in lines]


async def run(cluster: ControlPlane, heading: str) -> str:
    """What these commands print; those that find nothing on some node go on with the others."""
    printed = ""
    for command in commands(heading):
        with contextlib.suppress(KubectlError):  # a taint that a node does not have
            printed += await asyncio.to_thread(cluster.kubectl, *command)
    return printed


async def test_nothing_of_ours_is_left_after_an_uninstallation(
    new_product: NewProduct, control_plane: ControlPlane, admin: Admin, node_prefix: str
) -> None:
    lived, made, stopped = (f"{node_prefix}{name}" for name in ("lived", "made", "stopped"))
    machines = [vm(name, f"10.12.1.{n}") for n, name in enumerate((lived, made, stopped), 1)]
    create = {"mode": "create", "delay": "1s"}
    async with new_product(*machines, registration=create, rules=_RULES) as product:
        await _live(product, admin, lived, stopped)
        await product.event(made, "Registered")
        labelled = await run(control_plane, "## 2. Let it clean up")
    async with new_product(*machines, registration=create) as product:
        product.vm(stopped).stop()
        await admin.patch_node(stopped, _not_ready(), subresource="status")
        await product.node_when(stopped, lambda node: model.TAINT_SHUTDOWN in taint_keys(node))
        await eventually(
            lambda: _prints_nothing(control_plane, "## 2. Let it clean up"), "rules are gone"
        )
    await admin.create_node(f"{node_prefix}late")  # nobody initialises it any more

    table = await run(control_plane, "## 4. Nodes that no kubelet ever used")
    await run(control_plane, "## 5. What is left on the nodes")
    left = await admin.nodes(node_prefix)

    assert "example.com/gpu" in labelled
    assert _row(table, made)[1:] == ["true"]  # and no version
    assert _row(table, lived)[1:] == ["<none>", "test"]
    assert len(left) == 4
    assert [_ours(node) for node in left] == [set()] * 4


async def _live(product: Product, admin: Admin, *names: str) -> None:
    for name in names:
        await admin.create_node(name, system_uuid=product.vm(name).id)
    for name in names:
        await product.initialised(name)


def _not_ready() -> Object:
    return {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}


async def _prints_nothing(cluster: ControlPlane, heading: str) -> bool:
    return not await run(cluster, heading)


def _row(table: str, name: str) -> list[str]:
    (row,) = (line.split() for line in table.splitlines() if line.startswith(f"{name} "))
    return row


def _ours(node: Object) -> set[str]:
    """What the controller, or a kubelet that waits for it, has left on the node."""
    metadata = node["metadata"]
    marks = {*metadata.get("annotations", {}), *metadata.get("labels", {})}
    blocking = {model.TAINT_SHUTDOWN, model.TAINT_OUT_OF_SERVICE, UNINITIALIZED["key"]}
    return {mark for mark in marks if mark.startswith(model.PREFIX)} | (
        taint_keys(node) & blocking
    )


async def test_the_guide_takes_every_mark_away_that_the_controller_writes() -> None:
    removed = {
        word.removesuffix("-")
        for command in commands("## 5. What is left on the nodes")
        for word in command
        if word.startswith(model.PREFIX)
    }

    assert removed == _MARKS
