"""One complete and plausible listing of the selected VMs of an engine.

An engine answers a wrong search, an unknown tag or a lost permission with an empty or shorter
list, and a list is no snapshot: VMs come and go while it is made. So nothing counts as gone that
the engine has not said to be gone when asked for it alone.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from provider.errors import ListingImplausible, ReplyUnusable, SelectionInvalid
from provider.model import Instance, Snapshot, Unreadable
from provider.ovirt.changes import shared_addresses
from provider.ovirt.decode import Decoder
from provider.ovirt.departed import Departed, Word
from provider.ovirt.faults import InternalFault
from provider.ovirt.reads import Reads, together
from provider.ovirt.selection import carries_tag, is_selected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.config import Selection
    from provider.ovirt import wire
    from provider.ovirt.client import EngineClient
    from provider.ovirt.topology import Topology

_ATTEMPTS = 3  # listings whose pages contradict each other before it is given up
_OLDEST = (4, 2)  # the first engine that follows links
# VMs that a listing may overlook: pages shift when a VM is made or renamed meanwhile. More, and
# the listing is wrong.
_OVERLOOKED = 10
_CHUNK = 250  # VMs that are joined before others get their turn: about 6 ms when all are new

log = structlog.get_logger()

Member = Instance | Unreadable


class _Page(Struct, frozen=True):
    """The VMs of a page, how many the engine had on it, and whether they were read one by one."""

    vms: list[wire.Vm | Unreadable]
    length: int
    is_apart: bool = False


class Lister:
    """Makes listings of what `selection` selects, and reads single VMs of it.

    `departed` keeps what the engine said of VMs that turned out not to be selected.
    """

    def __init__(self, client: EngineClient, selection: Selection) -> None:
        self._client = client
        self._engine = client.engine.name
        self._selection = selection
        self._reads = Reads(client, selection)
        self._decoder = Decoder(self._engine)
        self._engine_id = ""
        self._identified_at = -1
        self._listed_id = ""  # of the engine that the decoder's topology is of
        self._count = 0
        self._is_apart = False
        self.pages_since: float | None = None
        self.departed = Departed()

    async def take(self, previous: Snapshot | None) -> Snapshot:
        """A snapshot of now.

        What is in `previous` and not in the list is asked for alone. `pages_since` is the loop's
        time at which the costly part began, None until then. EngineError when the listing is not
        complete; ListingImplausible when it must not be believed; SelectionInvalid when the tag
        does not exist.
        """
        started = asyncio.get_running_loop().time()
        self.pages_since = None
        self._client.pace.is_hurried = previous is None
        engine_id = await self._identify()
        self.departed.serve(engine_id)
        surroundings = await self._reads.surroundings()
        self._require_tag(surroundings.topology)
        self._decoder.use(engine_id, surroundings.topology)
        self._listed_id = engine_id
        self.pages_since = asyncio.get_running_loop().time()
        members = await self._members(await self._vms())
        if previous and previous.engine_id == engine_id:
            await self._confirm(previous, members)
        if await self._identify() != engine_id:
            raise self._is_another()
        self._decoder.keep(members.keys())
        self.departed.are_selected(members)
        instances = {i: m for i, m in members.items() if isinstance(m, Instance)}
        return Snapshot(
            engine=self._engine,
            engine_id=engine_id,
            taken=surroundings.taken or datetime.now(UTC),
            started=started,
            instances=instances,
            unreadable={i: m for i, m in members.items() if isinstance(m, Unreadable)},
            shared_addresses=shared_addresses(instances, previous),
        )

    def distrust(self, snapshot: Snapshot | None) -> None:
        """The engine was restored from a backup: it may have forgotten what is in `snapshot`."""
        listed = (*snapshot.instances, *snapshot.unreadable) if snapshot else ()
        self.departed.distrust(listed)

    async def read(self, instance_id: str, *, is_member: bool) -> Member | None:
        """One VM; None when it does not exist or is not selected.

        `is_member` says that it was in the last listing: then the configured search text counts
        as fulfilled. EngineError when it could not be asked, or when another engine answers than
        did the last listing.
        """
        answer = await self._ask(instance_id, is_member=is_member)
        word = answer if isinstance(answer, Word) else None
        self.departed.heard(instance_id, word)
        return None if isinstance(answer, Word) else answer

    async def _ask(self, instance_id: str, *, is_member: bool) -> Member | Word:
        vm = await self._reads.vm(instance_id)
        if self._listed_id and await self._identify() != self._listed_id:
            raise self._is_another()
        if vm is None:
            return Word.GONE
        member = self._decoder.instance(vm)
        if isinstance(member, Instance) and not self._is_selected(member):
            return Word.UNSELECTED
        if is_member or not self._selection.search:
            return member
        return member if await self._reads.is_found(instance_id) else Word.UNSELECTED

    async def is_gone(self, instance_id: str, engine_id: str) -> bool:
        """Whether the engine `engine_id` itself says that the VM does not exist, asked just now.

        EngineError when it does not say so clearly, or when another engine answers.
        """
        await self._require_engine(engine_id)
        reply = await self._client.find("read_vm", f"/vms/{instance_id}", {})
        await self._require_engine(engine_id)
        if reply is None:
            self.departed.heard(instance_id, Word.GONE)
        return reply is None

    async def _require_engine(self, engine_id: str) -> None:
        product = await self._reads.product()
        if (product.instance_id or self._engine) != engine_id:
            raise self._is_another()

    def _is_another(self) -> ListingImplausible:
        return ListingImplausible(self._engine, "another engine answers at its url now.")

    async def _identify(self) -> str:
        """The engine's own id; asked for once a log-in, as an engine may be replaced."""
        if self._identified_at == self._client.logins:
            return self._engine_id
        product = await self._reads.product()
        version = product.version
        if (version.major, version.minor) < _OLDEST:
            raise ReplyUnusable(
                self._engine,
                f"is oVirt {version.full_version or version.major}.",
                remedy="Version 4.2 or later is needed.",
            )
        self._engine_id = product.instance_id or self._engine
        self._identified_at = self._client.logins
        return self._engine_id

    def _require_tag(self, topology: Topology) -> None:
        if self._selection.tag not in topology.tag_names:
            raise SelectionInvalid(
                self._engine,
                f"has no tag {self._selection.tag}.",
                remedy="Make it and attach it to the Docker hosts: ovirt-ccm tag NAME…",
            )

    async def _vms(self) -> list[wire.Vm | Unreadable]:
        for _ in range(_ATTEMPTS):
            pages = await self._pages()
            vms = [vm for page in pages or () for vm in page.vms]
            if pages is not None and len({vm.id for vm in vms}) == len(vms):
                self._count = len(vms)
                self._say_whether_apart(is_apart=any(page.is_apart for page in pages))
                return vms
        raise ListingImplausible(
            self._engine, f"its list of VMs contradicted itself {_ATTEMPTS} times."
        )

    async def _pages(self) -> list[_Page] | None:
        """All pages up to the first that is not full; None when a later one is not empty."""
        size = self._client.limits.page_size
        pages: list[_Page] = []
        count = self._count // size + 1  # as many as the last listing had
        while True:
            first = len(pages) + 1
            pages += await together([self._page(first + i) for i in range(count)])
            is_short = [page.length < size for page in pages]
            if any(is_short):
                end = is_short.index(True) + 1
                return None if any(page.length for page in pages[end:]) else pages[:end]
            count = min(len(pages), self._client.limits.engine_requests)

    async def _page(self, number: int) -> _Page:
        try:
            page = await self._reads.page(number)
        except InternalFault:
            plain = await self._reads.plain_page(number)
            vms = [vm for one in plain if (vm := await self._alone(one)) is not None]
            return _Page(vms, len(plain), is_apart=True)
        return _Page(page, len(page))

    def _say_whether_apart(self, *, is_apart: bool) -> None:
        if is_apart and not self._is_apart:
            log.warning(
                "the engine fails on the details of some VM: its page is read VM by VM",
                engine=self._engine,
            )
        elif self._is_apart and not is_apart:
            log.info("the engine gives the details of all VMs again", engine=self._engine)
        self._is_apart = is_apart

    async def _alone(self, vm: wire.Vm | Unreadable) -> wire.Vm | Unreadable | None:
        """The VM read by itself; None when it is gone, unreadable when the engine fails on it."""
        try:
            return await self._reads.vm(vm.id)
        except InternalFault as error:
            return Unreadable(vm.id.lower(), vm.name, error.message)

    async def _members(self, vms: list[wire.Vm | Unreadable]) -> dict[str, Member]:
        """The members among `vms`; one that cannot be as it is listed is read alone first."""
        members: dict[str, Member] = {}
        doubtful: list[wire.Vm | Unreadable] = []
        for first in range(0, len(vms), _CHUNK):
            async with self._client.pace.step():
                for vm in vms[first : first + _CHUNK]:
                    if (member := self._as_listed(vm)) is None:
                        doubtful.append(vm)
                    elif self._is_member(member):
                        members[member.id] = member
        for vm in doubtful:
            if (alone := await self._alone(vm)) is None:
                continue
            known = self._decoder.instance(alone)
            if self._is_member(known):
                members[known.id] = known
        return members

    def _as_listed(self, vm: wire.Vm | Unreadable) -> Member | None:
        """What a listed VM is, or None when that must be asked.

        A VM that is removed while the list is made comes with its old status and without cards,
        interfaces and tags (seen on engine 4.5.8), and one that was found by a tag carries it.
        """
        if not _is_whole(vm):
            return None
        member = self._decoder.instance(vm)
        is_sound = isinstance(member, Unreadable) or carries_tag(member, self._selection)
        return member if is_sound else None

    def _is_member(self, member: Member) -> bool:
        return isinstance(member, Unreadable) or self._is_selected(member)

    def _is_selected(self, instance: Instance) -> bool:
        return is_selected(instance, self._selection)

    async def _confirm(self, previous: Snapshot, members: dict[str, Member]) -> None:
        """Asks for each VM that is missing now; adds to `members` what was only overlooked."""
        overlooked = 0
        known: Iterable[Member] = (*previous.instances.values(), *previous.unreadable.values())
        for missing in [member for member in known if member.id not in members]:
            try:
                member = await self.read(missing.id, is_member=False)
            except InternalFault as error:
                member = Unreadable(missing.id, missing.name, error.message)
            if member is None:
                self.departed.was_called(missing.id, missing.name)
                continue
            members[member.id] = member
            overlooked += 1
            if overlooked > _OVERLOOKED:
                raise ListingImplausible(
                    self._engine,
                    f"more than {_OVERLOOKED} VMs that exist and are selected are missing in its"
                    " list.",
                    remedy="Check the tag and the account's permissions; the engine's cache of"
                    " searches is renewed by its restart.",
                )


def _is_whole(vm: wire.Vm | Unreadable) -> bool:
    """Whether a listed VM came with all that was asked for; what is unreadable stays so."""
    if isinstance(vm, Unreadable):
        return True
    return not (vm.nics is None or vm.reported_devices is None or vm.tags is None)
