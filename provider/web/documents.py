"""The documents of the lookup API, a frozen struct for each JSON shape.

What serves encodes these, what asks decodes them, and the OpenAPI document describes them. Unknown
members are ignored by whoever reads, so that a server may be newer than its client.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import Annotated

import msgspec
from msgspec import Meta, field

from provider.decisions.explanation import (  # noqa: TC001 - msgspec reads the annotations
    Explanation,
    Outlook,
    Remark,
)

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


# ---- engines ---------------------------------------------------------------------------------


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer knows of one engine.

    `as_of` is when the listing began that the answer rests on, null until the engine was listed
    once. `error` says why the engine cannot be asked now, null when the last listing succeeded or
    the first has not ended.
    """

    name: str
    as_of: datetime | None
    error: str | None


# ---- instances -------------------------------------------------------------------------------


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One node address; the type as in a Node's `status.addresses`."""

    type: str
    address: str


class InstanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One selected VM.

    `status` is the engine's own word, null when it gives none or one that is not known. When
    `unreadable` is not null the VM exists, and that is why nothing else is known of it. `node` is
    the Node that it certainly is, null when there is none; `managed` whether this controller
    registered or initialised that Node. `node_name` is the name that a Node of it would get.
    `addresses`, `zone`, `region` and `instance_type` are what a Node of it carries. `memory` is in
    bytes. `host`, `fqdn` and `started` (the engine's clock) are null while it is not running.
    """

    engine: str
    id: str
    name: str
    status: str | None = None
    unreadable: str | None = None
    node: str | None = None
    managed: bool = False
    node_name: str | None = None
    provider_id: str
    instance_type: str | None = None
    zone: str | None = None
    region: str | None = None
    cluster: str | None = None
    data_center: str | None = None
    host: str | None = None
    tags: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    fqdn: str | None = None
    cpus: Count = 0
    memory: Count = 0
    started: datetime | None = None


class InstanceAnswer(InstanceRow, frozen=True, kw_only=True):
    """One selected VM, and when the listing of its engine began that this rests on.

    It may be newer: single VMs are read between two listings.
    """

    as_of: datetime


class InstanceList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the VMs that fit, ordered by name and id.

    `total` counts all that fit. `continue` leads to the next page, null on the last.
    """

    engines: tuple[EngineState, ...]
    total: Count
    continue_: str | None = field(name="continue")
    instances: tuple[InstanceRow, ...]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """InstanceMetadata as k8s.io/cloud-provider has it: what a Node of the VM carries.

    `additionalLabels` are all labels but those of type, zone and region.
    """

    provider_id: str = field(name="providerID")
    instance_type: str = field(name="instanceType")
    node_addresses: tuple[Address, ...] = field(name="nodeAddresses")
    zone: str
    region: str
    additional_labels: dict[str, str] = field(name="additionalLabels")
    as_of: datetime


class Exists(msgspec.Struct, frozen=True, kw_only=True):
    """InstanceExists of k8s.io/cloud-provider.

    `selected` is false for a VM of which the engine said, when it was last asked for it alone,
    that it exists and is not selected. `exists` is false only when the engine said then that there
    is no such VM and `deletion.confirmations` complete listings lack it.
    """

    exists: bool
    selected: bool
    as_of: datetime


class Shutdown(msgspec.Struct, frozen=True, kw_only=True):
    """InstanceShutdown of k8s.io/cloud-provider: the VM is down, suspended or image_locked."""

    shutdown: bool
    status: str
    as_of: datetime


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One of several VMs that a key fits."""

    engine: str
    id: str
    name: str


# ---- zones -----------------------------------------------------------------------------------


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """VMs by what their status means.

    `running` is up, `changing` on its way up or down or elsewhere, `stopped` down, suspended or
    image_locked, `paused` paused; `unknown` is all of which the engine itself is not certain.
    """

    running: Count = 0
    changing: Count = 0
    stopped: Count = 0
    paused: Count = 0
    unknown: Count = 0


class ZoneCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What there is in one zone of one region; null where neither is known of a VM."""

    region: str | None
    zone: str | None
    instances: Count
    nodes: Count
    statuses: StatusCounts


class ZoneList(msgspec.Struct, frozen=True, kw_only=True):
    """The zones, ordered by region and zone."""

    engines: tuple[EngineState, ...]
    zones: tuple[ZoneCounts, ...]


# ---- nodes -----------------------------------------------------------------------------------


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One Node of the cluster and the VM that it is.

    `ready` is null while its kubelet says nothing. `managed` is whether this controller registered
    or initialised it, `initialized` whether it lacks the taint of uninitialised nodes. `match` is
    one of found, absent, ambiguous, foreign and unknown, `reason` says why it is not found, and
    `rule` by which rule it is.
    """

    name: str
    ready: bool | None
    managed: bool
    initialized: bool
    deleting: bool
    provider_id: str
    match: str
    instance: Candidate | None = None
    rule: str | None = None
    reason: str | None = None


class NodeItem(NodeRow, frozen=True, kw_only=True):
    """A Node in a list: `drift` is what would be written to it now, in words."""

    drift: tuple[str, ...]
    notices: tuple[Remark, ...]
    verdict: Outlook


class NodeList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the Nodes that fit, ordered by name.

    `leading` is whether this replica leads: only the leader asks the engine for proof, so that
    the verdicts of others may lag behind. `continue` leads to the next page, null on the last.
    """

    engines: tuple[EngineState, ...]
    leading: bool
    total: Count
    continue_: str | None = field(name="continue")
    nodes: tuple[NodeItem, ...]


class NodeAnswer(NodeItem, frozen=True, kw_only=True):
    """One Node and all that is to be said about it, as data and as text."""

    engines: tuple[EngineState, ...]
    leading: bool
    explanation: Explanation
    text: str


# ---- problems --------------------------------------------------------------------------------


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request has no other answer (RFC 9457); `type` names it for programs.

    `detail` is about this request and carries the remedy. `retry_after` is in seconds. Of an
    ambiguous key `candidates` are some and `total` is the number of all that fit.
    """

    type: str
    title: str
    status: int
    detail: str | None = None
    retry_after: Count | None = None
    candidates: tuple[Candidate, ...] = ()
    total: Count | None = None
