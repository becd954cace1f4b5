"""Single instances over HTTP, by any key, and the questions of InstancesV2 about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.decisions.lookup import Absent, Ambiguous, By, Found, Unknown, look_up
from provider.model import STALE_STATUSES, InstanceStatus
from provider.ovirt.departed import Word
from provider.web.answers import answer
from provider.web.documents import Candidate, Exists, InstanceAnswer, Metadata, Shutdown
from provider.web.operations import Operation
from provider.web.problems import Problem
from provider.web.query import KeyQuery, read
from provider.web.rows import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from aiohttp import web

    from provider.ovirt.departed import Departure
    from provider.web.catalogue import Catalogue
    from provider.web.operations import Handler
    from provider.web.rows import Row

_CANDIDATES = 20  # of an ambiguous key that are named
_RETRY = 5  # seconds

_STOPPED = frozenset({InstanceStatus.DOWN, InstanceStatus.SUSPENDED, InstanceStatus.IMAGE_LOCKED})

_KEY = {
    "key": "VM id, VM name, providerID in any of its four forms, node name, system UUID or IP"
    " address; tried in this order, percent-encoded"
}
_LOOKUP = {
    404: "There is no such instance: every engine that could have it was listed and says so.",
    409: "The key fits several instances; `candidates` names them.",
    503: "It cannot be said now whether there is such an instance, or what is asked of it.",
}


_METADATA = "InstanceMetadata of k8s.io/cloud-provider: what a Node of the VM carries."
_EXISTS = "InstanceExists of k8s.io/cloud-provider, also of a VM that is not selected any more."
_SHUTDOWN = "InstanceShutdown of k8s.io/cloud-provider: down, suspended or image_locked."


def _operation(
    below: str, name: str, summary: str, handler: Handler, answer: type[msgspec.Struct]
) -> Operation:
    path = "/v1/instances/{key}" + below
    return Operation(path, name, summary, handler, answer, _LOOKUP, KeyQuery, _KEY)


class Instances:
    """The handlers of `/v1/instances/{key}` and below."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is served here."""
        return (
            _operation("", "getInstance", "One VM.", self.get, InstanceAnswer),
            _operation("/metadata", "getMetadata", _METADATA, self.metadata, Metadata),
            _operation("/exists", "getExists", _EXISTS, self.exists, Exists),
            _operation("/shutdown", "getShutdown", _SHUTDOWN, self.shutdown, Shutdown),
        )

    # ---- one instance ------------------------------------------------------------------------

    async def get(self, request: web.Request) -> web.Response:
        """The instance that the key means."""
        row = self._row(request)
        return self._answer(request, row, row.body)

    async def metadata(self, request: web.Request) -> web.Response:
        """What its node carries; 503 when the VM cannot be understood."""
        row = self._row(request)
        if row.metadata is None:
            raise _unreadable(row, self._age_of(row))
        return self._answer(request, row, row.metadata)

    async def exists(self, request: web.Request) -> web.Response:
        """Whether it exists, also of one that is not selected any more."""
        found = self._look_up(request)
        if isinstance(found, Found):
            row = self._catalogue.rows[found.member.key]
            return self._answer(request, row, b'{"exists":true,"selected":true}')
        return self._departed(request, found)

    async def shutdown(self, request: web.Request) -> web.Response:
        """Whether it has stopped; 503 while the engine itself is not certain."""
        row = self._row(request)
        if row.metadata is None:
            raise _unreadable(row, self._age_of(row))
        status = row.document.status
        if status is None or status in STALE_STATUSES:
            told = f"is {status}" if status else "has no status that is known"
            detail = f"The VM {row.document.name} {told}: the engine is not certain of its state."
            title, age = "Its state is not known", self._age_of(row)
            raise Problem(503, "status-unknown", title, detail, retry_after=_RETRY, age=age)
        body = encode({"shutdown": status in _STOPPED, "status": status})
        return self._answer(request, row, body)

    def _answer(self, request: web.Request, row: Row, body: bytes) -> web.Response:
        """The object in `body`, with the moment that it is as of."""
        engine = self._catalogue.engines[row.member.engine]
        return answer(request, body[:-1] + engine.ending, row.etag, engine.age)

    def _row(self, request: web.Request) -> Row:
        key, by = request.match_info["key"], read(request, KeyQuery).by
        # Nearly all ask like this; an id that one engine has is certain whatever else is known.
        if by is None and (row := self._catalogue.row_of(key)):
            return row
        found = self._look_up(request)
        if isinstance(found, Found):
            return self._catalogue.rows[found.member.key]
        raise _refused(found, self._catalogue.age)

    def _age_of(self, row: Row) -> float:
        return self._catalogue.engines[row.document.engine].age

    def _look_up(self, request: web.Request) -> Found | Absent | Unknown:
        """What the key means; Problem 409 when that is more than one."""
        by = read(request, KeyQuery).by
        found = look_up(request.match_info["key"], by, self._catalogue.known)
        if isinstance(found, Ambiguous):
            raise _ambiguous(found, self._catalogue.age)
        return found

    # ---- one that is not selected ------------------------------------------------------------

    def _departed(self, request: web.Request, found: Absent | Unknown) -> web.Response:
        """What the engines said of it when they were asked for it alone."""
        by = read(request, KeyQuery).by
        known = self._departures(request.match_info["key"], by, found.instance_id)
        if len(known) > 1:
            told = tuple((engine, one.id, one.name or "") for engine, one in known)
            reason = f"{len(known)} VMs that are not selected any more had this name."
            raise _several(reason, told, self._catalogue.age)
        if not known:
            raise _refused(found, self._catalogue.age)
        ((engine, departure),) = known
        view = self._catalogue.engines[engine]
        if departure.word is Word.LOST:
            raise _doubted(departure, engine, view.age)
        is_gone = departure.word is Word.GONE
        if is_gone and not self._is_confirmed(engine, departure):
            raise self._unconfirmed(departure, view.age)
        body = encode({"exists": not is_gone, "selected": False})
        etag = f"{self._catalogue.epoch}-{departure.id}-{departure.word}"
        return answer(request, body[:-1] + view.ending, etag, view.age)

    def _departures(
        self, key: str, by: By | None, instance_id: str | None
    ) -> list[tuple[str, Departure]]:
        """The departed that the key means, with their engines."""
        engines = self._catalogue.engines
        found = []
        if instance_id:
            found = [(e, d) for e, view in engines.items() if (d := view.departure(instance_id))]
        if not found and by in (None, By.NAME):
            found = [(e, d) for e, view in engines.items() for d in view.departures(key)]
        return found

    def _is_confirmed(self, engine: str, departure: Departure) -> bool:
        absences = self._catalogue.engines[engine].absences(departure)
        return absences >= self._catalogue.config.deletion.confirmations

    def _unconfirmed(self, departure: Departure, age: float) -> Problem:
        detail = (
            f"The engine says that it has no VM {departure.name or departure.id}; not yet as many"
            " listings in a row lack it as deletion.confirmations asks for."
        )
        wait = max(1, round(self._catalogue.config.intervals.poll.total_seconds()))
        title = "It is not confirmed that it is gone"
        return Problem(503, "absence-unconfirmed", title, detail, retry_after=wait, age=age)


