"""The verbs of the API server on its store: the same rules for the wire and for tests."""

from __future__ import annotations

import copy
import datetime
import secrets
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from . import rules, status
from .resources import NAMESPACES, NODES, Object, Resource, from_wire, to_wire

if TYPE_CHECKING:
    from .store import Key, Store

_TEXT_MAPS = ("labels", "annotations")

Transform = Callable[[Object], Object]


class Registry:
    """Create, read, update, patch and delete; every refusal is a StatusError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            manifest = {"metadata": {"name": name}, "status": {"phase": "Active"}}
            self.create(NAMESPACES, "", manifest)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object on the wire's terms; 404 when absent."""
        return to_wire(resource, self._stored(resource, (namespace, name)))

    def create(
        self, resource: Resource, namespace: str, manifest: Object, *, is_dry_run: bool = False
    ) -> Object:
        """The new object with uid, creation time and version; 409 when the name is taken."""
        rules.decode(resource, manifest)
        self._require_namespace(resource, namespace)
        given = _normalised(resource, from_wire(resource, copy.deepcopy(manifest)))
        new = _new_object(resource, namespace, given)
        new = rules.admit(resource, new)
        rules.validate(resource, new, None)
        name = new["metadata"]["name"]
        if self.store[resource.storage].get((namespace, name)) is not None:
            raise status.already_exists(resource.subject(name))
        if is_dry_run:
            return to_wire(resource, new)
        return to_wire(resource, self.store.put(resource.storage, new))

    def replace(
        self,
        resource: Resource,
        key: Key,
        manifest: Object,
        *,
        subresource: str = "",
        is_dry_run: bool = False,
    ) -> Object:
        """The stored object after a PUT; a uid of another object in it is a conflict (409)."""
        rules.decode(resource, manifest)
        old = self._stored(resource, key)
        metadata = _metadata_of(manifest)
        if metadata.get("name") not in (None, "", key[1]):
            message = (
                f"the name of the object ({metadata['name']}) "
                f"does not match the name on the URL ({key[1]})"
            )
            raise status.bad_request(message)
        _require_identity(resource, old, {"uid": metadata.get("uid")})
        return self._update(
            resource, key, lambda _old: copy.deepcopy(manifest), subresource, is_dry_run=is_dry_run
        )

    def patch(
        self,
        resource: Resource,
        key: Key,
        transform: Transform,
        *,
        subresource: str = "",
        is_dry_run: bool = False,
    ) -> Object:
        """The object after `transform` of what is stored; unchanged keeps its version."""

        def decoded(old: Object) -> Object:
            new = transform(old)
            try:
                rules.decode(resource, new)
            except status.StatusError as error:
                raise status.StatusError(422, "Invalid", error.message) from error
            return new

        return self._update(resource, key, decoded, subresource, is_dry_run=is_dry_run)

    def delete(
        self,
        resource: Resource,
        key: Key,
        preconditions: Object | None = None,
        *,
        is_dry_run: bool = False,
    ) -> Object:
        """The last state; with finalizers left it only gets its deletionTimestamp."""
        old = self._stored(resource, key)
        _require_identity(resource, old, preconditions or {})
        if is_dry_run:
            return to_wire(resource, old)
        if not old["metadata"].get("finalizers"):
            return to_wire(resource, self.store.remove(resource.storage, key))
        if "deletionTimestamp" in old["metadata"]:
            return to_wire(resource, old)
        metadata = old["metadata"] | {
            "deletionTimestamp": now(),
            "deletionGracePeriodSeconds": 0,
        }
        return to_wire(resource, self.store.put(resource.storage, old | {"metadata": metadata}))

    def _update(
        self,
        resource: Resource,
        key: Key,
        transform: Transform,
        subresource: str,
        *,
        is_dry_run: bool,
    ) -> Object:
        old = self._stored(resource, key)
        new = from_wire(resource, transform(to_wire(resource, old)))
        new = _with_fixed_metadata(resource, _normalised(resource, new), old)
        new = rules.keep_foreign_part(resource, new, old, subresource)
        rules.validate(resource, new, old)
        if new == old:
            return to_wire(resource, old)
        if is_dry_run:
            return to_wire(resource, new)
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            return to_wire(resource, self.store.remove(resource.storage, key))
        return to_wire(resource, self.store.put(resource.storage, new))

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


def _metadata_of(manifest: Object) -> Object:
    metadata = manifest.get("metadata") or {}
    if not isinstance(metadata, dict):
        message = "metadata: expected an object"
        raise status.bad_request(message)
    return metadata


def _new_object(resource: Resource, namespace: str, manifest: Object) -> Object:
    metadata = _metadata_of(manifest)
    if metadata.get("resourceVersion"):
        message = "resourceVersion should not be set on objects to be created"
        raise status.StatusError(500, "InternalError", message)
    if metadata.get("namespace", namespace) != namespace and resource.is_namespaced:
        message = (
            "the namespace of the provided object does not match the namespace sent on the request"
        )
        raise status.bad_request(message)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
    if not metadata.get("name"):
        cause = status.Cause(
            "FieldValueRequired",
            "metadata.name",
            "Required value: name or generateName is required",
        )
        raise status.invalid(resource.subject(), [cause])
    fixed: dict[str, Any] = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if resource.is_namespaced:
        fixed["namespace"] = namespace
    return manifest | {"metadata": metadata | fixed}


def _with_fixed_metadata(resource: Resource, new: Object, old: Object) -> Object:
    """`new` with what the server owns; 409 when it names another version than the stored one."""
    metadata, stored = _metadata_of(new), old["metadata"]
    version = metadata.get("resourceVersion")
    if version and version != stored["resourceVersion"]:
        raise status.conflict(resource.subject(stored["name"]))
    kept = ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
    fixed = {key: stored[key] for key in kept if key in stored}
    fixed["resourceVersion"] = stored["resourceVersion"]
    for key in ("uid", "name", "namespace"):
        if not metadata.get(key) and key in stored:
            fixed[key] = stored[key]
    free = {key: value for key, value in metadata.items() if key not in kept}
    return new | {"metadata": free | fixed}


def _without_empty(value: Any, *, is_text_kept: bool) -> Any:
    """The value as Go's omitempty writes it, so that `[]` and absent are equal."""
    if isinstance(value, list):
        return [_without_empty(item, is_text_kept=is_text_kept) for item in value]
    if not isinstance(value, dict):
        return value
    pruned = {
        # A label may be "": it is a map's entry, not a field.
        key: _without_empty(item, is_text_kept=is_text_kept or key in _TEXT_MAPS)
        for key, item in value.items()
    }
    empty: tuple[Any, ...] = (None, {}, []) if is_text_kept else (None, {}, [], "")
    return {key: item for key, item in pruned.items() if item not in empty}


def _normalised(resource: Resource, manifest: Object) -> Object:
    # Only Node's texts are plain strings; a Lease's holderIdentity may be "".
    return cast("Object", _without_empty(manifest, is_text_kept=resource is not NODES))


def _require_identity(resource: Resource, old: Object, wanted: Object) -> None:
    """Nothing when uid and resourceVersion, as far as given, are those stored; else 409."""
    metadata = old["metadata"]
    for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        value = wanted.get(field)
        if value and value != metadata[field]:
            why = (
                f"Precondition failed: {label} in precondition: {value}, "
                f"{label} in object meta: {metadata[field]}"
            )
            raise status.conflict(resource.subject(metadata["name"]), why)
