"""The vocabulary of the program: frozen values that every layer speaks.

instance = oVirt VM; node = Kubernetes Node; host = oVirt hypervisor. Nothing here does I/O, reads
a clock or knows a wire format. Values are Structs, and so all through the program: msgspec makes
one in a ninth of the time of a frozen dataclass, and each node that joins takes dozens of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from ipaddress import IPv4Address, IPv6Address

    from provider.reasons import Reason

    IPAddress = IPv4Address | IPv6Address

# ---- keys that the program writes on nodes ---------------------------------------------------

PREFIX = "ccm.ovirt.org/"
ANNOTATION_ENGINE = f"{PREFIX}engine"
ANNOTATION_REGISTERED = f"{PREFIX}registered"
ANNOTATION_HOLD = f"{PREFIX}hold"
ANNOTATION_OUT_OF_SERVICE = f"{PREFIX}out-of-service"
ANNOTATION_APPLIED = f"{PREFIX}applied"
LABEL_HOST = f"{PREFIX}host"
LABEL_CLUSTER = f"{PREFIX}cluster"
LABEL_DATA_CENTER = f"{PREFIX}data-center"

# Written by kubelet and by cloud controllers: k8s.io/cloud-provider/api/well_known_taints.go and
# well_known_annotations.go, k8s.io/api/core/v1/well_known_labels.go.
TAINT_UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
TAINT_SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
TAINT_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
ANNOTATION_PROVIDED_NODE_IP = "alpha.kubernetes.io/provided-node-ip"
LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
LABEL_INSTANCE_TYPE_BETA = "beta.kubernetes.io/instance-type"
LABEL_ZONE = "topology.kubernetes.io/zone"
LABEL_ZONE_BETA = "failure-domain.beta.kubernetes.io/zone"
LABEL_REGION = "topology.kubernetes.io/region"
LABEL_REGION_BETA = "failure-domain.beta.kubernetes.io/region"


# ---- what the engine knows -------------------------------------------------------------------


class InstanceStatus(StrEnum):
    """The statuses that an engine reports (VmStatus of the engine's API model)."""

    DOWN = "down"
    IMAGE_LOCKED = "image_locked"
    MIGRATING = "migrating"
    NOT_RESPONDING = "not_responding"
    PAUSED = "paused"
    POWERING_DOWN = "powering_down"
    POWERING_UP = "powering_up"
    REBOOT_IN_PROGRESS = "reboot_in_progress"
    RESTORING_STATE = "restoring_state"
    SAVING_STATE = "saving_state"
    SUSPENDED = "suspended"
    UNASSIGNED = "unassigned"
    UNKNOWN = "unknown"
    UP = "up"
    WAIT_FOR_LAUNCH = "wait_for_launch"


class Tag(Struct, frozen=True):
    """A tag of an engine and the name of its parent; None under the root tag."""

    name: str
    parent: str | None = None


class Cluster(Struct, frozen=True):
    """A cluster of an engine.

    `has_unique_name` is false when another cluster of the engine is called alike, by its plain
    name or by `<data centre>.<name>`: cluster names are unique per data centre only.
    """

    name: str
    data_center: str | None = None
    has_unique_name: bool = True


class Nic(Struct, frozen=True):
    """A virtual network card; the MAC in lower case, None when it has none."""

    name: str
    mac: str | None = None


class Interface(Struct, frozen=True):
    """A network interface as the guest agent reports it; the MAC in lower case."""

    name: str
    mac: str | None = None
    addresses: tuple[IPAddress, ...] = ()


class Instance(Struct, frozen=True):
    """One VM of an engine, as much of it as the program needs.

    `id` is the VM's UUID in lower case; `engine` the configured name of its engine; `engine_id`
    the engine's own `instance_id` (its configured name before 4.4.3). `status` is None when the
    engine gives none (a VM with an illegal image) or one that is not known here: undecidable,
    never gone. `tags` holds the attached tags and all their ancestors. `memory` is in bytes.
    `started` is in the engine's clock and absent while the VM is not running, like `host`, `fqdn`
    and `interfaces`. `nics` are in the engine's order. `properties` are its custom properties, by
    name.
    """

    id: str
    name: str
    engine: str
    engine_id: str
    status: InstanceStatus | None
    cluster: Cluster | None = None
    host: str | None = None
    tags: frozenset[Tag] = frozenset()
    cpus: int = 0
    memory: int = 0
    instance_type: str | None = None
    fqdn: str | None = None
    started: datetime | None = None
    nics: tuple[Nic, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def data_center(self) -> str | None:
        """The name of the data centre; None when the cluster has none."""
        return self.cluster.data_center if self.cluster else None


class Unreadable(Struct, frozen=True):
    """A VM that exists but whose representation could not be understood, and why."""

    id: str
    name: str | None
    reason: str


# The engine's data of a VM in these is what was true before: the guest cannot be asked.
STALE_STATUSES = frozenset(
    {
        InstanceStatus.UNKNOWN,
        InstanceStatus.NOT_RESPONDING,
        InstanceStatus.UNASSIGNED,
    }
)


class Snapshot(Struct, frozen=True):
    """One complete listing of the selected instances of one engine.

    `taken` is the engine's clock and `started` the event loop's clock (seconds) when the listing
    started. `shared_addresses` are those that two running instances report at once: floating
    addresses of a service, which belong to no node.
    """

    engine: str
    engine_id: str
    taken: datetime
    started: float
    instances: Mapping[str, Instance]
    unreadable: Mapping[str, Unreadable] = field(default_factory=dict)
    shared_addresses: frozenset[IPAddress] = frozenset()


# ---- what the API server knows ---------------------------------------------------------------


class AddressType(StrEnum):
    """The types of node addresses (core/v1 NodeAddressType)."""

    HOSTNAME = "Hostname"
    INTERNAL_IP = "InternalIP"
    EXTERNAL_IP = "ExternalIP"
    INTERNAL_DNS = "InternalDNS"
    EXTERNAL_DNS = "ExternalDNS"


class NodeAddress(Struct, frozen=True):
    """One entry of `status.addresses`; the type is a plain string as others may write any."""

    type: str
    address: str


class Taint(Struct, frozen=True):
    """One entry of `spec.taints`; `time_added` is kept as it was written (RFC 3339)."""

    key: str
    effect: str
    value: str | None = None
    time_added: str | None = None


class Node(Struct, frozen=True):
    """A Kubernetes Node, as much of it as the program needs.

    `is_ready` is None while there is no Ready condition or its status is Unknown.
    `kubelet_version` is empty until a kubelet has used the Node.
    """

    name: str
    uid: str
    resource_version: str
    created: datetime | None = None
    provider_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    system_uuid: str = ""
    kubelet_version: str = ""
    is_ready: bool | None = None
    is_deleting: bool = False

    @property
    def is_uninitialized(self) -> bool:
        """Whether it carries the taint key of uninitialised nodes, whatever value or effect."""
        return TAINT_UNINITIALIZED in [taint.key for taint in self.taints]

    @property
    def is_ours(self) -> bool:
        """Whether the program registered or initialised it: it carries our annotation."""
        return ANNOTATION_ENGINE in self.annotations


# ---- what is to be written ---------------------------------------------------------------------


class Freshness(StrEnum):
    """How far the addresses of an instance can be trusted.

    LIVE: the guest reports them now. STALE: the guest cannot be asked now, what was known counts.
    SILENT: the instance is up and its guest has reported nothing yet. OVERDUE: silent for longer
    than `addresses.agent_grace`: there is no guest agent.
    """

    LIVE = "live"
    STALE = "stale"
    SILENT = "silent"
    OVERDUE = "overdue"


class Level(StrEnum):
    """How a notice is said: as an Event of this type, or not as an Event at all."""

    NORMAL = "Normal"
    WARNING = "Warning"
    WAITING = "Waiting"


class Notice(Struct, frozen=True):
    """Something to say about a node: an Event, or with WAITING only what `explain` shows."""

    level: Level
    reason: Reason
    message: str


class Wanted(Struct, frozen=True):
    """The labels and taints that rules want on a node, besides what others put there."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


NOTHING_WANTED = Wanted()


class InstanceMetadata(Struct, frozen=True):
    """What a node of this instance shall look like (InstanceMetadata of k8s.io/cloud-provider).

    `labels` are all that the program keeps true on the node: the pairs of type, zone and region
    and its own. `label_notices` say, by label, what had to be changed to make a value of a name;
    `notices` what could not be found out. `wanted` is what the rules give the node.
    """

    provider_id: str
    engine_id: str
    instance_type: str | None
    zone: str | None
    region: str | None
    addresses: tuple[NodeAddress, ...]
    freshness: Freshness
    labels: Mapping[str, str]
    is_migrating: bool = False
    label_notices: Mapping[str, Notice] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    wanted: Wanted = NOTHING_WANTED


class NodePatch(Struct, frozen=True):
    """What to write to one node; None and empty members are left as they are.

    `taints` is the whole list that shall remain. A label or annotation that is None goes.
    `changes` says in words what changes.
    """

    addresses: tuple[NodeAddress, ...] | None = None
    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    provider_id: str | None = None
    taints: tuple[Taint, ...] | None = None
    changes: tuple[str, ...] = ()

    @property
    def has_status(self) -> bool:
        """Whether something of it goes to the status subresource."""
        return self.addresses is not None

    @property
    def has_main(self) -> bool:
        """Whether something of it goes to the main resource."""
        return bool(self.labels or self.annotations or self.provider_id or self.taints is not None)


class NewNode(Struct, frozen=True):
    """A Node to register for an instance whose kubelet has not come, and what to say on it."""

    name: str
    provider_id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Taint, ...]
    addresses: tuple[NodeAddress, ...]
    notices: tuple[Notice, ...] = ()
