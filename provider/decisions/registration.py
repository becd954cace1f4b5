"""Which instances get a Node although no kubelet has registered one, and which such Nodes go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.identity import (
    Foreign,
    Found,
    claimed_ids,
    find_instance,
    node_name,
    plausible_fqdn,
)
from provider.decisions.metadata import describe
from provider.decisions.plan import has_internal_ip
from provider.decisions.rules import record_of
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    ANNOTATION_HOLD,
    ANNOTATION_REGISTERED,
    AddressType,
    Instance,
    InstanceStatus,
    Level,
    NewNode,
    Node,
    NodeAddress,
    Notice,
    Taint,
)
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from provider.config import Config
    from provider.decisions.identity import Directory, NodeName
    from provider.model import InstanceMetadata, Snapshot

# A kubelet that has not come after this time is not on its way.
JOIN_PATIENCE = timedelta(hours=1)


class Refusal(Struct, frozen=True):
    """An instance that waits for a Node and gets none, and why."""

    instance: Instance
    notice: Notice


class Patience(Struct, frozen=True):
    """An instance that gets no Node now, and what it waits for."""

    instance: Instance
    reason: str


Prospect = NewNode | Refusal | Patience


def prospects(
    directory: Directory, nodes: Mapping[str, Node], config: Config
) -> Iterator[Prospect]:
    """What registration makes of each instance that no node claims; `nodes` are all, by name.

    An instance gets a Node when it has been up for `registration.delay`, so that its kubelet came
    first if it ever does, when it has an InternalIP, when its name belongs to it alone, and when
    no node could be it by any rule, be that node understood or not. Lazy: 5,000 at once would take
    a quarter of a second.
    """
    claimed = claimed_ids(nodes.values(), directory)
    return (
        _prospect(instance, snapshot, directory, nodes, config)
        for snapshot in directory.snapshots.values()
        for instance in snapshot.instances.values()
        if instance.id not in claimed
    )


def _prospect(
    instance: Instance,
    snapshot: Snapshot,
    directory: Directory,
    nodes: Mapping[str, Node],
    config: Config,
) -> Prospect:
    if reason := _not_due(instance, snapshot, config):
        return Patience(instance, reason)
    return _register(instance, snapshot, directory, nodes, config)


def _not_due(instance: Instance, snapshot: Snapshot, config: Config) -> str:
    if instance.status is not InstanceStatus.UP:
        return f"the VM is {instance.status or 'in a state that is not known'}"
    if instance.started is None:
        return "the engine does not say since when the VM is up"
    if config.registration.mode != "create":
        return "no node is it, and registration.mode is adopt: its kubelet has to register one"
    if snapshot.taken - instance.started < config.registration.delay:
        return "it is not up for registration.delay yet: its kubelet comes first"
    return ""


def _register(
    instance: Instance,
    snapshot: Snapshot,
    directory: Directory,
    nodes: Mapping[str, Node],
    config: Config,
) -> Prospect:
    name = node_name(instance)
    if refusal := refuse(instance, directory, config):
        return refusal
    if "" in directory.silent.values():
        return Patience(instance, "an engine that may have its name too is being asked")
    if node := nodes.get(name.name or ""):
        return _occupied(instance, node, directory)
    fqdn = plausible_fqdn(instance.fqdn)
    if fqdn in directory.by_fqdn and fqdn in nodes:
        return Patience(instance, f"the node {fqdn!r} could be it, by its FQDN")
    metadata = describe(instance, snapshot, config)
    if not has_internal_ip(metadata.addresses):
        return Patience(instance, "its guest reports no address that can be an InternalIP")
    return _new_node(instance, name, metadata, config)


def refuse(instance: Instance, directory: Directory, config: Config) -> Refusal | None:
    """Why `instance` never gets a Node, whatever it waits for: its name or its id is not its own.

    None when nothing is against it, and always when Nodes are not registered at all.
    """
    if config.registration.mode != "create":
        return None
    name = node_name(instance).name
    if name is None:
        message = f"no node name can be made of the VM name {instance.name!r}: rename the VM"
        return Refusal(instance, Notice(Level.WARNING, Reason.NODE_NAME_UNUSABLE, message))
    if len(directory.by_id[instance.id]) > 1:
        message = f"two engines have a VM with the id {instance.id}"
        return Refusal(instance, Notice(Level.WARNING, Reason.IDENTITY_AMBIGUOUS, message))
    if len(namesakes := directory.by_name[name]) > 1:
        vms = ", ".join(f"{one.name} ({one.id})" for one in namesakes)
        message = f"{len(namesakes)} VMs would be the node {name!r}: {vms}; rename all but one"
        return Refusal(instance, Notice(Level.WARNING, Reason.NODE_NAME_CLASH, message))
    return None


def _occupied(instance: Instance, node: Node, directory: Directory) -> Refusal | Patience:
    """A node of this name is the instance, or in doubt and told so, or another provider's."""
    if not isinstance(find_instance(node, directory), Foreign):
        return Patience(instance, f"the node {node.name!r} could be it, by its name")
    message = f"the node {node.name!r} belongs to another cloud provider"
    return Refusal(instance, Notice(Level.WARNING, Reason.NODE_NAME_TAKEN, message))


