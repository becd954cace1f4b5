"""`follow=`: linked objects and lists put into an answer, all of them or a 500."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from provider.simulator.documents import (
    network_document,
    statistic_documents,
    vnic_profile_document,
)
from provider.simulator.infrastructure import (
    cluster_document,
    data_center_document,
    host_document,
    instance_type_document,
)
from provider.simulator.replies import crash
from provider.simulator.versions import link_names
from provider.simulator.vm_document import device_documents, nic_document, vm_tag_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.simulator.encoding import Document
    from provider.simulator.machine import Vm
    from provider.simulator.objects import Cluster, Host, Network, Nic
    from provider.simulator.world import World

Tree = dict[str, "Tree"]


class Many(NamedTuple):
    """A followed list: the name of its elements, and each element with what it is made of."""

    name: str
    kind: str
    items: list[tuple[Any, Document]]


class One(NamedTuple):
    """A followed object."""

    kind: str
    thing: Any
    document: Document


def parse_follow(text: str) -> Tree:
    """The links of `a,b.c`, exactly as written: a blank is part of a name."""
    tree: Tree = {}
    for path in filter(None, text.split(",")):
        level = tree
        for name in path.split("."):
            level = level.setdefault(name, {})
    return tree


def follow(
    world: World, kind: str, thing: object, document: Document, tree: Tree, turn: int = 0
) -> None:
    """Fill the followed links into the document; the 500 page when one cannot be resolved."""
    for name, below in tree.items():
        member, found = _resolve(world, kind, thing, name, turn)
        if isinstance(found, One):
            follow(world, found.kind, found.thing, found.document, below, turn)
            document[member] = found.document
            continue
        for child, child_document in found.items:
            follow(world, found.kind, child, child_document, below, turn)
        items = [item for _, item in found.items]
        document[member] = {found.name: items} if items else {}


def _resolve(
    world: World, kind: str, thing: Any, name: str, turn: int
) -> tuple[str, Many | One]:  # any object of the world
    member = link_names(world.version).get(name, "") if kind == "vm" else name
    resolver = _RESOLVERS.get(kind, {}).get(member)
    if resolver is None:
        raise crash(f"There is no link named {name}")
    if kind == "vm" and member in thing.broken_links:
        raise crash(f"Cannot follow {name}: the link is null")
    found = resolver(thing, world, turn)
    if found is None:
        raise crash(f'Cannot invoke "getHref()" because the link {name} is null')
    return member, found


def _nics(vm: Vm, _world: World, _turn: int) -> Many:
    return Many("nic", "nic", [((vm, nic), nic_document(vm, nic)) for nic in vm.nics])


def _devices(vm: Vm, _world: World, turn: int) -> Many:
    return Many("reported_device", "", [(None, d) for d in device_documents(vm, turn)])


def _tags(vm: Vm, _world: World, _turn: int) -> Many:
    return Many("tag", "", [(tag, vm_tag_document(vm, tag)) for tag in vm.tags])


def _statistics(vm: Vm, _world: World, _turn: int) -> Many:
    return Many("statistic", "", [(None, d) for d in statistic_documents(vm)])


def _nothing(name: str) -> Callable[[Any, World, int], Many]:
    return lambda _thing, _world, _turn: Many(name, "", [])


def _cluster(thing: Vm | Host, _world: World, _turn: int) -> One:
    return One("cluster", thing.cluster, cluster_document(thing.cluster))


def _host(vm: Vm, world: World, _turn: int) -> One | None:
    if not (vm.host and vm.is_dynamic):
        return None
    return One("host", vm.host, host_document(vm.host, world))


def _instance_type(vm: Vm, _world: World, _turn: int) -> One | None:
    kind = vm.instance_type
    return One("", kind, instance_type_document(kind)) if kind else None


def _data_center(thing: Cluster | Network, _world: World, _turn: int) -> One | None:
    found = thing.data_center
    return One("data_center", found, data_center_document(found)) if found else None


def _vnic_profile(pair: tuple[Vm, Nic], world: World, _turn: int) -> One | None:
    network = world.network_of(pair[0].cluster) if pair[1].has_profile else None
    return One("vnic_profile", network, vnic_profile_document(network)) if network else None


def _network(network: Network, _world: World, _turn: int) -> One:
    return One("network", network, network_document(network))


_RESOLVERS: Mapping[str, Mapping[str, Callable[[Any, World, int], Many | One | None]]] = {
    "vm": {
        "nics": _nics,
        "reported_devices": _devices,
        "tags": _tags,
        "statistics": _statistics,
        "applications": _nothing("application"),
        "affinity_labels": _nothing("affinity_label"),
        "cluster": _cluster,
        "host": _host,
        "instance_type": _instance_type,
    },
    "nic": {"vnic_profile": _vnic_profile},
    "vnic_profile": {"network": _network},
    "network": {"data_center": _data_center},
    "host": {"cluster": _cluster},
    "cluster": {"data_center": _data_center},
}
