"""A simulated engine with a few VMs, and our side of it, for the tests of engine access."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from provider.config import Engine, Intervals, Limits, Selection
from provider.metrics import Metrics
from provider.ovirt.client import EngineClient
from provider.ovirt.inventory import Inventory
from provider.ovirt.listing import Lister
from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import (
    ClusterSpec,
    DataCenterSpec,
    EngineSpec,
    HostSpec,
    NicSpec,
    Scenario,
    TagSpec,
    UserSpec,
    VmSpec,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "geheim-ü"


def vm(name: str, *, ip: str = "10.0.0.1", **facts: Any) -> VmSpec:
    """A Docker host that is up on hv-1 of the cluster blue in paris."""
    defaults: dict[str, Any] = {
        "cluster": "blue",
        "host": "hv-1",
        "tags": ("docker-host",),
        "nics": (NicSpec(addresses=(ip_address(ip),)),),
    }
    return VmSpec(name=name, **(defaults | facts))


def many(count: int, **facts: Any) -> VmSpec:
    """Docker hosts w0, w1 and so on."""
    return vm("w{n}", count=count, **facts)


def scenario(*vms: VmSpec, **facts: Any) -> Scenario:
    """Two data centres with a cluster each, three hosts, a tag with a child, and a reader."""
    defaults: dict[str, Any] = {
        "users": (
            UserSpec(name="reader@internal", password=PASSWORD, role="ReadOnlyAdmin"),
            UserSpec(name="admin@internal", password=PASSWORD, role="SuperUser"),
        ),
        "data_centers": (DataCenterSpec(name="paris"), DataCenterSpec(name="rome")),
        "clusters": (
            ClusterSpec(name="blue", data_center="paris"),
            ClusterSpec(name="red", data_center="rome"),
        ),
        "hosts": (
            HostSpec(name="hv-1", cluster="blue"),
            HostSpec(name="hv-2", cluster="red"),
            HostSpec(name="hv-3", cluster="blue"),
        ),
        "tags": (TagSpec(name="docker-host"), TagSpec(name="gpu", parent="docker-host")),
        "vms": vms,
    }
    return Scenario(**(defaults | facts))


class Lab:
    """The simulated engine, and how ours is configured for it."""

    def __init__(self, simulator: SimulatedEngine, url: str, password_file: Path) -> None:
        self.simulator = simulator
        self.faults = simulator.faults
        self.world = simulator.world
        self.metrics = Metrics()
        self.password_file = password_file
        password_file.write_text(PASSWORD + "\n", encoding="utf-8")
        self.engine = Engine(
            name="east", url=url, username="reader@internal", password_file=password_file
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many of each request the engine has answered."""
        return self.simulator.requests.counts

    @property
    def logins(self) -> int:
        """How many log-ins the engine has answered."""
        return self.counts["POST /sso/oauth/token"]

    def forget_requests(self) -> None:
        """Counts from here."""
        self.simulator.requests.clear()

    def client(self, limits: Limits | None = None, **settings: Any) -> EngineClient:
        """Our client of the simulated engine."""
        engine = self.engine.model_copy(update=settings)
        return EngineClient(engine, limits or Limits(), self.metrics)

    @asynccontextmanager
    async def lister(
        self, limits: Limits | None = None, **selection: Any
    ) -> AsyncIterator[Lister]:
        """A lister of its Docker hosts."""
        async with self.client(limits) as client:
            yield Lister(client, Selection(**selection))

    def inventory(self, client: EngineClient, **intervals: Any) -> Inventory:
        """An inventory that looks every 30 s, at waiting VMs every 2 s."""
        return Inventory(
            client,
            Selection(),
            Intervals(**intervals),
            self.metrics,
            lambda instance: instance.cluster.name if instance.cluster else None,
        )


@asynccontextmanager
async def running(directory: Path, *vms: VmSpec, **facts: Any) -> AsyncIterator[Lab]:
    """A lab whose engine has these VMs.

    `version`, `instance_id` and others are facts of its scenario.
    """
    version = facts.pop("version", "4.5.8")
    spec = EngineSpec(version=version, instance_id=facts.pop("instance_id", ""))
    world = scenario(*vms, engine=spec, **facts)
    simulator = SimulatedEngine(world)
    url = await simulator.start()
    try:
        yield Lab(simulator, url, directory / "password")
    finally:
        await simulator.stop()
