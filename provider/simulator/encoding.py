"""Documents as bytes, JSON and XML, and request bodies as documents.

A document is written as the engine's JSON: dicts, lists, strings for booleans and integers,
int for a date (epoch milliseconds) and float for a decimal. The XML form follows from it by
the rules of the engine's schema.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET  # reads only the requests of a simulation
from xml.sax.saxutils import escape, quoteattr

Document = dict[str, Any]


class Long(int):
    """A number that engines before 4.3 write as a JSON number."""


XML_HEAD = b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_ATTRIBUTES = ("href", "id", "rel")
_PLURAL = {"status": "statuses"}
_DECIMALS = frozenset({"datum", "speed"})


def to_json(document: Document) -> bytes:
    """The document as the engine's JSON, without the blanks between its tokens."""
    return b"{ }" if not document else json.dumps(document, ensure_ascii=False).encode()


def to_xml(name: str, document: Document) -> bytes:
    """The document as the XML element of this name."""
    parts: list[str] = []
    _element(name, document, parts)
    return "".join(parts).encode()


def _element(name: str, value: object, parts: list[str]) -> None:
    match value:
        case dict():
            _object(name, value, parts)
        case list():
            for item in value:
                _element(name, item, parts)
        case int() if name not in _DECIMALS and not isinstance(value, Long):
            parts.append(f"<{name}>{_date(value)}</{name}>")
        case _:
            parts.append(f"<{name}>{escape(str(value))}</{name}>")


def _object(name: str, value: Document, parts: list[str]) -> None:
    attributes = "".join(
        f" {key}={quoteattr(value[key])}" for key in _ATTRIBUTES if isinstance(value.get(key), str)
    )
    inner: list[str] = []
    for key, member in value.items():
        if not (key in _ATTRIBUTES and isinstance(member, str)):
            _element(key, member, inner)
    if inner:
        parts.append(f"<{name}{attributes}>{''.join(inner)}</{name}>")
    else:
        parts.append(f"<{name}{attributes}/>")


def _date(epoch_ms: int) -> str:
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_ms % 1000:03}Z"


def plural(name: str) -> str:
    """The element that holds a list: `vms` of `vm`."""
    return _PLURAL.get(name, f"{name}s")


def from_json(body: bytes) -> Document:
    """The request's object; ValueError when it is none."""
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("no JSON object")  # one kind of error for a bad body
    return document


def from_xml(body: bytes) -> Document:
    """The request's element as JSON would have given it; ValueError when malformed."""
    try:
        root = ET.fromstring(body)  # noqa: S314 # a simulation on loopback
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    content = _content(root)
    return content if isinstance(content, dict) else {}


def _content(element: ET.Element) -> Document | str:
    if len(element) == 0 and not element.attrib:
        return element.text or ""
    document: Document = dict(element.attrib)
    for child in element:
        content = _content(child)
        if before := document.get(child.tag):
            document[child.tag] = [*(before if isinstance(before, list) else [before]), content]
        else:
            document[child.tag] = content
    return document
