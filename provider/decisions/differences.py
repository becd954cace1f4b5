"""What a patch makes of a node, line by line, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.decisions.identity import Found
from provider.decisions.plan import apply
from provider.decisions.rules import effects, taint_text
from provider.model import (
    ANNOTATION_APPLIED,
    ANNOTATION_ENGINE,
    LABEL_CLUSTER,
    LABEL_DATA_CENTER,
    LABEL_HOST,
    LABEL_INSTANCE_TYPE,
    LABEL_INSTANCE_TYPE_BETA,
    LABEL_REGION,
    LABEL_REGION_BETA,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    TAINT_UNINITIALIZED,
    Freshness,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.config import Config
    from provider.decisions.decision import Decision
    from provider.model import Node

    Reasons = dict[str, str]

_GONE = "no rule wants it any more"


class Difference(Struct, frozen=True):
    """A line of a diff: ` ` stays, `-` goes, `+` comes; `why` is said of what comes or goes."""

    sign: str
    text: str
    why: str = ""


def differences(node: Node, decision: Decision, config: Config) -> tuple[Difference, ...]:
    """What the planned patch makes of `node`, in the node's order; () without a patch."""
    patch = decision.plan.patch
    if patch is None:
        return ()
    return tuple(_lines(node, apply(node, patch), _reasons(decision, config)))


def _lines(before: Node, after: Node, reasons: Reasons) -> Iterator[Difference]:
    if before.provider_id != after.provider_id:
        yield Difference("+", f"providerID {after.provider_id}", reasons["providerID"])
    if before.addresses != after.addresses:
        yield from _address_lines(before, after, reasons["addresses"])
    yield from _map_lines("label", before.labels, after.labels, reasons)
    yield from _map_lines("annotation", before.annotations, after.annotations, reasons)
    yield from _taint_lines(before, after, reasons)


def _address_lines(before: Node, after: Node, why: str) -> Iterator[Difference]:
    """The list is written whole, so that its order counts too."""
    for address in before.addresses:
        if address not in after.addresses:
            yield Difference("-", f"address {address.type} {address.address}", why)
    for address in after.addresses:
        text = f"address {address.type} {address.address}"
        is_old = address in before.addresses
        yield Difference(" ", text) if is_old else Difference("+", text, why)


def _map_lines(what: str, before: Any, after: Any, reasons: Reasons) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        if before.get(key) == after.get(key):
            continue
        if key in before:
            yield Difference("-", f"{what} {key}={before[key]}", "" if key in after else _GONE)
        if key in after:
            yield Difference("+", f"{what} {key}={after[key]}", reasons.get(key, ""))


def _taint_lines(before: Node, after: Node, reasons: Reasons) -> Iterator[Difference]:
    for taint in before.taints:
        if taint not in after.taints:
            is_ruled = taint.key != TAINT_UNINITIALIZED
            why = _GONE if is_ruled else reasons["taint"]
            yield Difference("-", f"taint {taint_text(taint)}", why)
    for taint in after.taints:
        if taint not in before.taints:
            text = taint_text(taint)
            yield Difference("+", f"taint {text}", reasons.get(text, ""))


def _reasons(decision: Decision, config: Config) -> Reasons:
    """Why each thing is as it is, by its key."""
    topology = config.topology
    vm = decision.match.instance if isinstance(decision.match, Found) else None
    kind = "the VM's instance type" if vm and vm.instance_type else "the VM's CPUs and memory"
    by_labels = {
        kind: (LABEL_INSTANCE_TYPE, LABEL_INSTANCE_TYPE_BETA),
        f"topology.zone is {topology.zone}": (LABEL_ZONE, LABEL_ZONE_BETA),
        f"topology.region is {topology.region}": (LABEL_REGION, LABEL_REGION_BETA),
        "the hypervisor that the VM runs on": (LABEL_HOST,),
        "the VM's cluster": (LABEL_CLUSTER,),
        "the cluster's data centre": (LABEL_DATA_CENTER,),
        "records the engine, and that the node is ours": (ANNOTATION_ENGINE,),
        "records which labels and taints are the rules'": (ANNOTATION_APPLIED,),
    }
    reasons = {label: why for why, labels in by_labels.items() for label in labels}
    origins = effects(vm, config.rules).origins if vm else {}
    reasons |= {key: f"rule: {origin}" for key, origin in origins.items()}
    reasons["providerID"] = "the VM's id"
    reasons["taint"] = "an InternalIP is known: the node can be used"
    reasons["addresses"] = _address_reason(decision)
    return reasons


def _address_reason(decision: Decision) -> str:
    match decision.metadata.freshness if decision.metadata else None:
        case Freshness.LIVE:
            return "the guest reports it now"
        case Freshness.OVERDUE:
            return "no guest agent: the kubelet's own"
    return "last reported by the guest"
