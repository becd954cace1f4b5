"""Worlds for the laws: small enough that names, ids and addresses meet by chance."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace

from provider.decisions.identity import directory
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_PROVIDED_NODE_IP,
    ANNOTATION_REGISTERED,
    LABEL_HOST,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    AddressType,
    Cluster,
    InstanceStatus,
    Interface,
    Nic,
    NodeAddress,
    Tag,
    Taint,
    Unreadable,
)
from tests.builders import (
    ENGINE_ID,
    NOW,
    UNINITIALIZED,
    config,
    engine,
    instance,
    node,
    snapshot,
    uuid_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.config import Config
    from provider.decisions.identity import Directory
    from provider.model import Instance, Node

T = TypeVar("T")

NAMES = ("a", "b", "A", "b.example.com", "ü", "c_")
IDS = tuple(uuid_of(name) for name in "abc")
RULES = (
    {
        "tag": "a",
        "labels": {"app": "a"},
        "taints": ["others:NoSchedule", "dedicated=a:NoSchedule"],
    },
    {"tag": "b", "labels": {"app": "b", "pool": "b"}, "taints": ["others=b:NoSchedule"]},
    {"custom_property": "rack", "label": "rack", "taints": ["timed=x:NoExecute"]},
    {"custom_property": "size", "value": "l", "labels": {"size": "large"}},
)
MACS = tuple(f"56:6f:00:00:00:0{digit}" for digit in range(3))
ENGINES = {"east": ENGINE_ID, "west": "west"}

ips = st.one_of(
    st.sampled_from(
        [ip_address(f"10.0.0.{last}") for last in range(1, 6)]
        + [ip_address(f"fd00::{last}") for last in range(1, 4)]
        + [ip_address(text) for text in ("203.0.113.7", "2001:db8::7", "127.0.0.1", "fe80::1")]
    ),
    st.ip_addresses(),
)
names = st.one_of(st.sampled_from(NAMES), st.text(max_size=64))


def structs(kind: Callable[..., T], *arguments: Any, **facts: Any) -> st.SearchStrategy[T]:
    """`st.builds` for a Struct: that would read annotations, which are for type checkers."""
    return st.builds(lambda *drawn, **named: kind(*drawn, **named), *arguments, **facts)


def _tuples(values: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=most).map(tuple)


interfaces = structs(
    Interface,
    name=st.sampled_from(["eth0", "eth1", "docker0", "br-ex", "lo"]),
    mac=st.sampled_from([None, *MACS]),
    addresses=_tuples(ips),
)
clusters = structs(
    Cluster,
    name=names,
    data_center=st.none() | names,
    has_unique_name=st.booleans(),
)
_running = st.sampled_from([timedelta(0), timedelta(seconds=90), timedelta(hours=1)])
instances = st.builds(
    instance,
    name=names,
    id=st.sampled_from(IDS),
    status=st.sampled_from([InstanceStatus.UP, InstanceStatus.UP, *InstanceStatus, None]),
    cluster=st.none() | clusters,
    host=st.none() | names,
    tags=st.frozensets(structs(Tag, name=names, parent=st.sampled_from([None, "rack"]))),
    cpus=st.integers(0, 4),
    instance_type=st.none() | names,
    fqdn=st.none() | st.sampled_from(["b.example.com", "short", "localhost.localdomain"]),
    started=st.none() | _running.map(lambda running: NOW - running),
    nics=_tuples(structs(Nic, name=st.just("nic"), mac=st.sampled_from([None, *MACS]))),
    interfaces=_tuples(interfaces),
    properties=st.sampled_from([(), (("rack", "ü"),), (("rack", ""), ("size", "l"))]),
)
unreadable = structs(
    Unreadable, id=st.sampled_from(IDS), name=st.none() | names, reason=st.just("odd")
)


@st.composite
def directories(draw: st.DrawFn) -> Directory:
    """What one or two engines have told; one of them may not have answered."""
    snapshots = []
    for name in draw(st.sampled_from([("east",), ("east", "west"), ("west",), ()])):
        facts: dict[str, Any] = {"engine": name, "engine_id": ENGINES[name]}
        there = {one.id: replace(one, **facts) for one in draw(st.lists(instances, max_size=3))}
        odd = [one for one in draw(st.lists(unreadable, max_size=1)) if one.id not in there]
        shared = draw(st.frozensets(ips, max_size=1))
        snapshots.append(
            snapshot(*there.values(), unreadable=odd, shared_addresses=shared, **facts)
        )
    configured = draw(st.sampled_from([("east",), ("east", "west")]))
    return directory(snapshots, dict.fromkeys(configured, ""), match_fqdn=draw(st.booleans()))


addresses = st.one_of(
    structs(NodeAddress, st.just(AddressType.HOSTNAME), st.sampled_from(["a", "b"])),
    structs(NodeAddress, st.just(AddressType.INTERNAL_IP), ips.map(str)),
    structs(NodeAddress, st.sampled_from([*AddressType, "Other"]), ips.map(str)),
)
_provider_ids = st.one_of(
    st.just(""),
    st.builds(
        str.__add__,
        st.sampled_from(["", "ovirt://", "ovirt:///", "ovirt-cloud-provider://", "aws://"]),
        st.sampled_from([*IDS, IDS[0].upper(), "i-0"]),
    ),
)
_labels = st.dictionaries(
    st.sampled_from([LABEL_ZONE, LABEL_ZONE_BETA, LABEL_HOST, "app", "kubernetes.io/os"]),
    st.sampled_from(["", "a", "b"]),
)
_annotations = st.fixed_dictionaries(
    {},
    optional={
        ANNOTATION_ENGINE: st.sampled_from([*ENGINES, ENGINE_ID, "gone"]),
        ANNOTATION_REGISTERED: st.just("true"),
        ANNOTATION_PROVIDED_NODE_IP: ips.map(str) | st.sampled_from(["10.0.0.1,fd00::1", "odd"]),
        "others": st.text(),
    },
)
_taints = st.lists(
    st.sampled_from(
        [
            UNINITIALIZED,
            replace(UNINITIALIZED, effect="NoExecute", value=None),
            Taint("others", "NoSchedule"),
            Taint("timed", "NoExecute", "x", "2026-05-04T12:00:00Z"),
        ]
    ),
    unique=True,
).map(tuple)

nodes = st.builds(
    node,
    name=st.sampled_from([*NAMES, "n"]),
    provider_id=_provider_ids,
    system_uuid=st.sampled_from(["", "odd", *IDS, IDS[0].upper(), IDS[1].replace("-", "")]),
    labels=_labels,
    annotations=_annotations,
    taints=_taints,
    addresses=st.lists(addresses, max_size=4, unique=True).map(tuple),
    kubelet_version=st.sampled_from(["", "v1.37.2"]),
    is_deleting=st.sampled_from([False, False, False, True]),
)
# Those that plans are made for, with what makes plans differ.
_internal = structs(NodeAddress, st.just(AddressType.INTERNAL_IP), ips.map(str))
managed_nodes = st.builds(
    node,
    labels=st.dictionaries(
        st.sampled_from([LABEL_ZONE, LABEL_ZONE_BETA, "app"]), st.sampled_from(NAMES[:3])
    ),
    annotations=st.fixed_dictionaries(
        {ANNOTATION_ENGINE: st.sampled_from(["east", ENGINE_ID])},
        optional={ANNOTATION_PROVIDED_NODE_IP: st.sampled_from(["10.0.0.1", "fd00::1,10.0.0.2"])},
    ),
    taints=_taints,
    addresses=st.lists(_internal | addresses, max_size=3, unique=True).map(tuple),
)
reporting_instances = st.builds(
    instance,
    status=st.sampled_from(
        [InstanceStatus.UP, InstanceStatus.UP, InstanceStatus.REBOOT_IN_PROGRESS]
    ),
    cluster=structs(Cluster, name=st.sampled_from(NAMES[:3])),
    nics=st.just(()),
    interfaces=_tuples(structs(Interface, name=st.just("eth0"), addresses=_tuples(ips))),
)
clusters_of_nodes: st.SearchStrategy[Mapping[str, Node]] = st.lists(nodes, max_size=4).map(
    lambda found: {one.name: one for one in found}
)


# Few instances under few names, and nodes that point at them by every rule at once.
close_directories = st.lists(
    st.builds(instance, name=st.sampled_from(["a", "b", "A"]), id=st.sampled_from(IDS)),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.id,
).map(lambda there: directory([snapshot(*there)], {"east": ""}, match_fqdn=False))
pointing_nodes = st.builds(
    node,
    name=st.sampled_from(["a", "b"]),
    provider_id=st.sampled_from(["", *IDS]),
    system_uuid=st.sampled_from(["", *IDS]),
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration of the two engines."""
    zone = draw(st.sampled_from(["cluster", "data_center", "host", "tag:rack"]))
    networks = st.sampled_from([[], ["10.0.0.0/30"], ["fd00::/64", "10.0.0.4/30"], ["::/0"]])
    return config(
        engines=[engine("east"), engine("west")],
        topology={"zone": zone, "region": draw(st.sampled_from(["engine", "data_center"]))},
        addresses={
            "families": draw(st.sampled_from([["ipv4"], ["ipv4", "ipv6"], ["ipv6", "ipv4"]])),
            "external": draw(networks),
            "exclude": draw(networks),
            "networks": draw(networks),
        },
        registration={"labels": {"pool": "x"}, "taints": ["dedicated:NoSchedule"]},
        rules=draw(st.lists(st.sampled_from(RULES), max_size=3)),
    )


@st.composite
def reports_in_two_orders(draw: st.DrawFn) -> tuple[Instance, Instance]:
    """One instance twice: interfaces and their addresses in different orders."""
    one = draw(instances)
    mixed = draw(st.permutations(one.interfaces))
    interfaces = tuple(
        replace(each, addresses=tuple(draw(st.permutations(each.addresses)))) for each in mixed
    )
    return one, replace(one, interfaces=interfaces)
