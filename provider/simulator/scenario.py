"""The simulated world as a file: what exists at the start, and what happens later.

`load_scenario(path)` reads YAML. Every mistake of a file is reported at once, each with its
path (`vms.3.host: no host is named "hv-9"`). A scenario can be built in code as well.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from provider.simulator.quantities import Duration, Size, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VmStatus = Literal[
    "up", "down", "powering_up", "powering_down", "paused", "migrating", "unknown",
    "not_responding", "wait_for_launch", "reboot_in_progress", "saving_state",
    "restoring_state", "suspended", "image_locked", "unassigned",
]  # fmt: skip
VM_STATUSES: frozenset[str] = frozenset(get_args(VmStatus))
Role = Literal["SuperUser", "ReadOnlyAdmin", "UserRole"]
VmAction = Literal[
    "start", "stop", "shutdown", "reboot", "suspend", "migrate", "remove", "status", "tag",
    "untag", "addresses", "rename",
]  # fmt: skip
EngineAction = Literal[
    "unavailable", "starting", "restart", "database_away", "database_stale", "empty_lists",
    "refuse_tokens", "fails_follow",
]  # fmt: skip


class ScenarioError(ValueError):
    """A scenario that cannot be simulated; the text has one line a mistake."""


Address = IPv4Address | IPv6Address


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserSpec(_Part):
    """An account. A `UserRole` sees only its `vms`, as on an engine whose Filter is on."""

    name: str = Field(pattern=r".@.")
    id: str = ""
    password: str
    role: Role = "ReadOnlyAdmin"
    known: bool = True
    vms: tuple[str, ...] = ()


class DataCenterSpec(_Part):
    """A data centre."""

    name: str
    id: str = ""
    status: str = "up"
    description: str = ""
    local: bool = False


class ClusterSpec(_Part):
    """A cluster; without `data_center` as a cluster that lost its data centre."""

    name: str
    id: str = ""
    data_center: str | None
    description: str = ""
    architecture: str = "x86_64"


class HostSpec(_Part):
    """A hypervisor."""

    name: str
    id: str = ""
    cluster: str
    address: str = ""
    status: str = "up"


class TagSpec(_Part):
    """A tag; without `parent` it hangs under the root tag."""

    name: str
    id: str = ""
    parent: str | None = None
    description: str = ""


class InstanceTypeSpec(_Part):
    """An instance type: CPUs are sockets of one core, as the engine's own five."""

    name: str
    id: str = ""
    sockets: int = 1
    memory: Size = 1 << 30


class NicSpec(_Part):
    """A vNIC and what the guest reports for it.

    `device` is the guest's name of it; no `device` means that the guest reports nothing.
    `has_profile: false` is a vNIC with an empty profile.
    """

    name: str = "nic1"
    id: str = ""
    mac: str = ""
    device: str = "eth0"
    addresses: tuple[Address, ...] = ()
    link_local: bool = True
    has_profile: bool = True


class DeviceSpec(_Part):
    """An interface of the guest that is no vNIC: docker0, a VIP's alias, a bond."""

    name: str
    mac: str = ""
    addresses: tuple[Address, ...] = ()


class VmSpec(_Part):
    """A VM, or with `count` many: `{n}` in name and fqdn counts from 0, addresses count up.

    `agent: false` is a guest that reports nothing, `reports_os: false` one that reports its
    addresses only. `overrides` replaces members of the rendered VM (null removes one), for odd
    VMs; `broken_links` makes every `follow` of these links fail; `start_fault` is the engine's
    reason to refuse a start.
    """

    name: str
    id: str = ""
    count: int = Field(default=1, ge=1)
    cluster: str
    host: str | tuple[str, ...] | None = None
    status: VmStatus | None = "up"
    fqdn: str | None = None
    agent: bool = True
    reports_os: bool = True
    tags: tuple[str, ...] = ()
    description: str = ""
    comment: str = ""
    sockets: int = 1
    cores: int = 2
    threads: int = 1
    memory: Size = 2 << 30
    os: str = "rhel_8x64"
    instance_type: str | None = None
    delete_protected: bool = False
    nics: tuple[NicSpec, ...] = (NicSpec(),)
    devices: tuple[DeviceSpec, ...] = ()
    initialization: dict[str, Any] | None = None
    custom_properties: dict[str, str] = {}
    overrides: dict[str, Any] = {}
    broken_links: frozenset[str] = frozenset()
    start_fault: str = ""

    def copies(self) -> Iterator[VmSpec]:
        """Each single VM that this entry stands for."""
        if self.count == 1 and "{n" not in self.name:
            yield self
            return
        for n in range(self.count):
            hosts = self.host if isinstance(self.host, tuple) else (self.host,)
            yield self.model_copy(
                update={
                    "name": self.name.format(n=n),
                    "count": 1,
                    "fqdn": self.fqdn and self.fqdn.format(n=n),
                    "host": hosts[n % len(hosts)],
                    "nics": tuple(_shifted(nic, n) for nic in self.nics),
                }
            )


def _shifted(nic: NicSpec, n: int) -> NicSpec:
    moved = tuple(ip_address(int(a) + n) if a.version == 4 else a + n for a in nic.addresses)
    return nic.model_copy(update={"addresses": moved})


