"""The real program and a second replica of it on the real API server: one of them works."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.commands.conftest import ended, make_lab
from tests.kube.product import USER, eventually, vm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import MakeLab
    from tests.kube.admin import Admin
    from tests.kube.conftest import NewProduct
    from tests.kube.product import Product

__all__ = ["make_lab"]  # a fixture of the commands, used here too

_LEASES = (
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    "?fieldSelector=metadata.name=ovirt-cloud-controller-manager"
)


async def test_the_program_works_until_sigterm_and_then_the_standby_does(
    make_lab: MakeLab,
    new_product: NewProduct,
    admin: Admin,
    controller_kubeconfig: Path,
    node_prefix: str,
) -> None:
    first, second = f"{node_prefix}first", f"{node_prefix}second"
    vms = vm(first, "10.8.1.1"), vm(second, "10.8.1.2")
    lab = await make_lab(*vms)
    lab.kubeconfig = controller_kubeconfig
    lab.configure(registration={"mode": "adopt"})
    program = await lab.start("run")
    await eventually(lambda: _holder(admin), "the program leads")

    async with new_product(*vms, leader_election={"enabled": True}) as standby:
        await admin.create_node(first)
        await standby.initialised(first)
        await eventually(lambda: _has_listed(standby), "the standby is ready")
        holder = await _holder(admin)
        looks_of_standby = standby.reconciles()

        program.send_signal(signal.SIGTERM)
        end = await ended(program)
        await admin.create_node(second)
        await standby.initialised(second)
        successor = await _holder(admin)

    assert end.status == 0
    assert "node initialised" in end.err
    assert looks_of_standby == 0
    assert holder
    assert successor not in ("", holder)
    assert {write.user for write in standby.writes()} == {USER}
    assert await _holder(admin) == ""


async def _has_listed(product: Product) -> bool:
    return product.metric("ovirt_ccm_engine_up", engine="east") == 1


async def _holder(admin: Admin) -> str:
    """Who holds the Lease; empty when nobody does."""
    leases = (await admin.call("GET", _LEASES))["items"]
    return next((str(lease["spec"].get("holderIdentity", "")) for lease in leases), "")
