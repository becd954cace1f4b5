"""Label and field selectors, as query parameters spell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .status import bad_request

if TYPE_CHECKING:
    from .resources import Object

Selector = Callable[["Object"], bool]

# What a real server can select on; anything else is 400 (registry strategies of each kind).
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_FIELDS = {
    "nodes": ("spec.unschedulable",),
    "events": _EVENT_FIELDS,
    "pods": ("spec.nodeName", "status.phase"),
    "namespaces": ("status.phase",),
}

_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^!=\s]+)\s*(!=|==|=)\s*([^=]*?)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^!=\s()]+)\s*$")


def _split(text: str) -> list[str]:
    """The terms, split at commas that are not inside brackets."""
    return [term for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def label_selector(text: str) -> Selector:
    """Whether an object's labels meet every term; bad_request for another grammar."""
    terms = [_label_term(term) for term in _split(text)]
    return lambda found: all(term(found.get("metadata", {}).get("labels", {})) for term in terms)


def _label_term(term: str) -> Selector:
    if match := _SET.match(term):
        key, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL.match(term):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS.match(term):
        negation, key = match.groups()
        return lambda labels: (key in labels) is not bool(negation)
    message = f"unable to parse requirement: found '{term}'"
    raise bad_request(message)


def field_selector(text: str, storage: str, *, is_namespaced: bool) -> Selector:
    """Whether an object's fields meet every term; bad_request for a field not served."""
    served = {"metadata.name", *_FIELDS.get(storage, ())}
    if is_namespaced:
        served.add("metadata.namespace")
    return _all_of(_field_term(term, served) for term in _split(text))


def _all_of(terms: Iterable[Selector]) -> Selector:
    listed = tuple(terms)
    return lambda found: all(term(found) for term in listed)


def _field_term(term: str, served: set[str]) -> Selector:
    match = _EQUAL.match(term)
    if match is None:
        message = f"invalid selector: '{term}'; can't understand '{term}'"
        raise bad_request(message)
    path, operator, wanted = match.groups()
    if path not in served:
        message = f"field label not supported: {path}"
        raise bad_request(message)
    is_wanted = operator != "!="
    return lambda found: (_field(found, path) == wanted) is is_wanted


def _field(found: Object, path: str) -> str:
    """The value as text; "" when absent, as the server compares it."""
    value: object = found
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "source" and isinstance(value, dict):
        value = value.get("component")
    if path == "spec.unschedulable":
        return "true" if value else "false"
    return "" if value is None else str(value)
