"""What an instance gives its node: type, zone, region, labels, addresses."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.addresses import instance_addresses
from provider.decisions.identity import provider_id
from provider.decisions.labels import label_value
from provider.decisions.rules import effects
from provider.model import (
    LABEL_CLUSTER,
    LABEL_DATA_CENTER,
    LABEL_HOST,
    LABEL_INSTANCE_TYPE,
    LABEL_INSTANCE_TYPE_BETA,
    LABEL_REGION,
    LABEL_REGION_BETA,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    Freshness,
    InstanceMetadata,
    InstanceStatus,
    Level,
    Notice,
)
from provider.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from provider.config import Config
    from provider.model import Instance, Snapshot

# ---- the description -------------------------------------------------------------------------

Names = tuple[str, ...]

# What a value is called, and the labels that carry it. A cloud controller of the framework takes
# the beta label for the truth, so both of a pair are always written together.
LABELS: Mapping[str, tuple[str, ...]] = {
    "instance type": (LABEL_INSTANCE_TYPE, LABEL_INSTANCE_TYPE_BETA),
    "zone": (LABEL_ZONE, LABEL_ZONE_BETA),
    "region": (LABEL_REGION, LABEL_REGION_BETA),
    "host": (LABEL_HOST,),
    "cluster": (LABEL_CLUSTER,),
    "data center": (LABEL_DATA_CENTER,),
}


def describe(instance: Instance, snapshot: Snapshot, config: Config) -> InstanceMetadata:
    """What the node of `instance`, a member of `snapshot`, shall look like.

    A value that is not known now, such as the host of a VM that is down or migrating, is left
    out: what the node says stays.
    """
    host = None if instance.status is InstanceStatus.MIGRATING else instance.host
    zone, notices = _zone(instance, host, config.topology.zone)
    labels = _labels(
        _names(_instance_type(instance)),
        zone,
        _names(_region(instance, config)),
        _names(host),
        _names(instance.cluster.name if instance.cluster else None),
        _names(instance.data_center),
    )
    rules = effects(instance, config.rules)
    return InstanceMetadata(
        provider_id=provider_id(instance.id),
        engine_id=instance.engine_id,
        instance_type=labels.values.get(LABEL_INSTANCE_TYPE),
        zone=labels.values.get(LABEL_ZONE),
        region=labels.values.get(LABEL_REGION),
        addresses=instance_addresses(instance, config.addresses, snapshot.shared_addresses),
        freshness=freshness(instance, snapshot.taken, config.addresses.agent_grace),
        labels=labels.values,
        is_migrating=instance.status is InstanceStatus.MIGRATING,
        label_notices={**labels.notices, **rules.notices},
        notices=notices,
        wanted=rules.wanted,
    )


class _Labels(Struct, frozen=True):
    """Values by label, and by label what had to be changed to make them of names."""

    values: Mapping[str, str]
    notices: Mapping[str, Notice]


@lru_cache(maxsize=4096)  # thousands of instances share a few combinations
def _labels(*names: Names) -> _Labels:
    """The labels of what is called so, in the order of `LABELS`; those of an empty name not."""
    values: dict[str, str] = {}
    notices: dict[str, Notice] = {}
    for (what, labels), parts in zip(LABELS.items(), names, strict=True):
        if parts:
            value = label_value(*parts)
            values |= dict.fromkeys(labels, value.text)
            if value.is_changed:
                notice = _changed(what, ".".join(parts), value.text)
                notices |= dict.fromkeys(labels, notice)
    return _Labels(values, notices)


def zone_of(instance: Instance, config: Config) -> str | None:
    """The zone label of the node of `instance`; None while it is not known."""
    host = None if instance.status is InstanceStatus.MIGRATING else instance.host
    zone, _ = _zone(instance, host, config.topology.zone)
    return label_value(*zone).text if zone else None


def _names(name: str | None) -> Names:
    return (name,) if name else ()


def _changed(what: str, name: str, value: str) -> Notice:
    message = f"{what} {name!r} is written as the label value {value!r}"
    return Notice(Level.NORMAL, Reason.LABEL_VALUE_CHANGED, message)


def _instance_type(instance: Instance) -> str | None:
    if instance.instance_type:
        return instance.instance_type
    if not instance.cpus or not instance.memory:
        return None
    return f"{instance.cpus}cpu-{instance.memory / (1 << 30):g}gb"


def _zone(instance: Instance, host: str | None, source: str) -> tuple[Names, tuple[Notice, ...]]:
    match source:
        case "cluster":
            return _cluster(instance), ()
        case "data_center":
            return _names(instance.data_center), ()
        case "host":
            return _names(host), ()
    return _zone_of_tags(instance, source.removeprefix("tag:"))


def _cluster(instance: Instance) -> Names:
    """The cluster's name, with its data centre's when another cluster is called alike."""
    cluster = instance.cluster
    if cluster and cluster.data_center and not cluster.has_unique_name:
        return cluster.data_center, cluster.name
    return _names(cluster.name if cluster else None)


def _zone_of_tags(instance: Instance, parent: str) -> tuple[Names, tuple[Notice, ...]]:
    match sorted(tag.name for tag in instance.tags if tag.parent == parent):
        case [zone]:
            return (zone,), ()
        case []:
            message = f"VM {instance.name} has no tag below the tag {parent}: its zone is unknown"
        case tags:
            message = f"VM {instance.name} has more than one tag below {parent}: {', '.join(tags)}"
    return (), (Notice(Level.WARNING, Reason.ZONE_UNKNOWN, message),)


def _region(instance: Instance, config: Config) -> str | None:
    if config.topology.region == "data_center":
        return instance.data_center
    return next((e.region for e in config.engines if e.name == instance.engine), None)


# ---- freshness -------------------------------------------------------------------------------

# The guest is on its way up: it has reported nothing, or the engine holds what it said before.
_STARTING = frozenset(
    {
        InstanceStatus.POWERING_UP,
        InstanceStatus.REBOOT_IN_PROGRESS,
        InstanceStatus.WAIT_FOR_LAUNCH,
    }
)


def freshness(instance: Instance, taken: datetime, agent_grace: timedelta) -> Freshness:
    """How far the addresses of `instance` can be trusted in a listing `taken` then.

    A guest agent reports up to 120 s late, and an engine keeps the last report of a VM that it
    cannot reach. Both times are the engine's.
    """
    has_report = bool(instance.interfaces or instance.fqdn)
    if instance.status is InstanceStatus.UP and has_report:
        return Freshness.LIVE
    if instance.status in _STARTING and not has_report:
        return Freshness.SILENT
    if instance.status is not InstanceStatus.UP:
        return Freshness.STALE
    is_overdue = instance.started is not None and taken - instance.started >= agent_grace
    return Freshness.OVERDUE if is_overdue else Freshness.SILENT
