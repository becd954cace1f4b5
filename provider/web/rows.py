"""Instances and Nodes as rows: the documents that lists are made of."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from provider.decisions.explanation import identity_text
from provider.decisions.identity import Found, node_name, provider_id
from provider.decisions.members import Member
from provider.decisions.metadata import LABELS, describe
from provider.model import Instance, Unreadable
from provider.web.documents import Address, Candidate, InstanceRow, NodeRow

if TYPE_CHECKING:
    from provider.config import Config
    from provider.decisions.identity import Match
    from provider.model import InstanceMetadata, Node, Snapshot

_OWN_MEMBERS = frozenset(
    label for what in ("instance type", "zone", "region") for label in LABELS[what]
)

encode = msgspec.json.Encoder().encode


class Row(Struct, frozen=True):
    """An instance as it is served: `body` is `document` in JSON, `text` what `q` looks into.

    `metadata` is in JSON what its node carries, without its end: the moment that it is as of.
    None for a VM that cannot be understood. `etag` is another as soon as one of both is, and the
    same on every replica.
    """

    member: Member
    document: InstanceRow
    body: bytes
    text: str
    metadata: bytes | None
    etag: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it stands in a list: by name, then id; the engine for ids that two have."""
        return self.document.name, self.document.id, self.document.engine


def instance_row(
    vm: Instance | Unreadable, snapshot: Snapshot, node: NodeRow | None, config: Config
) -> Row:
    """The row of `vm`, a member of `snapshot`, which `node` is."""
    document = InstanceRow(
        engine=snapshot.engine,
        id=vm.id,
        name=vm.name or "",
        provider_id=provider_id(vm.id),
        **_node_members(node),
        node_name=node_name(vm).name,
    )
    if isinstance(vm, Unreadable):
        document = msgspec.structs.replace(document, unreadable=vm.reason)
        return _row(Member(snapshot.engine, vm), document)
    metadata = describe(vm, snapshot, config)
    document = msgspec.structs.replace(
        document,
        status=vm.status,
        instance_type=metadata.instance_type,
        zone=metadata.zone,
        region=metadata.region,
        cluster=vm.cluster.name if vm.cluster else None,
        data_center=vm.data_center,
        host=vm.host,
        tags=tuple(sorted({tag.name for tag in vm.tags})),
        addresses=tuple(Address(type=a.type, address=a.address) for a in metadata.addresses),
        fqdn=vm.fqdn,
        cpus=vm.cpus,
        memory=vm.memory,
        started=vm.started,
    )
    member = Member(snapshot.engine, vm, metadata.addresses)
    return _row(member, document, _metadata(metadata, document))


def with_node(row: Row, node: NodeRow | None) -> Row:
    """The row of a VM that has not changed, which another Node is now."""
    document = msgspec.structs.replace(row.document, **_node_members(node))
    return _row(row.member, document, row.metadata)


def _node_members(node: NodeRow | None) -> dict[str, Any]:
    return {
        "node": node.name if node else None,
        "managed": node is not None and node.managed,
    }


def _row(member: Member, document: InstanceRow, metadata: bytes | None = None) -> Row:
    addresses = (one.address for one in document.addresses)
    words = document.name, document.id, document.fqdn or "", *addresses
    text, body = "\n".join(words).casefold(), encode(document)
    etag = blake2b(body + (metadata or b""), digest_size=12).hexdigest()
    return Row(member, document, body, text, metadata, etag)


def _metadata(metadata: InstanceMetadata, document: InstanceRow) -> bytes:
    """What k8s.io/cloud-provider knows of an instance; text that is not known is empty there."""
    labels = {**metadata.labels, **metadata.wanted.labels}
    whole = {
        "providerID": metadata.provider_id,
        "instanceType": metadata.instance_type or "",
        "nodeAddresses": document.addresses,
        "zone": metadata.zone or "",
        "region": metadata.region or "",
        "additionalLabels": {k: v for k, v in sorted(labels.items()) if k not in _OWN_MEMBERS},
    }
    return encode(whole)


def node_row(node: Node, match: Match) -> NodeRow:
    """The row of `node`, of which `match` says what it is."""
    vm = match.instance if isinstance(match, Found) else None
    return NodeRow(
        name=node.name,
        ready=node.is_ready,
        managed=node.is_ours,
        initialized=not node.is_uninitialized,
        deleting=node.is_deleting,
        provider_id=node.provider_id,
        match=type(match).__name__.lower(),
        instance=Candidate(engine=vm.engine, id=vm.id, name=vm.name) if vm else None,
        rule=match.rule if isinstance(match, Found) else None,
        reason=None if vm else identity_text(match),
    )
