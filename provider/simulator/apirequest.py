"""A request to the API: who asks for what, and the switches that every answer obeys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provider.simulator.replies import NO_PERMISSION, Fault, Missing, Reply, unknown_path
from provider.simulator.vm_document import API

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.simulator.encoding import Document
    from provider.simulator.faults import Faults
    from provider.simulator.machine import Vm
    from provider.simulator.objects import User
    from provider.simulator.tables import TagExpansion
    from provider.simulator.world import World

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass
class Request:
    """One request to the API, after its log-in."""

    world: World
    faults: Faults
    tags: TagExpansion
    user: User
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    origin: str
    turn: int = 0
    jobs: list[Document] = field(default_factory=list)

    @property
    def is_filtered(self) -> bool:
        """Whether only permitted objects are shown; a refusal to a user who may not see all."""
        asked = self.headers.get("Filter", self.query.get("filter", "")).lower()
        if self.user.is_administrator:
            return asked == "true"
        if asked == "false":
            raise Fault(400, NO_PERMISSION)
        return True

    @property
    def wants_all_content(self) -> bool:
        """Whether the VM is to carry its OVF."""
        asked = self.headers.get("All-Content", self.query.get("all_content", ""))
        return asked.lower() == "true"

    def max_count(self) -> int | None:
        """The page size; a text that is no number is ignored, a negative one refused."""
        text = self.query.get("max", "")
        if not re.fullmatch(r"-?\d+", text):
            return None
        if int(text) < 0:
            raise Fault(400, f"illegal max count value for query : {text}")
        return int(text)

    def created(self, name: str, document: Document, status: int = 201) -> Reply:
        """201 with the engine's broken Location: the path is there twice."""
        location = f"{self.origin}{API}/v4{document['href']}"
        return Reply(name, document, status, {"Location": location})

    def unknown(self) -> Exception:
        """The 404 of a path that the API does not have."""
        return unknown_path(f"{self.origin}/ovirt-engine/api/v4/{'/'.join(self.path)}")


@dataclass
class VmList:
    """A list of VMs, still to be rendered: it may be long."""

    vms: list[Vm]
    follow: str | None


def checked_id(text: str) -> str:
    """The id in lower case; Missing when it is none, as for an object that does not exist."""
    if not _UUID.fullmatch(text):
        raise Missing
    return text.lower()
