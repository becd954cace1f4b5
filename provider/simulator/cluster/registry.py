"""The verbs of the API server on its store: the same rules for the wire and for tests."""

from __future__ import annotations

import datetime
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import rules, schema, status
from .resources import NAMESPACES, Object, Resource, from_wire, to_wire

if TYPE_CHECKING:
    from .store import Key, Store

Transform = Callable[[Object], Object]

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclass(frozen=True)
class WriteOptions:
    """How a write is to be taken: as a rehearsal, with unknown fields an error, on which part."""

    is_dry_run: bool = False
    is_strict: bool = False
    subresource: str = ""


_PLAIN = WriteOptions()


class Registry:
    """Create, read, update, patch and delete; every refusal is a StatusError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        for name in _NAMESPACES:
            labels = {"kubernetes.io/metadata.name": name}
            manifest = {"metadata": {"name": name, "labels": labels}}
            state: Object = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            self.create(NAMESPACES, "", manifest | state)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object on the wire's terms; 404 when absent."""
        return to_wire(resource, self._stored(resource, (namespace, name)))

    def create(
        self,
        resource: Resource,
        namespace: str,
        manifest: Object,
        options: WriteOptions = _PLAIN,
    ) -> Object:
        """The new object with uid, creation time and version; 409 when the name is taken."""
        self._require_namespace(resource, namespace)
        new = _new_object(resource, namespace, _read(resource, manifest, options))
        new = rules.admit(resource, new)
        rules.validate(resource, new, None)
        name = new["metadata"]["name"]
        if self.store[resource.storage].get((namespace, name)) is not None:
            raise status.already_exists(resource.subject(name))
        if options.is_dry_run:
            return to_wire(resource, new)
        return to_wire(resource, self.store.put(resource.storage, new))

    def replace(
        self, resource: Resource, key: Key, manifest: Object, options: WriteOptions = _PLAIN
    ) -> Object:
        """The stored object after a PUT; a uid of another object in it is a conflict (409).

        A kind that may be created by PUT is, when it is absent.
        """
        given = _read(resource, manifest, options)
        metadata = given["metadata"]
        _require_name(metadata.get("name", ""), key[1])
        if resource.may_create_on_update and self.store[resource.storage].get(key) is None:
            named = metadata | {"resourceVersion": ""}
            return self.create(resource, key[0], given | {"metadata": named}, options)
        if resource.requires_version and not metadata.get("resourceVersion"):
            raise _version_required(resource, key[1])
        uid, old = metadata.get("uid"), self._stored(resource, key)
        if uid and uid != old["metadata"]["uid"]:
            stored = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
            raise status.conflict(resource.subject(key[1]), why)
        return self._update(resource, old, given, options)

    def patch(
        self, resource: Resource, key: Key, transform: Transform, options: WriteOptions = _PLAIN
    ) -> Object:
        """The object after `transform` of what is stored; unchanged keeps its version."""
        old = self._stored(resource, key)
        before = to_wire(resource, old)
        wire = transform(before)
        if any(wire.get(name) != before[name] for name in ("kind", "apiVersion")):
            raise status.undecodable_patch("the kind of an object cannot be changed")
        try:
            new = _decode(resource, wire, options)
        except schema.DecodeError as error:
            raise status.undecodable_patch(str(error)) from error
        _require_name(new["metadata"].get("name", ""), key[1])
        return self._update(resource, old, new, options)

    def delete(
        self,
        resource: Resource,
        key: Key,
        preconditions: Object | None = None,
        options: WriteOptions = _PLAIN,
    ) -> Object:
        """The last state; with finalizers left it only gets its deletionTimestamp."""
        old = self._stored(resource, key)
        _require_identity(resource, old, preconditions or {})
        if options.is_dry_run:
            return to_wire(resource, old)
        if not old["metadata"].get("finalizers"):
            return to_wire(resource, self.store.remove(resource.storage, key))
        if "deletionTimestamp" in old["metadata"]:
            return to_wire(resource, old)
        doomed = {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        metadata = old["metadata"] | doomed
        return to_wire(resource, self.store.put(resource.storage, old | {"metadata": metadata}))

    def _update(
        self, resource: Resource, old: Object, given: Object, options: WriteOptions
    ) -> Object:
        new = given | {"metadata": _fixed_metadata(resource, given["metadata"], old["metadata"])}
        new = rules.keep_foreign_part(resource, new, old, options.subresource)
        rules.validate(resource, new, old)
        if new == old:
            return to_wire(resource, old)
        if options.is_dry_run:
            return to_wire(resource, new)
        stored = self.store.put(resource.storage, new)
        metadata = stored["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self.store.remove(resource.storage, (metadata.get("namespace", ""), metadata["name"]))
        return to_wire(resource, stored)

    def _stored(self, resource: Resource, key: Key) -> Object:
        stored = self.store[resource.storage].get(key)
        if stored is None:
            raise status.not_found(resource.subject(key[1]))
        return stored

    def _require_namespace(self, resource: Resource, namespace: str) -> None:
        if resource.is_namespaced and self.store["namespaces"].get(("", namespace)) is None:
            raise status.not_found(NAMESPACES.subject(namespace))


def now() -> str:
    """The wall clock as `metav1.Time` writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(resource: Resource, manifest: Object, options: WriteOptions) -> Object:
    """The body of a POST or PUT in the server's form; 400 when it does not fit the kind."""
    try:
        return _decode(resource, manifest, options)
    except schema.DecodeError as error:
        kind = resource.kind
        message = f'{kind} in version "v1" cannot be handled as a {kind}: {error}'
        raise status.bad_request(message) from error


def _decode(resource: Resource, wire: Object, options: WriteOptions) -> Object:
    bare = from_wire(resource, wire)
    return rules.fill(resource, schema.decode(resource.kind, bare, is_strict=options.is_strict))


def _new_object(resource: Resource, namespace: str, given: Object) -> Object:
    metadata = given["metadata"]
    if metadata.get("resourceVersion"):
        message = "resourceVersion should not be set on objects to be created"
        raise status.StatusError(500, "", message)
    if resource.is_namespaced and metadata.get("namespace", namespace) != namespace:
        message = (
            "the namespace of the provided object does not match the namespace sent on the request"
        )
        raise status.bad_request(message)
    name = metadata.get("name", "")
    if not name and metadata.get("generateName"):
        name = metadata["generateName"] + secrets.token_hex(3)[:5]
    if not name:
        why = "Required value: name or generateName is required"
        cause = status.Cause("FieldValueRequired", "metadata.name", why)
        raise status.invalid(resource.subject(), [cause])
    fixed = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if resource.is_namespaced:
        fixed["namespace"] = namespace
    return given | {"metadata": metadata | fixed}


def _fixed_metadata(resource: Resource, given: Object, stored: Object) -> Object:
    """The metadata with what the server owns; 409 when it names another version."""
    version = given.get("resourceVersion")
    if version and version != stored["resourceVersion"]:
        raise status.conflict(resource.subject(stored["name"]))
    owned = ("creationTimestamp", "deletionGracePeriodSeconds")
    free = {key: value for key, value in given.items() if key not in owned}
    kept = {key: stored[key] for key in (*owned, "resourceVersion") if key in stored}
    unspoken = ("uid", "name", "namespace", "deletionTimestamp")
    identity = {key: stored[key] for key in unspoken if key in stored}
    return identity | free | kept


def _require_name(given: str, wanted: str) -> None:
    if not given:
        message = (
            f"the name of the object ({wanted} based on URL) was undeterminable: "
            "name must be provided"
        )
        raise status.bad_request(message)
    if given != wanted:
        message = f"the name of the object ({given}) does not match the name on the URL ({wanted})"
        raise status.bad_request(message)


def _version_required(resource: Resource, name: str) -> status.StatusError:
    why = "Invalid value: 0: must be specified for an update"
    subject = status.Subject(resource.plural, resource.plural, resource.group, name)
    cause = status.Cause("FieldValueInvalid", "metadata.resourceVersion", why)
    return status.invalid(subject, [cause])


def _require_identity(resource: Resource, old: Object, wanted: Object) -> None:
    """Nothing when uid and resourceVersion, as far as given, are those stored; else 409."""
    metadata = old["metadata"]
    subject = status.Subject(resource.kind, resource.kind, resource.group, metadata["name"])
    for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        value = wanted.get(field)
        if value and value != metadata[field]:
            why = (
                f"the {label} in the precondition ({value}) does not match "
                f"the {label} in record ({metadata[field]})."
            )
            raise status.conflict(subject, why)
