"""What is to be written to a node, and what to say about it.

Planning is comparing: what is as it shall be is not written, and a node that nothing is wanted
of gets no patch. Whatever others wrote stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from provider.decisions.addresses import InvalidNodeIPs, parse_provided_ips, prefer_node_ips
from provider.decisions.metadata import LABELS
from provider.decisions.rules import settle
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    ANNOTATION_PROVIDED_NODE_IP,
    TAINT_UNINITIALIZED,
    AddressType,
    Freshness,
    Level,
    NodeAddress,
    NodePatch,
    Notice,
)
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provider.decisions.addresses import IPAddress
    from provider.decisions.rules import Settlement
    from provider.model import InstanceMetadata, Node


class Plan(Struct, frozen=True):
    """The outcome of planning one node: at most one patch, and what to say.

    With a patch, what is said is true once it is written.
    """

    patch: NodePatch | None = None
    notices: tuple[Notice, ...] = ()


def plan(node: Node, metadata: InstanceMetadata) -> Plan:
    """What brings `node` to `metadata`; nothing for a node that is not the program's to change.

    That are those with the taint of uninitialised nodes, and those that it has registered or
    initialised. The taint goes only when the node has an InternalIP then: kubelets and the
    network rely on it (kubernetes/kubernetes#120720). An initialised node is left alone while its
    instance migrates.
    """
    if node.is_deleting or not _is_managed(node):
        return Plan()
    if metadata.is_migrating and not node.is_uninitialized:
        return Plan()
    choice = _choose_addresses(node, metadata)
    if node.is_uninitialized and not has_internal_ip(choice.addresses or ()):
        return Plan(notices=choice.notices)
    rules = settle(node, metadata.wanted)
    notices = (*choice.notices, *rules.notices)
    labels = _different_labels(node, metadata)
    changes = (*_changes(node, metadata, choice.addresses, labels), *_rule_changes(rules))
    if node.is_uninitialized:
        changes = (*changes, _Change(Reason.SYNCED, f"taint {TAINT_UNINITIALIZED}: removed"))
    if not changes:
        return Plan(notices=notices)
    patch = _patch(node, metadata, choice.addresses, labels, rules, changes)
    return Plan(patch, (*_said(node, metadata, patch, changes), *notices))


def apply(node: Node, patch: NodePatch, resource_version: str | None = None) -> Node:
    """`node` as it is once `patch` is written, at this version if one is named."""
    labels = {**node.labels, **patch.labels}
    annotations = {**node.annotations, **patch.annotations}
    return replace(
        node,
        resource_version=resource_version or node.resource_version,
        addresses=node.addresses if patch.addresses is None else patch.addresses,
        labels={key: value for key, value in labels.items() if value is not None},
        annotations={key: value for key, value in annotations.items() if value is not None},
        provider_id=patch.provider_id or node.provider_id,
        taints=node.taints if patch.taints is None else patch.taints,
    )


def has_internal_ip(addresses: Iterable[NodeAddress]) -> bool:
    """Whether one of `addresses` is an InternalIP."""
    return any(address.type == AddressType.INTERNAL_IP for address in addresses)


def _is_managed(node: Node) -> bool:
    return node.is_uninitialized or node.is_ours


class _Change(Struct, frozen=True):
    """One thing that changes, in words, and the reason of the Event that tells it."""

    reason: Reason
    text: str


# What is called so (as in LABELS), and those of its labels that are not as they shall be.
_Different = tuple[tuple[str, tuple[str, ...]], ...]

_LABEL_REASONS = {
    "instance type": Reason.INSTANCE_TYPE_CHANGED,
    "zone": Reason.ZONE_CHANGED,
    "region": Reason.REGION_CHANGED,
    "host": Reason.HOST_CHANGED,
    "cluster": Reason.CLUSTER_CHANGED,
    "data center": Reason.DATA_CENTER_CHANGED,
}


def _changes(
    node: Node,
    metadata: InstanceMetadata,
    addresses: tuple[NodeAddress, ...] | None,
    labels: _Different,
) -> Iterator[_Change]:
    if addresses is not None and addresses != node.addresses:
        text = f"addresses: {_words(node.addresses)} -> {_words(addresses)}"
        yield _Change(Reason.ADDRESSES_CHANGED, text)
    for what, different in labels:
        old, new = node.labels.get(different[0]), metadata.labels[different[0]]
        yield _Change(_LABEL_REASONS[what], f"{what}: {old or 'none'} -> {new}")
    if not node.provider_id:
        yield _Change(Reason.PROVIDER_ID_WRITTEN, f"providerID: none -> {metadata.provider_id}")
    recorded = node.annotations.get(ANNOTATION_ENGINE)
    if recorded != metadata.engine_id:
        text = f"engine: {recorded or 'none'} -> {metadata.engine_id}"
        yield _Change(Reason.ENGINE_RECORDED, text)


def _rule_changes(rules: Settlement) -> Iterator[_Change]:
    return (_Change(Reason.RULES_APPLIED, text) for text in rules.changes)


def _patch(
    node: Node,
    metadata: InstanceMetadata,
    addresses: tuple[NodeAddress, ...] | None,
    labels: _Different,
    rules: Settlement,
    changes: tuple[_Change, ...],
) -> NodePatch:
    annotations = {ANNOTATION_ENGINE: metadata.engine_id, ANNOTATION_APPLIED: rules.record}
    taints = tuple(taint for taint in rules.taints if taint.key != TAINT_UNINITIALIZED)
    return NodePatch(
        addresses=None if addresses == node.addresses else addresses,
        labels={**_whole_pairs(labels, metadata), **rules.labels},
        annotations={k: v for k, v in annotations.items() if node.annotations.get(k) != v},
        provider_id=None if node.provider_id else metadata.provider_id,
        taints=None if taints == node.taints else taints,
        changes=tuple(change.text for change in changes),
    )


def _whole_pairs(different: _Different, metadata: InstanceMetadata) -> dict[str, str]:
    """The labels to write: all of a pair when one of them is not as it shall be."""
    wanted = metadata.labels
    whole = (label for what, _ in different for label in LABELS[what])
    return {label: wanted[label] for label in whole if label in wanted}


def _different_labels(node: Node, metadata: InstanceMetadata) -> _Different:
    """What is not as it shall be, and by which of its labels."""
    has, wanted = node.labels, metadata.labels
    if wanted.items() <= has.items():  # as at nearly every look
        return ()
    different = (
        (what, tuple(one for one in labels if one in wanted and has.get(one) != wanted[one]))
        for what, labels in LABELS.items()
    )
    return tuple((what, labels) for what, labels in different if labels)


def _said(
    node: Node, metadata: InstanceMetadata, patch: NodePatch, changes: tuple[_Change, ...]
) -> Iterator[Notice]:
    if node.is_uninitialized:
        message = f"initialised from {metadata.provider_id}: {'; '.join(patch.changes)}"
        yield Notice(Level.NORMAL, Reason.SYNCED, message)
        yield from metadata.notices
    else:
        for change in changes:
            yield Notice(Level.NORMAL, change.reason, change.text)
    told = (metadata.label_notices.get(label) for label in patch.labels)
    yield from dict.fromkeys(notice for notice in told if notice)


# ---- addresses -------------------------------------------------------------------------------


class _Choice(Struct, frozen=True):
    """The addresses that the node shall have, and what to say about them.

    None leaves those that it has; an uninitialised node then has to wait.
    """

    addresses: tuple[NodeAddress, ...] | None
    notices: tuple[Notice, ...] = ()


def _choose_addresses(node: Node, metadata: InstanceMetadata) -> _Choice:
    provided = _provided_ips(node)
    if isinstance(provided, InvalidNodeIPs):
        message = f"annotation {ANNOTATION_PROVIDED_NODE_IP}: {provided.reason}"
        return _Choice(None, (Notice(Level.WARNING, Reason.PROVIDED_NODE_IP_INVALID, message),))
    is_known = has_internal_ip(metadata.addresses)
    match metadata.freshness:
        case Freshness.LIVE if is_known:
            return _from_engine(node, metadata.addresses, provided)
        case Freshness.OVERDUE:
            return _without_agent(node, provided)
        case Freshness.STALE if has_internal_ip(node.addresses):
            return _Choice(node.addresses)
        case Freshness.STALE if is_known:
            return _from_engine(node, metadata.addresses, provided)
    return _Choice(None, (_waiting(metadata),) if node.is_uninitialized else ())


def _provided_ips(node: Node) -> tuple[IPAddress, ...] | InvalidNodeIPs:
    annotation = node.annotations.get(ANNOTATION_PROVIDED_NODE_IP)
    return () if annotation is None else parse_provided_ips(annotation)


def _waiting(metadata: InstanceMetadata) -> Notice:
    missing = {
        Freshness.LIVE: "the guest reports no address that can be the node's InternalIP",
        Freshness.SILENT: "the guest agent has reported nothing yet",
    }.get(metadata.freshness, "neither the kubelet nor the engine knows an InternalIP")
    return Notice(Level.WAITING, Reason.NO_INTERNAL_IP, missing)


def _from_engine(
    node: Node, known: tuple[NodeAddress, ...], provided: tuple[IPAddress, ...]
) -> _Choice:
    """The engine's addresses, the kubelet's preferred ones first, and the kubelet's host names."""
    preferred = prefer_node_ips(known, provided)
    if preferred is None:
        wanted = ", ".join(map(str, provided))
        message = f"the kubelet was told to use {wanted}, the guest has {_words(known)}"
        return _Choice(None, (Notice(Level.WARNING, Reason.ADDRESS_MISMATCH, message),))
    hostnames = (a for a in node.addresses if a.type == AddressType.HOSTNAME)
    return _Choice((*preferred, *(name for name in hostnames if name not in preferred)))


def _without_agent(node: Node, provided: tuple[IPAddress, ...]) -> _Choice:
    """The kubelet's own InternalIP, else the one it was told to use: nobody else knows one."""
    told = tuple(NodeAddress(AddressType.INTERNAL_IP, str(ip)) for ip in provided)
    addresses = node.addresses if has_internal_ip(node.addresses) else (*told, *node.addresses)
    if not node.is_uninitialized:
        return _Choice(addresses)
    if has_internal_ip(addresses):
        outcome = "the kubelet's own address is taken until one does"
    else:
        outcome = "install one, or start the kubelet with --node-ip"
    message = f"no guest agent has reported anything: {outcome}"
    return _Choice(addresses, (Notice(Level.WARNING, Reason.NO_GUEST_AGENT, message),))


def _words(addresses: Iterable[NodeAddress]) -> str:
    return ", ".join(f"{address.type} {address.address}" for address in addresses) or "none"