def _new_node(
    instance: Instance, name: NodeName, metadata: InstanceMetadata, config: Config
) -> NewNode:
    """The Node of `instance`, with all that its kubelet would not add to a Node that is there.

    A kubelet that finds its Node adds no taint, no label and no Hostname of its own.
    """
    text = name.name or ""
    annotations = {ANNOTATION_ENGINE: metadata.engine_id, ANNOTATION_REGISTERED: "true"}
    record = record_of(metadata.wanted)
    return NewNode(
        name=text,
        provider_id=metadata.provider_id,
        labels={**config.registration.labels, **metadata.wanted.labels, **metadata.labels},
        annotations=annotations | ({ANNOTATION_APPLIED: record} if record else {}),
        taints=_taints(metadata, config),
        addresses=(*metadata.addresses, NodeAddress(AddressType.HOSTNAME, text)),
        notices=tuple(_said(instance, name, metadata)),
    )


def _taints(metadata: InstanceMetadata, config: Config) -> tuple[Taint, ...]:
    """Those of the rules, and of `registration` what no rule has another value for."""
    parsed = config.registration.parsed_taints
    common = (Taint(key, effect, value) for key, value, effect in parsed)
    ruled = {(taint.key, taint.effect) for taint in metadata.wanted.taints}
    kept = (taint for taint in common if (taint.key, taint.effect) not in ruled)
    return (*kept, *metadata.wanted.taints)


def _said(instance: Instance, name: NodeName, metadata: InstanceMetadata) -> Iterator[Notice]:
    message = f"registered for VM {instance.name} ({instance.id}, engine {instance.engine})"
    yield Notice(Level.NORMAL, Reason.REGISTERED, message)
    if name.is_sanitised:
        message = f"the VM name {instance.name!r} is no node name: the node is {name.name!r}"
        yield Notice(Level.NORMAL, Reason.NODE_NAME_SANITISED, message)
    yield from dict.fromkeys(metadata.label_notices.values())
    yield from metadata.notices


# ---- Nodes that no kubelet uses --------------------------------------------------------------


class Superseded(Struct, frozen=True):
    """A Node to delete, as long as it has this uid, and what to say on it before."""

    node: Node
    notice: Notice


def superseded(nodes: Mapping[str, Node], directory: Directory) -> tuple[Superseded, ...]:
    """The registered Nodes that give way: a kubelet has registered their instance anew.

    Only those that no kubelet has ever used, and that nobody holds; `nodes` are all, by name.
    """
    unused = [node for node in nodes.values() if _is_unused(node) and not _is_held(node)]
    if not unused:
        return ()
    rivals = {}
    for node in nodes.values():
        if node.kubelet_version and isinstance(match := find_instance(node, directory), Found):
            rivals[match.instance.id] = node.name
    matches = ((node, find_instance(node, directory)) for node in unused)
    return tuple(
        Superseded(node, _superseded_by(rivals[match.instance.id]))
        for node, match in matches
        if isinstance(match, Found) and match.instance.id in rivals
    )


def _superseded_by(name: str) -> Notice:
    message = f"a kubelet has registered its VM as node {name!r}; no kubelet has used this one"
    return Notice(Level.NORMAL, Reason.NODE_SUPERSEDED, message)


def never_joined(node: Node, now: datetime) -> Notice | None:
    """A warning about a registered Node whose kubelet has not come for `JOIN_PATIENCE`.

    It is true from then on; whoever says it says it once a uid.
    """
    if not _is_unused(node) or node.created is None or now - node.created < JOIN_PATIENCE:
        return None
    message = (
        f"no kubelet has used it since it was registered at {node.created:%Y-%m-%d %H:%M} UTC:"
        " does the VM run a kubelet with this node name?"
    )
    return Notice(Level.WARNING, Reason.NODE_NEVER_JOINED, message)


def _is_unused(node: Node) -> bool:
    return ANNOTATION_REGISTERED in node.annotations and not node.kubelet_version


def _is_held(node: Node) -> bool:
    return node.annotations.get(ANNOTATION_HOLD) == "true"
