"""Watch: a stream of events, one JSON line each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import status
from .faults import CutFrame, EmptyWatch, ExpiredWatch, SilentWatch, reset_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .faults import Faults, WatchEffect
    from .resources import Object
    from .selectors import Selector
    from .store import Change, Collection, Store

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

DEFAULT_TIMEOUT = 1800.0  # seconds; a real server takes 1800 to 3600 at random
_EARLY = 0.001  # seconds that a timer may be early; a virtual clock would stand still there


@dataclass(frozen=True)
class WatchOptions:
    """What the query asks for; `revision` None means the state of now first."""

    revision: int | None
    has_bookmarks: bool
    timeout: float
    has_initial_events: bool
    has_initial_end: bool


def parse_options(query: Mapping[str, str]) -> WatchOptions:
    """The options of a watch; 400 or 422 for a combination that the server refuses."""
    text = query.get("resourceVersion", "")
    initial = query.get("sendInitialEvents", "")
    match = query.get("resourceVersionMatch", "")
    if initial and match != "NotOlderThan":
        raise _forbidden("resourceVersionMatch is required when sendInitialEvents is set")
    if match and not initial:
        raise _forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents")
    if text and not text.isdecimal():
        # A list answers 400 to this; a watch fails on the way.
        raise status.StatusError(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    revision = parse_revision(text)
    is_listed = is_true(initial)
    return WatchOptions(
        revision=None if is_listed or revision == 0 else revision,
        has_bookmarks=is_true(query.get("allowWatchBookmarks", "")),
        timeout=float(query.get("timeoutSeconds") or DEFAULT_TIMEOUT),
        has_initial_events=is_listed or (not initial and not revision),
        has_initial_end=is_listed,
    )


def parse_revision(text: str) -> int | None:
    """The revision, or None for no text; 400 for another text."""
    if not text:
        return None
    if not text.isdecimal():
        message = f'Invalid value: "{text}": resourceVersion must be a number'
        raise status.bad_request(message)
    return int(text)


def is_true(text: str) -> bool:
    """Whether a query parameter says yes, as Go's ParseBool reads it."""
    return text in ("1", "t", "T", "true", "True", "TRUE")


def _forbidden(why: str) -> status.StatusError:
    subject = status.Subject("listoptions", "ListOptions", "meta.k8s.io")
    return status.invalid(
        subject, [status.Cause("FieldValueForbidden", "resourceVersionMatch", why)]
    )


class WatchStream:
    """One watch being served; the knobs of `Faults` reach it here."""

    def __init__(
        self,
        request: web.Request,
        store: Store,
        collection: Collection,
        faults: Faults,
        *,
        options: WatchOptions,
        selector: Selector,
        view: Callable[[Object], Object],
        bookmark: Callable[[Object], Object],
        bookmark_period: float,
    ) -> None:
        self.is_silent = False
        self.cuts_next_frame = False
        self._request = request
        self._store = store
        self._collection = collection
        self._faults = faults
        self._options = options
        self._selector = selector
        self._view = view
        self._bookmark = bookmark
        self._bookmark_period = bookmark_period
        self._response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._response.enable_chunked_encoding()

    async def serve(
        self, effect: WatchEffect | None, *, is_expiry_event: bool
    ) -> web.StreamResponse:
        """The stream, when it has ended."""
        try:
            match effect:
                case ExpiredWatch(is_event=is_event):
                    return await self._refuse(_expiry(), is_event=is_event)
                case EmptyWatch():
                    await self._response.prepare(self._request)
                    return self._response
            self.is_silent = isinstance(effect, SilentWatch)
            self.cuts_next_frame = isinstance(effect, CutFrame)
            return await self._run(is_expiry_event=is_expiry_event)
        except ConnectionError:
            return self._response

    def reset(self) -> None:
        """Reset the connection."""
        reset_connection(self._request)

    async def _refuse(self, error: status.StatusError, *, is_event: bool) -> web.StreamResponse:
        if not is_event:
            raise error
        await self._response.prepare(self._request)
        await self._send("ERROR", error.body)
        return self._response

    async def _run(self, *, is_expiry_event: bool) -> web.StreamResponse:
        start = self._options.revision
        items = self._collection.entries() if self._options.has_initial_events else []
        revision = self._store.revision
        try:
            changes = self._collection.subscribe(revision if start is None else start)
        except status.StatusError as error:
            return await self._refuse(error, is_event=is_expiry_event)
        self._faults.add_watch(self)
        try:
            await self._response.prepare(self._request)
            for _, stored in items:
                if self._selector(stored):
                    await self._send("ADDED", self._view(stored))
            if self._options.has_initial_end and self._options.has_bookmarks:
                await self._send_bookmark(revision, {INITIAL_EVENTS_END: "true"})
            await self._follow(changes.get)
        finally:
            self._faults.discard_watch(self)
            self._collection.unsubscribe(changes)
        return self._response

    async def _follow(self, next_change: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.timeout
        bookmark_at = loop.time() + self._bookmark_period
        while True:
            try:
                async with asyncio.timeout_at(min(end, bookmark_at)):
                    change: Change | None = await next_change()
            except TimeoutError:
                if self._options.has_bookmarks:
                    await self._send_bookmark(self._store.revision, {})
                bookmark_at += self._bookmark_period
                if loop.time() >= end - _EARLY:
                    return
                continue
            if change is None:
                return
            await self._send_change(change)

    async def _send_change(self, change: Change) -> None:
        """The change as this selection sees it: an object may enter or leave it."""
        was_selected = change.previous is not None and self._selector(change.previous)
        is_selected = change.type != "DELETED" and self._selector(change.object)
        if is_selected:
            await self._send("MODIFIED" if was_selected else "ADDED", self._view(change.object))
        elif was_selected and change.previous is not None:
            version = {"resourceVersion": str(change.revision)}
            gone = change.previous | {"metadata": change.previous["metadata"] | version}
            await self._send("DELETED", self._view(gone))

    async def _send_bookmark(self, revision: int, annotations: Mapping[str, str]) -> None:
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)
        await self._send("BOOKMARK", self._bookmark({"metadata": metadata}))

    async def _send(self, kind: str, wire: Object) -> None:
        line = json.dumps({"type": kind, "object": wire}, separators=(",", ":")).encode() + b"\n"
        await self._faults.thawed()
        if self.is_silent:
            await asyncio.Event().wait()
        if self.cuts_next_frame:
            await self._response.write(line[: len(line) // 2])
            if self._request.transport is not None:
                self._request.transport.close()
            message = "cut by a fault"
            raise ConnectionResetError(message)
        await self._response.write(line)


def _expiry() -> status.StatusError:
    return status.expired("The resourceVersion for the provided watch is too old.")
