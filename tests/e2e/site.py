"""An oVirt site: a simulated engine behind TLS, and a node for each of its Docker hosts."""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import yaml

from provider.simulator.engine import SimulatedEngine
from tests.e2e.cluster import Cluster
from tests.e2e.image import PRODUCT
from tests.e2e.node import GATEWAY, Machine, Node
from tests.kube.pki import Authority
from tests.kube.product import PASSWORD, scenario, vm

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from provider.simulator.machine import Vm
    from provider.simulator.scenario import VmSpec

_MANIFESTS = "manifests"
_ENGINE_PORT = 443


@dataclass(frozen=True)
class Plan:
    """What was prepared: programs, the images' archive, folders, the prefix of control groups."""

    assets: Path
    kubelet: Path
    images: Path
    folder: Path
    logs: Path
    project: Path
    cgroup: str


class Site:
    """Cluster, engine and nodes; all end with `async with`. At first only the first VM is up."""

    def __init__(self, plan: Plan, names: tuple[str, ...]) -> None:
        self.plan = plan
        self.cluster = Cluster(plan.assets)
        self.engine: SimulatedEngine
        self.nodes: dict[str, Node] = {}
        self._names = names
        self._engine_ca: Path
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._stack as stack:
            await stack.enter_async_context(self.cluster)
            authority = Authority(self.plan.folder, "engine-ca")
            pair = authority.issue("engine", "engine", hosts=[GATEWAY])
            self._engine_ca = authority.pair.certificate
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*pair)
            self.engine = SimulatedEngine(scenario(_vms(self._names)))
            await self.engine.start(_ENGINE_PORT, context, GATEWAY)
            stack.push_async_callback(self.engine.stop)
            for number, name in enumerate(self._names):
                self.nodes[name] = self._node(name, _address(number))
                stack.push_async_callback(self.nodes[name].power_off)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def vm(self, name: str) -> Vm:
        """The VM of the node of this name."""
        return self.engine.world.vm(name)

    async def install(self, **sections: Any) -> None:
        """Install the product by its own manifests, with these sections in its configuration.

        Another time: change the configuration of what is installed.
        """
        engine = {
            "url": f"https://{GATEWAY}/ovirt-engine",
            "username": "reader@internal",
            "password_file": "/etc/ovirt-ccm/password",
            "ca_file": "/etc/ovirt-ccm/ca.pem",
        }
        await self.cluster.apply([self._secret()])
        overlay = self.plan.folder / "overlay"
        overlay.mkdir(exist_ok=True)
        (overlay / "config.yaml").write_text(yaml.safe_dump({"engines": [engine], **sections}))
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(self._overlay(overlay)))
        await self.cluster.kubectl("apply", "-k", str(overlay))

    def _overlay(self, folder: Path) -> dict[str, Any]:
        name, _, tag = PRODUCT.partition(":")
        config = {"name": "ovirt-ccm", "namespace": "kube-system", "files": ["config.yaml"]}
        return {
            "resources": [os.path.relpath(self.plan.project / _MANIFESTS, folder)],
            "images": [{"name": "cloud-provider-ovirt", "newName": name, "newTag": tag}],
            "configMapGenerator": [
                {**config, "behavior": "replace", "options": {"disableNameSuffixHash": True}}
            ],
            # It is loaded into the nodes: no registry is ever asked.
            "patches": [{"target": {"kind": "Deployment"}, "patch": _NEVER_PULL}],
        }

    def _secret(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ovirt-ccm", "namespace": "kube-system"},
            "stringData": {"password": PASSWORD, "ca.pem": self._engine_ca.read_text()},
        }

    def _node(self, name: str, address: str) -> Node:
        machine = Machine(
            name=name,
            ip=address,
            uuid=self.vm(name).id,
            state=self.plan.folder / name,
            logs=self.plan.logs / name,
            kubelet=self.plan.kubelet,
            images=self.plan.images,
            cgroup=f"{self.plan.cgroup}-{name}",
        )
        return Node(machine, self.cluster.bootstrap(), self.cluster.control_plane.ca_file)


def _vms(names: tuple[str, ...]) -> list[VmSpec]:
    off = {"status": "down", "host": None}
    return [
        vm(name, _address(number), **(off if number else {})) for number, name in enumerate(names)
    ]


def _address(number: int) -> str:
    return f"10.99.0.{11 + number}"


_NEVER_PULL = """\
- op: replace
  path: /spec/template/spec/containers/0/imagePullPolicy
  value: Never
"""
