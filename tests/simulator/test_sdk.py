"""The official SDK is the judge of the simulated engine's XML."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from provider.simulator.engine import SimulatedEngine
from tests.simulator.world import scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PASSWORD = "secret"
DURATIONS = dict.fromkeys(("boot", "agent", "migration", "reboot", "shutdown", "suspend"), "0s")


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    simulated = SimulatedEngine(scenario(durations=DURATIONS))
    simulated.faults.refusal_seconds = 0
    simulated.url = await simulated.start()  # type: ignore[attr-defined]
    yield simulated
    await simulated.stop()


@contextmanager
def connected(url: str, password: str = PASSWORD) -> Iterator[Any]:
    connection = sdk.Connection(
        url=f"{url}/api", username="admin@internal", password=password, timeout=10, compress=True
    )
    try:
        yield connection.system_service()
    finally:
        connection.close()


async def with_sdk(engine: SimulatedEngine, work: Callable[[Any], Any]) -> Any:
    """What the work with the SDK gives. It blocks, so it has a thread."""

    def run() -> Any:
        with connected(engine.url) as system:  # type: ignore[attr-defined]
            return work(system)

    return await asyncio.to_thread(run)


async def test_it_logs_in_and_reads_the_product(engine: SimulatedEngine) -> None:
    api = await with_sdk(engine, lambda system: system.get())

    assert api.product_info.version.full_version.startswith("4.5.8")
    assert api.product_info.instance_id == engine.world.instance_id
    assert api.summary.vms.total == 6
    assert not engine.accounts.sessions, "it logged out"


async def test_it_lists_vms_with_all_that_is_followed(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        return system.vms_service().list(
            search="name=worker-0", follow="nics,reported_devices,tags"
        )

    (vm,) = await with_sdk(engine, work)

    assert vm.status is types.VmStatus.UP
    assert (vm.memory, vm.cpu.topology.cores) == (2 << 30, 2)
    assert vm.cluster.id == engine.world.cluster("workers").id
    assert [tag.name for tag in vm.tags] == ["docker-host"]
    assert [nic.mac.address for nic in vm.nics] == [d.mac.address for d in vm.reported_devices]
    addresses = [ip.address for ip in vm.reported_devices[0].ips]
    assert addresses[0] == "10.8.0.10"
    assert "2001:db8::10" in addresses


async def test_a_down_vm_has_empty_lists(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        return system.vms_service().list(search="name=gpu-0", follow="reported_devices,nics")

    (vm,) = await with_sdk(engine, work)

    assert list(vm.reported_devices) == []
    assert vm.host is None
    assert vm.fqdn is None


async def test_it_searches_by_parent_tag_and_pages(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        vms = system.vms_service()
        pages = [
            vms.list(search=f"tag=docker-host sortby name asc page {n}", max=2) for n in (1, 2, 3)
        ]
        return [[vm.name for vm in page] for page in pages]

    pages = await with_sdk(engine, work)

    assert pages == [["edge-0", "gpu-0"], ["worker-0", "worker-1"], ["worker-2"]]


async def test_it_reads_every_collection(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        return {
            "hosts": [h.name for h in system.hosts_service().list(search="name=hv-1")],
            "clusters": [c.name for c in system.clusters_service().list()],
            "data_centers": [d.name for d in system.data_centers_service().list()],
            "tags": {t.name for t in system.tags_service().list()},
            "types": [t.name for t in system.instance_types_service().list()],
            "users": [u.user_name for u in system.users_service().list(max=1)],
            "networks": {n.name for n in system.networks_service().list()},
            "profiles": {p.name for p in system.vnic_profiles_service().list()},
            "templates": [t.name for t in system.templates_service().list()],
            "disks": system.disks_service().list(),
        }

    found = await with_sdk(engine, work)

    assert found == {
        "hosts": ["hv-1"],
        "clusters": ["edge", "workers"],
        "data_centers": ["brno", "prague"],
        "tags": {"root", "docker-host", "docker-host-gpu"},
        "types": ["Large", "Medium", "Small", "Tiny", "XLarge"],
        "users": ["admin@internal-authz"],
        "networks": {"ovirtmgmt"},
        "profiles": {"ovirtmgmt"},
        "templates": ["Blank"],
        "disks": [],
    }


async def test_it_creates_starts_stops_and_removes_a_vm(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        vms = system.vms_service()
        vm = vms.add(
            types.Vm(
                name="fresh",
                cluster=types.Cluster(name="workers"),
                template=types.Template(name="Blank"),
                memory=4 << 30,
                cpu=types.Cpu(topology=types.CpuTopology(cores=4, sockets=1, threads=1)),
                initialization=types.Initialization(host_name="fresh", custom_script="x: 1"),
            )
        )
        service = vms.vm_service(vm.id)
        seen = [vm.status, service.get().memory]
        service.start(use_cloud_init=True)
        seen.append(service.get().status)
        service.update(types.Vm(comment="busy"))
        seen.append(service.get().comment)
        service.stop()
        seen.append(service.get().status)
        service.remove()
        with pytest.raises(sdk.NotFoundError):
            service.get()
        return seen

    seen = await with_sdk(engine, work)

    up, down = types.VmStatus.UP, types.VmStatus.DOWN
    assert seen == [down, 4 << 30, up, "busy", down]


async def test_it_reboots_suspends_and_migrates(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        vms = system.vms_service()
        service = vms.vm_service(engine.world.vm("worker-0").id)
        service.reboot()
        service.migrate(host=types.Host(name="hv-2"))
        there = system.hosts_service().host_service(service.get().host.id).get().name
        service.suspend()
        return there, service.get().status

    assert await with_sdk(engine, work) == ("hv-2", types.VmStatus.SUSPENDED)


async def test_it_makes_attaches_detaches_and_removes_tags(engine: SimulatedEngine) -> None:
    vm_id = engine.world.vm("plain").id

    def work(system: Any) -> Any:
        tag = system.tags_service().add(types.Tag(name="blue", description="d"))
        tags = system.vms_service().vm_service(vm_id).tags_service()
        tags.add(types.Tag(name="blue"))
        attached = [t.name for t in tags.list()]
        tags.tag_service(tag.id).remove()
        detached = tags.list()
        system.tags_service().tag_service(tag.id).update(
            types.Tag(name="green", parent=types.Tag(name="docker-host"))
        )
        parent = system.tags_service().tag_service(tag.id).get().parent.id
        system.tags_service().tag_service(tag.id).remove()
        return attached, detached, parent, {t.name for t in system.tags_service().list()}

    attached, detached, parent, left = await with_sdk(engine, work)

    assert (attached, detached) == (["blue"], [])
    assert parent == engine.world.tag("docker-host").id
    assert left == {"root", "docker-host", "docker-host-gpu"}


async def test_it_reads_events_from_an_index(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        events = system.events_service()
        (newest,) = events.list(max=1)
        system.vms_service().vm_service(engine.world.vm("worker-1").id).stop()
        return events.list(from_=int(newest.id), search="sortby time asc")

    found = await with_sdk(engine, work)

    assert [event.code for event in found] == [33, 61]
    assert found[0].vm.id == engine.world.vm("worker-1").id
    assert found[0].severity is types.LogSeverity.NORMAL
    assert found[0].time is not None


async def test_it_reads_statistics(engine: SimulatedEngine) -> None:
    def work(system: Any) -> Any:
        service = system.vms_service().vm_service(engine.world.vm("worker-0").id)
        return {s.name: s.values[0].datum for s in service.statistics_service().list()}

    found = await with_sdk(engine, work)

    assert found["memory.installed"] == 2 << 30


async def test_faults_arrive_as_the_sdks_errors(engine: SimulatedEngine) -> None:
    vm_id = engine.world.vm("worker-0").id

    def work(system: Any) -> Any:
        service = system.vms_service().vm_service(vm_id)
        messages = []
        for action in (service.remove, service.start):
            with pytest.raises(sdk.Error) as caught:
                action()
            messages.append((caught.value.code, str(caught.value)))
        return messages

    removing, starting = await with_sdk(engine, work)

    assert removing[0] == 409
    assert "Cannot remove VM. VM is running." in removing[1]
    assert "Cannot run VM. VM is running." in starting[1]


async def test_a_wrong_password_is_an_authentication_error(engine: SimulatedEngine) -> None:
    def run() -> None:
        with connected(engine.url, "wrong") as system:  # type: ignore[attr-defined]
            system.get()

    with pytest.raises(sdk.AuthError, match="access_denied"):
        await asyncio.to_thread(run)
