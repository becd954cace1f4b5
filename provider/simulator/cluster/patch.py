"""The three kinds of patch that the simulated API server applies. Arguments are never changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from .status import StatusError, bad_request, inapplicable, undecodable_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .resources import Object

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
CONTENT_TYPES = (JSON, MERGE, STRATEGIC)

# Lists that strategic merge joins by a key (k8s.io/api tags patchMergeKey); all others are atomic,
# among them spec.taints.
_MERGE_KEYS = {
    "status.addresses": "type",
    "status.conditions": "type",
    "metadata.ownerReferences": "uid",
}
_MERGED_SCALARS = ("metadata.finalizers",)


def apply_patch(content_type: str, patch: Any, target: Object) -> Object:
    """The patched object; 400 for a malformed patch, 422 for one that cannot be applied."""
    if content_type == JSON:
        if not isinstance(patch, list):
            message = "error decoding patch: json: cannot unmarshal object into a list"
            raise bad_request(message)
        patched = json_patch(target, patch)
        if not isinstance(patched, dict):
            message = "the object became something else"
            raise undecodable_patch(message)
        return patched
    if not isinstance(patch, dict):
        message = "error decoding patch: json: cannot unmarshal into a map"
        raise bad_request(message)
    if content_type == MERGE:
        return cast("Object", merge_patch(target, patch))
    return _strategic_map(target, patch, "")


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _strategic_map(target: Object, patch: Object, path: str) -> Object:
    directive = patch.get("$patch")
    plain = {key: value for key, value in patch.items() if not key.startswith("$")}
    if directive == "replace":
        return copy.deepcopy(plain)
    if directive == "delete":
        return {}
    merged = copy.deepcopy(target)
    for key, value in plain.items():
        inner = f"{path}.{key}" if path else key
        _strategic_field(merged, key, value, inner)
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/") and isinstance(value, list):
            name = key.partition("/")[2]
            merged[name] = [item for item in merged.get(name) or () if item not in value]
    return merged


def _strategic_field(merged: Object, key: str, value: Any, path: str) -> None:
    present = merged.get(key)
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        if not isinstance(present or {}, dict):
            message = f"{path} is no object"
            raise undecodable_patch(message)
        merged[key] = _strategic_map(present or {}, value, path)
    elif isinstance(value, list) and path in _MERGE_KEYS:
        merged[key] = _strategic_list(present or [], value, path)
    elif isinstance(value, list) and path in _MERGED_SCALARS:
        _require_elements(value, str, path)
        joined = list(dict.fromkeys([*(present or []), *value]))
        merged[key] = _ordered(joined, lambda item: item, value, present or [])
    else:
        merged[key] = copy.deepcopy(value)


def _strategic_list(target: list[Object], patch: list[Object], path: str) -> list[Object]:
    """The list joined by its key; into an empty list the patch is stored as it stands.

    Two elements of one key meet the same first element: the API server does so too, which is
    why a repeated strategic patch of two InternalIPs is refused as a duplicate.
    """
    key = _MERGE_KEYS[path]
    _require_elements(patch, dict, path)
    elements = [item for item in patch if item != {"$patch": "replace"}]
    if len(elements) < len(patch) or not target:
        return [copy.deepcopy(item) for item in elements if "$patch" not in item]
    merged = copy.deepcopy(target)
    for item in elements:
        place = next((n for n, old in enumerate(merged) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            merged = [old for old in merged if old.get(key) != item.get(key)]
        elif place is None:
            merged.append(copy.deepcopy(item))
        else:
            merged[place] = _strategic_map(merged[place], item, path)
    before, patched = [item.get(key) for item in target], [item.get(key) for item in elements]
    return _ordered(merged, lambda item: item.get(key), patched, before)


def _require_elements(patch: list[Any], wanted: type, path: str) -> None:
    """Nothing, or the 500 that the API server answers to a list of mixed elements."""
    if not all(isinstance(item, wanted) for item in patch):
        message = f"list element types are not identical: {path}"
        raise StatusError(500, "", message)


def _ordered(
    merged: list[Any], key: Callable[[Any], Any], patched: list[Any], before: list[Any]
) -> list[Any]:
    """The merged list in the server's order: what the patch names in the order of the patch.

    What it does not name keeps its place before those that came after it; new ones go first.
    """
    named = sorted(
        (item for item in merged if key(item) in patched),
        key=lambda item: patched.index(key(item)),
    )
    others = [item for item in merged if key(item) not in patched]
    ordered = []
    while named and others:
        first, other = key(named[0]), key(others[0])
        is_later = first in before and before.index(other) < before.index(first)
        ordered.append(others.pop(0) if is_later else named.pop(0))
    return [*ordered, *named, *others]


def json_patch(target: Any, operations: list[Object]) -> Any:
    """RFC 6902; 422 when a path is missing or a `test` fails, with nothing applied."""
    document = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _ACTIONS[operation["op"]](document, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            message = f"{operation}: {error}"
            raise inapplicable(message) from error
    return document


def _tokens(path: str) -> list[str]:
    if path and not path.startswith("/"):
        message = "a path starts with /"
        raise ValueError(message)
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _resolve(document: Any, tokens: list[str]) -> Any:
    for token in tokens:
        document = (
            document[_index(document, token)] if isinstance(document, list) else document[token]
        )
    return document


def _index(items: list[Any], token: str) -> int:
    place = int(token)
    if not 0 <= place < len(items):
        message = f"index {token} out of bounds"
        raise IndexError(message)
    return place


def _add(document: Any, operation: Object) -> Any:
    return _put(document, _tokens(operation["path"]), copy.deepcopy(operation["value"]))


def _put(document: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value
    parent, last = _resolve(document, tokens[:-1]), tokens[-1]
    if isinstance(parent, list):
        place = len(parent) if last == "-" else int(last)
        if not 0 <= place <= len(parent):
            message = f"index {last} out of bounds"
            raise IndexError(message)
        parent.insert(place, value)
    else:
        parent[last] = value
    return document


def _remove(document: Any, operation: Object) -> Any:
    tokens = _tokens(operation["path"])
    parent, last = _resolve(document, tokens[:-1]), tokens[-1]
    del parent[_index(parent, last) if isinstance(parent, list) else last]
    return document


def _replace(document: Any, operation: Object) -> Any:
    tokens = _tokens(operation["path"])
    if not tokens:
        return copy.deepcopy(operation["value"])
    # A missing member of a map is added, against RFC 6902: so does the API server.
    parent, last = _resolve(document, tokens[:-1]), tokens[-1]
    place = _index(parent, last) if isinstance(parent, list) else last
    parent[place] = copy.deepcopy(operation["value"])
    return document


def _test(document: Any, operation: Object) -> Any:
    tokens = _tokens(operation["path"])
    parent = _resolve(document, tokens[:-1])
    is_absent = isinstance(parent, dict) and bool(tokens) and tokens[-1] not in parent
    found = None if is_absent else _resolve(document, tokens)  # absent equals null
    if found != operation["value"]:
        message = f"testing value {operation['path']} failed"
        raise ValueError(message)
    return document


def _copy(document: Any, operation: Object) -> Any:
    value = copy.deepcopy(_resolve(document, _tokens(operation["from"])))
    return _put(document, _tokens(operation["path"]), value)


def _move(document: Any, operation: Object) -> Any:
    value = _resolve(document, _tokens(operation["from"]))
    document = _remove(document, {"path": operation["from"]})
    return _put(document, _tokens(operation["path"]), value)


_ACTIONS: dict[str, Callable[[Any, Object], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "test": _test,
    "copy": _copy,
    "move": _move,
}