# ---- what is answered instead ------------------------------------------------------------------


def _refused(found: Absent | Unknown, age: float) -> Problem:
    detail = f"{found.reason.rstrip('.')}."
    if isinstance(found, Absent):
        return Problem(404, "instance-absent", "There is no such instance", detail, age=age)
    title = "It is not known whether there is such an instance"
    return Problem(503, "absence-unknown", title, detail, retry_after=_RETRY, age=age)


def _doubted(departure: Departure, engine: str, age: float) -> Problem:
    detail = (
        f"Engine {engine} was restored from a backup and has no VM"
        f" {departure.name or departure.id}, which may run all the same."
    )
    title = "It is not known whether it is gone"
    return Problem(503, "absence-doubted", title, detail, retry_after=_RETRY, age=age)


def _ambiguous(found: Ambiguous, age: float) -> Problem:
    told = [(one.engine, one.instance.id, one.instance.name or "") for one in found.candidates]
    reason = f"{found.reason}. `?by=` says what the key is; a VM id fits one."
    return _several(reason, told, age)


def _several(reason: str, told: Sequence[tuple[str, str, str]], age: float) -> Problem:
    ordered = sorted(told, key=lambda one: one[::-1])[:_CANDIDATES]
    candidates = [Candidate(engine=e, id=i, name=n) for e, i, n in ordered]
    title, total = "The key fits several instances", len(told)
    return Problem(
        409, "key-ambiguous", title, reason, age=age, candidates=candidates, total=total
    )


def _unreadable(row: Row, age: float) -> Problem:
    detail = f"The VM {row.document.name or row.document.id}: {row.document.unreadable}"
    title = "The VM cannot be understood"
    return Problem(503, "instance-unreadable", title, detail, retry_after=_RETRY, age=age)
