"""Replies of a running engine 4.5.8, byte for byte, and what is read from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from provider.ovirt import wire
from provider.ovirt.decode import Decoder
from provider.ovirt.topology import Topology, join_clusters, join_tags

DIRECTORY = Path(__file__).parents[1] / "data" / "engine-4.5.8"
FOLLOWED_LIST = "026-vms-search-tag-follow.json"


@cache
def body(name: str) -> bytes:
    """The body of one recording."""
    return (DIRECTORY / name).read_bytes()


@cache
def topology() -> Topology:
    """The clusters, data centres, hosts, tags and instance types of that engine."""
    tags = wire.read("east", wire.Tags, body("070-tags.json")).tag
    clusters = wire.read("east", wire.Clusters, body("076-clusters.json")).cluster
    centers = wire.read("east", wire.DataCenters, body("077-datacenters.json")).data_center
    hosts = wire.read("east", wire.Hosts, body("074-hosts.json")).host
    kinds = wire.read("east", wire.InstanceTypes, body("078-instancetypes.json")).instance_type
    return Topology(
        clusters=join_clusters(clusters, centers),
        hosts={host.id: host.name for host in hosts},
        tags=join_tags("east", tags),
        instance_types={kind.id: kind.name for kind in kinds},
        tag_names=frozenset(tag.name for tag in tags),
    )


def decoder() -> Decoder:
    """A decoder that knows that engine's topology and no VM."""
    decoder = Decoder("east")
    decoder.use("the-engine", topology())
    return decoder
