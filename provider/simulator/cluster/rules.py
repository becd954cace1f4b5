"""What the API server checks and fills in, by kind (seen on a real server of 1.37)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .resources import EVENTS, LEASES, NEW_EVENTS, NODES, Resource
from .status import Cause, invalid

if TYPE_CHECKING:
    from .resources import Object

NOT_READY_TAINT = "node.kubernetes.io/not-ready"

_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_NAME_PART = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FINALIZERS = ("kubernetes", "foregroundDeletion", "orphan")

Check = Callable[["Object", "Object | None"], Iterable[Cause]]


def validate(resource: Resource, new: Object, old: Object | None) -> None:
    """Nothing when `new` may replace `old` (None: be created), else 422 with every cause."""
    causes = [*_check_metadata(new, old)]
    for check in _CHECKS.get(resource.kind, ()):
        causes += check(new, old)
    if causes:
        raise invalid(resource.subject(new["metadata"]["name"]), causes)


def fill(resource: Resource, new: Object) -> Object:
    """The object with the defaults of its kind: what a Node can allocate is what it has."""
    state = new.get("status", {})
    if resource is not NODES or "capacity" not in state or "allocatable" in state:
        return new
    return new | {"status": state | {"allocatable": state["capacity"]}}


def admit(resource: Resource, new: Object) -> Object:
    """The object as admission lets it in: a new Node carries the not-ready taint."""
    if resource is not NODES:
        return new
    spec = new["spec"]
    taints = spec.get("taints", [])
    taint = {"key": NOT_READY_TAINT, "effect": "NoSchedule"}
    if any(item["key"] == NOT_READY_TAINT for item in taints):
        return new
    return new | {"spec": spec | {"taints": [*taints, taint]}}


def keep_foreign_part(resource: Resource, new: Object, old: Object, subresource: str) -> Object:
    """`new` without what this path may not write.

    The main path keeps the stored status; `/status` keeps the stored spec and takes the metadata.
    """
    if not resource.has_status:
        return new
    kept = "spec" if subresource == "status" else "status"
    rest = {key: value for key, value in new.items() if key != kept}
    return rest | ({kept: old[kept]} if kept in old else {})


def _invalid(field: str, value: Any, why: str) -> Cause:
    return Cause("FieldValueInvalid", field, f"Invalid value: {_go(value)}: {why}")


def _go(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _check_metadata(new: Object, old: Object | None) -> Iterator[Cause]:
    metadata = new["metadata"]
    name = metadata["name"]
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield _invalid(
            "metadata.name",
            name,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character",
        )
    for key, value in metadata.get("labels", {}).items():
        yield from _check_label(key, value)
    for key in metadata.get("annotations", {}):
        yield from _check_key("metadata.annotations", key.lower())
    for place, name in enumerate(metadata.get("finalizers", ())):
        yield from _check_finalizer(place, name)
    if old is not None:
        for field in ("uid", "name", "namespace", "deletionTimestamp"):
            if metadata.get(field) != old["metadata"].get(field):
                yield _invalid(f"metadata.{field}", metadata.get(field), "field is immutable")


def _check_label(key: str, value: str) -> Iterator[Cause]:
    yield from _check_key("metadata.labels", key)
    if not _LABEL_VALUE.fullmatch(value):
        why = (
            "a valid label must be an empty string or consist of alphanumeric characters, "
            "'-', '_' or '.', and must start and end with an alphanumeric character"
        )
        if len(value) > 63:
            why = "must be no more than 63 bytes"
        yield _invalid("metadata.labels", value, why)


def _check_finalizer(place: int, name: str) -> Iterator[Cause]:
    yield from _check_key("metadata.finalizers", name)
    if "/" not in name and name not in _FINALIZERS:
        why = "name is neither a standard finalizer name nor is it fully qualified"
        yield _invalid(f"metadata.finalizers[{place}]", name, why)


def _check_key(field: str, key: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix)):
        yield _invalid(field, key, "prefix part a lowercase RFC 1123 subdomain is required")
    if not name:
        yield _invalid(field, key, "name part must be non-empty")
    if not _NAME_PART.fullmatch(name):
        yield _invalid(
            field,
            key,
            "name part must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character",
        )


def _check_provider_id(new: Object, old: Object | None) -> Iterator[Cause]:
    """A providerID is set once and stays."""
    before = old["spec"].get("providerID", "") if old else ""
    after = new["spec"].get("providerID", "")
    if before and before != after:
        why = "cannot be modified once set" if after else "cannot be cleared once set"
        yield Cause("FieldValueInvalid", "spec.providerID", f"Invalid value: null: field {why}")


def _check_taints(new: Object, _old: Object | None) -> Iterator[Cause]:
    seen = set()
    for place, taint in enumerate(new["spec"].get("taints", ())):
        # The server says metadata here, though they are in spec (validation.ValidateNode).
        field = f"metadata.taints[{place}]"
        key, effect = taint["key"], taint["effect"]
        yield from _check_key(f"{field}.key", key)
        if not effect:
            yield Cause("FieldValueRequired", f"{field}.effect", "Required value")
        elif effect not in _EFFECTS:
            listed = ", ".join(f'"{known}"' for known in _EFFECTS)
            message = f"Unsupported value: {_go(effect)}: supported values: {listed}"
            yield Cause("FieldValueNotSupported", f"{field}.effect", message)
        if not _LABEL_VALUE.fullmatch(taint.get("value", "")):
            yield _invalid(f"{field}.value", taint.get("value"), "a valid label value is required")
        if (key, effect) in seen:
            message = f"Duplicate value: {taint}: taints must be unique by key and effect pair"
            yield Cause("FieldValueDuplicate", field, message)
        seen.add((key, effect))


def _check_addresses(new: Object, _old: Object | None) -> Iterator[Cause]:
    """Type and address are free text, but no pair may come twice."""
    seen: list[Object] = []
    for place, address in enumerate(new["status"].get("addresses", ())):
        if address in seen:
            message = f"Duplicate value: {address}"
            yield Cause("FieldValueDuplicate", f"status.addresses[{place}]", message)
        seen.append(address)


def _check_fixed_spec(new: Object, old: Object | None) -> Iterator[Cause]:
    if old is None:
        return
    before = old["spec"].get("podCIDRs")
    if before and before != new["spec"].get("podCIDRs"):
        why = 'Forbidden: node updates may not change podCIDR except from "" to valid'
        yield Cause("FieldValueForbidden", "spec.podCIDRs", why)
    if old["spec"].get("externalID") != new["spec"].get("externalID"):
        yield Cause("FieldValueForbidden", "spec.externalID", "Forbidden: may not be updated")


def _check_event(new: Object, _old: Object | None) -> Iterator[Cause]:
    """The event lives beside its object; of a cluster-scoped one in `default`."""
    about = new["involvedObject"].get("namespace", "")
    namespace = new["metadata"].get("namespace", "")
    if namespace != (about or "default"):
        yield _invalid("involvedObject.namespace", about, "does not match event.namespace")


def _check_lease(new: Object, _old: Object | None) -> Iterator[Cause]:
    spec = new["spec"]
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield _invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        why = "must be greater than or equal to 0"
        yield _invalid("spec.leaseTransitions", transitions, why)


_CHECKS: dict[str, tuple[Check, ...]] = {
    NODES.kind: (_check_provider_id, _check_taints, _check_addresses, _check_fixed_spec),
    EVENTS.kind: (_check_event,),
    NEW_EVENTS.kind: (_check_event,),
    LEASES.kind: (_check_lease,),
}
