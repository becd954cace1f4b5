"""The parts of the world that are no VMs: plain objects with an id and a name."""

from __future__ import annotations

from dataclasses import dataclass, field

NIL_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True, eq=False)
class DataCenter:
    """A data centre."""

    id: str
    name: str
    status: str
    description: str
    is_local: bool


@dataclass(slots=True, eq=False)
class Cluster:
    """A cluster; its data centre may be missing."""

    id: str
    name: str
    data_center: DataCenter | None
    description: str
    architecture: str


@dataclass(slots=True, eq=False)
class Host:
    """A hypervisor."""

    id: str
    name: str
    cluster: Cluster
    address: str
    status: str


@dataclass(slots=True, eq=False)
class Tag:
    """A tag; only the root tag has no parent."""

    id: str
    name: str
    description: str | None
    parent: Tag | None


@dataclass(slots=True, eq=False)
class InstanceType:
    """An instance type."""

    id: str
    name: str
    sockets: int
    memory: int


@dataclass(slots=True, eq=False)
class Network:
    """A logical network of a data centre, with the vNIC profile of its name."""

    id: str
    name: str
    data_center: DataCenter
    profile_id: str


@dataclass(slots=True, eq=False)
class Role:
    """What whoever has it may do: permits by name."""

    id: str
    name: str
    permits: frozenset[str]
    is_administrative: bool = True
    is_mutable: bool = False


@dataclass(slots=True, eq=False)
class Permission:
    """A role that a user has on the whole system."""

    id: str
    user: User
    role: Role


@dataclass(slots=True, eq=False)
class User:
    """An account. `vms` are the VMs that a `UserRole` may see.

    One that is not known is in the directory only. `permissions` are granted beside `role`.
    """

    id: str
    name: str
    password: str
    role: str
    vms: frozenset[str] = field(default_factory=frozenset)
    is_known: bool = True
    permissions: list[Permission] = field(default_factory=list)

    @property
    def is_administrator(self) -> bool:
        """Whether a role on the whole system lets the user see everything."""
        granted = any(one.role.is_administrative for one in self.permissions)
        return granted or self.role in ("SuperUser", "ReadOnlyAdmin")

    @property
    def may_write(self) -> bool:
        """Whether commands of this user are carried out."""
        return "SuperUser" in (self.role, *(one.role.name for one in self.permissions))

    @property
    def may_tag(self) -> bool:
        """Whether tags and their places may be changed."""
        permits = (one.role.permits for one in self.permissions)
        return self.may_write or any("tag_management" in names for names in permits)

    @property
    def audit_name(self) -> str:
        """The name in events: the profile becomes the authorisation provider."""
        return f"{self.name}-authz"


@dataclass(frozen=True, slots=True)
class Nic:
    """A vNIC. Without `has_profile` its profile is empty."""

    id: str
    name: str
    mac: str
    has_profile: bool = True


@dataclass(frozen=True, slots=True)
class Device:
    """An interface as the guest reports it."""

    name: str
    mac: str
    addresses: tuple[str, ...]
