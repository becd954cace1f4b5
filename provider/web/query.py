"""What can be asked for behind the question mark, a frozen struct for each operation."""

from __future__ import annotations

import base64
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from provider.decisions.lookup import By  # noqa: TC001 - msgspec reads the annotations
from provider.model import InstanceStatus  # noqa: TC001 - msgspec reads the annotations
from provider.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    R = TypeVar("R")
    Q = TypeVar("Q", bound=msgspec.Struct)

MOST = 10_000
Limit = Annotated[int, Meta(ge=1, le=MOST, description="How many at most.")]
Continue = Annotated[str, Meta(description="`continue` of the page before.")]
Words = Annotated[str, Meta(min_length=1)]
Place = tuple[str, ...]


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing can be asked for."""


class InstancesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which instances are listed; all that is given must be met."""

    engine: Annotated[Words, Meta(description="Configured name of the engine.")] | None = None
    zone: Annotated[Words, Meta(description="Zone, as nodes carry it.")] | None = None
    region: Annotated[Words, Meta(description="Region, as nodes carry it.")] | None = None
    cluster: Annotated[Words, Meta(description="Name of the oVirt cluster.")] | None = None
    host: Annotated[Words, Meta(description="Name of the hypervisor.")] | None = None
    tag: Annotated[Words, Meta(description="A tag of the VM or one above it.")] | None = None
    status: Annotated[InstanceStatus, Meta(description="The engine's status.")] | None = None
    managed: Annotated[bool, Meta(description="Whether it has a Node of ours.")] | None = None
    q: Annotated[Words, Meta(description="In name, id, FQDN or address, any case.")] | None = None
    limit: Limit = 500
    continue_: Continue | None = field(name="continue", default=None)


class NodesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which Nodes are listed; all that is given must be met."""

    match: (
        Annotated[
            Literal["found", "absent", "ambiguous", "foreign", "unknown"],
            Meta(description="What the Node was matched with."),
        ]
        | None
    ) = None
    managed: Annotated[bool, Meta(description="Whether the Node is ours.")] | None = None
    q: Annotated[Words, Meta(description="Part of its name, in any case.")] | None = None
    limit: Limit = 500
    continue_: Continue | None = field(name="continue", default=None)


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the key is meant."""

    by: Annotated[By, Meta(description="What the key is; nothing else is tried.")] | None = None


class ChangesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is followed, and from where on."""

    kind: Annotated[
        tuple[Literal["instance", "node", "engine"], ...],
        Meta(description="Only rows of this; may be given more than once."),
    ] = ()
    since: Annotated[str, Meta(description="As the header Last-Event-ID, which counts more.")] = ""


def read(request: web.Request, kind: type[Q]) -> Q:
    """The request's query; Problem 400 when something of it is not known or no such value."""
    if "?" not in request.raw_path:  # without taking the URL apart
        return kind()
    given = request.query
    kinds = _kinds(kind)
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in kinds:
            raise _refused(f"There is no parameter {name} here.", kinds)
        if kinds[name].type == "array":
            values.setdefault(name, []).append(text)
            continue
        if name in values:
            raise _refused(f"The parameter {name} is given more than once.", kinds)
        values[name] = kinds[name].value(text)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _refused(f"{error}.", kinds) from None


class _Kind(Struct, frozen=True):
    """What a parameter may be: its type in JSON Schema, and its values in words; "" for any."""

    type: str
    allowed: str

    def value(self, text: str) -> Any:
        """The text as a value of the type; as it is when it is none."""
        if self.type == "boolean":
            return {"true": True, "false": False}.get(text, text)
        if self.type == "integer" and text.isascii() and text.isdecimal() and len(text) < 10:
            return int(text)
        return text


@cache
def _kinds(query: type[msgspec.Struct]) -> dict[str, _Kind]:
    return {name: _kind(schema) for name, schema in parameters(query).items()}


def _kind(schema: dict[str, Any]) -> _Kind:
    match schema:
        case {"enum": values}:
            return _Kind("string", " | ".join(values))
        case {"type": "array", "items": {"enum": values}}:
            return _Kind("array", " | ".join(values))
        case {"type": "boolean"}:
            return _Kind("boolean", "true | false")
        case {"type": "integer"}:
            return _Kind("integer", f"{schema['minimum']} to {schema['maximum']}")
    return _Kind("string", "")


def parameters(query: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """The JSON Schema of each parameter by name; whether it is given or not is not part of it."""
    found = {}
    for one in msgspec.structs.fields(query):
        (schema,), components = msgspec.json.schema_components([one.type])
        about = {"description": schema["description"]} if "description" in schema else {}
        choices = [c for c in schema.get("anyOf", (schema,)) if c.get("type") != "null"]
        given = choices[0]
        if reference := given.pop("$ref", None):
            known = components[reference.rpartition("/")[2]]
            given = {"type": "string", "enum": known["enum"], **given}
        default = {} if one.default is None else {"default": one.default}
        found[one.encode_name] = given | default | about
    return found


def _refused(what: str, kinds: dict[str, _Kind]) -> Problem:
    told = ", ".join(f"{n} ({k.allowed})" if k.allowed else n for n, k in kinds.items())
    remedy = f"Allowed are {told}." if told else "Nothing is allowed here."
    return Problem(400, "query-invalid", "The query is not valid", f"{what} {remedy}")


# ---- pages -----------------------------------------------------------------------------------


def token(place: Place) -> str:
    """What `continue` says of a page whose last row has this place in the order."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place(text: str, length: int) -> Place:
    """The place of so many parts that `continue` says; Problem 400 when nobody has given that."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=Place)
    except (ValueError, msgspec.MsgspecError):
        found = ()
    if len(found) != length:
        detail = "`continue` must be what the page before has given: begin again without it."
        raise Problem(400, "query-invalid", "The query is not valid", detail)
    return found


def cut(
    rows: Sequence[R],
    limit: int,
    continue_: str | None,
    place_of: Callable[[R], Place],
    length: int,
) -> tuple[Sequence[R], str | None]:
    """A page of `rows`, which are in the order of their places, and how to get the next.

    A place has `length` parts. The page begins after the place that `continue_` says, whether
    something still is there or not: rows that come or go meanwhile move no other.
    """
    first = 0
    if continue_ is not None:
        first = bisect_right(rows, place(continue_, length), key=place_of)
    page = rows[first : first + limit]
    is_last = first + limit >= len(rows)
    return page, None if is_last else token(place_of(page[-1]))
