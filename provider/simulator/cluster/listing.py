"""Lists: selection, pages that belong to one revision, and which revision may be asked for."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import status
from .watch import parse_revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .resources import Object
    from .selectors import Selector
    from .store import Collection, Key, Store


@dataclass(frozen=True)
class Page:
    """Selected objects and the list's metadata."""

    objects: tuple[Object, ...]
    metadata: Object


def read_page(
    store: Store, collection: Collection, selector: Selector, query: Mapping[str, str]
) -> Page:
    """The page that the query asks for.

    Later pages show the state at the revision of the first; 410 when that is forgotten.
    `limit` is ignored with `resourceVersion=0`, as the watch cache does.
    """
    wanted = parse_revision(query.get("resourceVersion", ""))
    if wanted is not None and wanted > store.revision:
        message = f"Too large resource version: {wanted}, current: {store.revision}"
        raise status.StatusError(504, "Timeout", message, details={"retryAfterSeconds": 1})
    limit = 0 if wanted == 0 else _limit(query.get("limit", ""))
    revision, after = store.revision, ("", "")
    if token := query.get("continue", ""):
        revision, after = _decode(token)
    elif query.get("resourceVersionMatch") == "Exact" and wanted:
        revision = wanted
    return _page(_items(store, collection, revision, after), selector, revision, after, limit)


def _items(
    store: Store, collection: Collection, revision: int, after: Key
) -> list[tuple[Key, Object]]:
    if revision == store.revision:
        return collection.entries()
    try:
        return collection.entries_at(revision)
    except status.StatusError as error:
        message = "The provided continue parameter is too old to display a consistent list result."
        token = _encode(store.revision, after)
        raise status.expired(message, continue_token=token) from error


def _page(
    items: list[tuple[Key, Object]], selector: Selector, revision: int, after: Key, limit: int
) -> Page:
    rest = [(key, item) for key, item in items if key > after and selector(item)]
    metadata: Object = {"resourceVersion": str(revision)}
    shown = rest[:limit] if limit else rest
    if len(shown) < len(rest):
        metadata["continue"] = _encode(revision, shown[-1][0])
        metadata["remainingItemCount"] = len(rest) - len(shown)
    return Page(tuple(item for _, item in shown), metadata)


def _limit(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _encode(revision: int, after: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *after]).encode()).decode()


def _decode(token: str) -> tuple[int, Key]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(revision), (str(namespace), str(name))
    except (binascii.Error, ValueError) as error:
        message = f"continue key is not valid: {error}"
        raise status.bad_request(message) from error
