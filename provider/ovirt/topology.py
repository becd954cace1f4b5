"""The collections that VMs refer to by id: clusters, data centres, hosts, tags, instance types."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field

from provider.errors import ReplyUnusable
from provider.model import Cluster, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.ovirt import wire

ROOT_TAG = "00000000-0000-0000-0000-000000000000"


class Topology(Struct, frozen=True):
    """What the ids of one engine mean; `tags` holds each tag with all its ancestors."""

    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, frozenset[Tag]] = field(default_factory=dict)
    instance_types: Mapping[str, str] = field(default_factory=dict)
    tag_names: frozenset[str] = frozenset()


def join_clusters(
    clusters: list[wire.WireCluster], data_centers: list[wire.Named]
) -> dict[str, Cluster]:
    """The clusters by id, each with its data centre and whether its name is unambiguous."""
    names = {center.id: center.name for center in data_centers}
    centers = {c.id: names.get(c.data_center.id) if c.data_center else None for c in clusters}
    aliases = {c.id: _aliases(c.name, centers[c.id]) for c in clusters}
    used = Counter(alias for both in aliases.values() for alias in both)
    return {
        c.id: Cluster(c.name, centers[c.id], all(used[alias] == 1 for alias in aliases[c.id]))
        for c in clusters
    }


def _aliases(cluster: str, data_center: str | None) -> set[str]:
    return {cluster} if data_center is None else {cluster, f"{data_center}.{cluster}"}


def join_tags(engine: str, tags: list[wire.WireTag]) -> dict[str, frozenset[Tag]]:
    """Each tag by id with all its ancestors, without the root tag.

    ReplyUnusable when a tag has no parent: a VM that carries it could not be judged.
    """
    by_id = {tag.id: tag for tag in tags}
    return {tag.id: _lineage(engine, tag, by_id) for tag in tags if tag.id != ROOT_TAG}


def _lineage(engine: str, tag: wire.WireTag, by_id: Mapping[str, wire.WireTag]) -> frozenset[Tag]:
    found: set[Tag] = set()
    while tag.id != ROOT_TAG:
        if tag.parent is None or not tag.parent.id:
            raise ReplyUnusable(engine, f"the tag {tag.name} has no parent.")
        parent = by_id.get(tag.parent.id)
        is_top = parent is None or parent.id == ROOT_TAG
        own = Tag(tag.name, None if is_top or parent is None else parent.name)
        if parent is None or own in found:
            found.add(own)
            break
        found.add(own)
        tag = parent
    return frozenset(found)