class Durations(_Part):
    """How long the things take that take time on a real engine."""

    boot: Duration = timedelta(seconds=2)
    agent: Duration = timedelta(seconds=1)
    migration: Duration = timedelta(seconds=4)
    reboot: Duration = timedelta(seconds=5)
    shutdown: Duration = timedelta(seconds=2)
    suspend: Duration = timedelta(seconds=2)
    disk_copy: Duration = timedelta(seconds=3)


class Step(_Part):
    """One thing that happens: to a VM, a host, a tag, a user or the whole engine.

    `to` is the target: a host (migrate), a status, a tag, addresses, a new name, a role.
    `for` ends a state of the engine or a lost host.
    """

    at: Duration
    vm: str | None = None
    host: str | None = None
    tag: str | None = None
    user: str | None = None
    engine: EngineAction | None = None
    action: VmAction | Literal["lose", "recover", "role"] | None = None
    to: str | tuple[str, ...] | None = None
    for_: Duration | None = Field(default=None, alias="for")

    @model_validator(mode="after")
    def _has_one_subject(self) -> Step:
        subjects = [self.vm, self.host, self.tag, self.user, self.engine]
        if sum(s is not None for s in subjects) != 1:
            raise ValueError("a step has exactly one of vm, host, tag, user, engine")
        if self.engine is None and self.action is None:
            raise ValueError("a step of a vm, host, tag or user has an action")
        return self


class EngineSpec(_Part):
    """The engine itself: `version` decides the shape of some answers.

    Ids are made from `instance_id`: two engines that shall differ need two of them.
    """

    version: Text = Field(default="4.5.8", pattern=r"^\d+\.\d+(\.\d+)?$")
    instance_id: str = ""


_OWN_TYPES = tuple(
    InstanceTypeSpec(name=name, sockets=sockets, memory=memory << 20)
    for name, sockets, memory in (
        ("Tiny", 1, 512),
        ("Small", 1, 2048),
        ("Medium", 2, 4096),
        ("Large", 2, 8192),
        ("XLarge", 4, 16384),
    )
)


class Scenario(_Part):
    """A whole simulated world. References by name are checked."""

    engine: EngineSpec = EngineSpec()
    users: tuple[UserSpec, ...] = (
        UserSpec(name="admin@internal", password="secret", role="SuperUser"),  # noqa: S106 # simulated
    )
    data_centers: tuple[DataCenterSpec, ...] = ()
    clusters: tuple[ClusterSpec, ...] = ()
    hosts: tuple[HostSpec, ...] = ()
    tags: tuple[TagSpec, ...] = ()
    instance_types: tuple[InstanceTypeSpec, ...] = _OWN_TYPES
    vms: tuple[VmSpec, ...] = ()
    durations: Durations = Durations()
    timeline: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Scenario:
        if mistakes := list(_dangling(self)):
            raise ValueError("\n".join(mistakes))
        return self


def _dangling(scenario: Scenario) -> Iterator[str]:
    names = {
        kind: {part.name for part in getattr(scenario, kind)}
        for kind in ("data_centers", "clusters", "hosts", "tags", "instance_types", "users")
    }
    names["vms"] = {copy.name for vm in scenario.vms for copy in vm.copies()}

    def check(path: str, kind: str, wanted: Iterable[str]) -> Iterator[str]:
        for name in wanted:
            if name not in names[kind]:
                yield f'{path}: no {kind[:-1].replace("_", " ")} is named "{name}"'

    for path, kind, wanted in _references(scenario):
        yield from check(path, kind, wanted)


def _references(scenario: Scenario) -> Iterator[tuple[str, str, Iterable[str]]]:
    for i, cluster in enumerate(scenario.clusters):
        yield f"clusters.{i}.data_center", "data_centers", _one(cluster.data_center)
    for i, host in enumerate(scenario.hosts):
        yield f"hosts.{i}.cluster", "clusters", [host.cluster]
    for i, tag in enumerate(scenario.tags):
        yield f"tags.{i}.parent", "tags", _one(tag.parent)
    for i, vm in enumerate(scenario.vms):
        yield f"vms.{i}.cluster", "clusters", [vm.cluster]
        yield f"vms.{i}.host", "hosts", _one(vm.host)
        yield f"vms.{i}.tags", "tags", vm.tags
        yield f"vms.{i}.instance_type", "instance_types", _one(vm.instance_type)
    for i, step in enumerate(scenario.timeline):
        for subject in ("vm", "host", "tag", "user"):
            yield f"timeline.{i}.{subject}", f"{subject}s", _one(getattr(step, subject))
        if kind := {"migrate": "hosts", "tag": "tags", "untag": "tags"}.get(step.action or ""):
            yield f"timeline.{i}.to", kind, _one(step.to)


def _one(name: str | tuple[str, ...] | None) -> tuple[str, ...]:
    match name:
        case None:
            return ()
        case str():
            return (name,)
    return name


def load_scenario(path: Path) -> Scenario:
    """The scenario of a YAML file; ScenarioError names every mistake with its path."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Scenario.model_validate(content)
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [_line(dict(mistake)) for mistake in error.errors()]
        raise ScenarioError("\n".join(f"{path}: {line}" for line in lines)) from error


def _line(mistake: dict[str, Any]) -> str:
    text = str(mistake["msg"]).removeprefix("Value error, ")
    where = ".".join(str(step) for step in mistake["loc"])
    return f"{where}: {text}" if where else text
