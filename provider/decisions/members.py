"""The members of all listings by everything that they can be asked for by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provider.decisions.addresses import ip_text
from provider.decisions.identity import node_name
from provider.model import AddressType, Instance, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provider.decisions.identity import Candidate
    from provider.model import IPAddress, NodeAddress

    Places = dict[Any, dict[str, "Member"]]
    Members = Mapping[str, "Member"]

_IP_TYPES = frozenset({AddressType.INTERNAL_IP, AddressType.EXTERNAL_IP})


@dataclass(frozen=True, slots=True)
class Member:
    """A readable or unreadable VM of one engine, and the addresses that its node has.

    Its IP addresses are among those that its guest reports.
    """

    engine: str
    instance: Candidate
    addresses: tuple[NodeAddress, ...] = ()
    key: str = field(init=False)
    """What no other member has: an id may be in two engines, after a restore or an import."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", member_key(self.engine, self.instance.id))


def member_key(engine: str, instance_id: str) -> str:
    """The key of a member: the engine's configured name and the VM's id."""
    return f"{engine}/{instance_id}"


class Index:
    """Members by id, by their names, by the names of their nodes and by addresses.

    `by_address` are those that a node has, `by_report` all others that guests report, but for
    link-local ones. `unreadable` are the members that could not be understood.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._by_id: Places = {}
        self._by_name: Places = {}
        self._by_node_name: Places = {}
        self._by_address: Places = {}
        self._by_report: Places = {}
        self._unreadable: dict[str, Member] = {}
        self.members: Members = self._members
        self.by_id: Mapping[str, Members] = self._by_id
        self.by_name: Mapping[str, Members] = self._by_name
        self.by_node_name: Mapping[str, Members] = self._by_node_name
        self.by_address: Mapping[IPAddress, Members] = self._by_address
        self.by_report: Mapping[IPAddress, Members] = self._by_report
        self.unreadable: Members = self._unreadable

    def member(self, engine: str, instance_id: str) -> Member | None:
        """The member of this engine with this id."""
        return self._members.get(member_key(engine, instance_id))

    def put(self, member: Member) -> None:
        """Take the member in, in place of what it was before."""
        self.remove(member.key)
        self._members[member.key] = member
        if isinstance(member.instance, Unreadable):
            self._unreadable[member.key] = member
        for index, key in self._places(member):
            index.setdefault(key, {})[member.key] = member

    def remove(self, key: str) -> None:
        """Forget the member with this key, if there is one."""
        member = self._members.pop(key, None)
        if member is None:
            return
        self._unreadable.pop(key, None)
        for index, place in self._places(member):
            index[place].pop(key, None)
            if not index[place]:
                del index[place]

    def _places(self, member: Member) -> Iterator[tuple[Places, object]]:
        vm = member.instance
        yield self._by_id, vm.id
        if vm.name:
            yield self._by_name, vm.name
        if name := node_name(vm).name:
            yield self._by_node_name, name
        own = {a.address for a in member.addresses if a.type in _IP_TYPES}
        for address in _reported(vm):
            if ip_text(address) in own:
                yield self._by_address, address
            elif not (address.is_link_local or address.is_loopback):
                yield self._by_report, address


def _reported(vm: Candidate) -> set[IPAddress]:
    if not isinstance(vm, Instance):
        return set()
    return {address for one in vm.interfaces for address in one.addresses}
