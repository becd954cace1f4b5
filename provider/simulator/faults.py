"""Every fault that the simulated engine can have, each a switch that can be thrown at any time."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Literal

Availability = Literal["up", "stopping", "down", "starting"]
Database = Literal["up", "away", "stale"]
Body = Literal["whole", "truncated", "aborted", "invalid", "wrong_type"]


@dataclass
class Faults:
    """The switches. A fresh object is a sound engine; `reset` makes it one again.

    Of the whole engine:
      availability: `stopping` answers a mix of 503, 404 and 500 pages; `down` is the 503 page
        of the web server in front; `starting` does not answer until it is `up` again.
      database: `away` makes every request 400 (and the health page 500); `stale` is the time
        after it came back: old sessions 400, fresh tokens 401.
      refuse_tokens: 401 for every request. forbidden: 403 for every request.

    Of the wire; only for paths (with query) that the regular expression `paths` finds, and,
    when `times` is a number, only for that many answers:
      delay: seconds before each answer. drop_connection: closes without a word.
      status: answers an HTML page of this status.
      body: `truncated` in the middle, `aborted` (the connection breaks in the middle),
        `invalid` syntax, or the `wrong_type` of content.

    Of lists of VMs:
      list_seconds: how long a list takes; what is removed meanwhile comes without its links.
      fails_follow: 500 for every list with follow. empty_lists: 200 and nothing.
      hidden_vms: names that lists leave out. duplicated_vms: names that come again on every
        later page, or twice in a list without pages. emptied_vms: names whose nics, devices
        and tags are empty in followed lists.
      turns_addresses: the addresses of a device come in another order each time.
      has_stale_tag_cache: a tag search without `*` keeps what it first stood for.

    Of log-ins:
      refusal_seconds: how long a refusal takes. lock_after, lock_seconds: so many wrong
        passwords lock an account for so long. session_idle: seconds until an unused session
        ends. reads_forms_as_latin1: a form without a charset is ISO-8859-1.
    """

    availability: Availability = "up"
    database: Database = "up"
    refuse_tokens: bool = False
    forbidden: bool = False

    paths: str = ""
    times: int | None = None
    delay: float = 0.0
    drop_connection: bool = False
    status: int = 0
    body: Body = "whole"

    list_seconds: float = 0.0
    fails_follow: bool = False
    empty_lists: bool = False
    hidden_vms: set[str] = field(default_factory=set)
    duplicated_vms: set[str] = field(default_factory=set)
    emptied_vms: set[str] = field(default_factory=set)
    turns_addresses: bool = False
    has_stale_tag_cache: bool = False

    refusal_seconds: float = 5.0
    lock_after: int = 5
    lock_seconds: float = 3600.0
    session_idle: float = 1800.0
    reads_forms_as_latin1: bool = True

    answers: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        self.availability = self.availability

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "availability" and hasattr(self, "answers"):
            (self.answers.clear if value == "starting" else self.answers.set)()

    def reset(self) -> None:
        """Back to a sound engine."""
        for name, value in vars(Faults()).items():
            if name != "answers":
                setattr(self, name, value)

    def hits(self, path_qs: str) -> bool:
        """Whether the faults of the wire concern this request; counts it when they do."""
        if not re.search(self.paths, path_qs) or self.times == 0 or not self._has_wire_fault():
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _has_wire_fault(self) -> bool:
        return bool(self.delay or self.drop_connection or self.status or self.body != "whole")
