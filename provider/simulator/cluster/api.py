"""The HTTP face of the simulated API server: paths, verbs, formats."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

from aiohttp import web

from . import listing, patch, schema, status, watch
from .discovery import discover
from .faults import WatchEffect
from .registry import WriteOptions
from .resources import Object, Resource, find_resource, to_wire
from .selectors import Selector, field_selector, label_selector
from .table import build_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .faults import Effect, Faults
    from .registry import Registry
    from .store import Key

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """What a path points at; an empty name is the whole collection."""

    resource: Resource
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return self.namespace, self.name


def parse_target(path: str) -> Target | None:
    """What the path points at, or None when nothing is served there."""
    match path.strip("/").split("/"):
        case ["api", "v1", *rest]:
            group = ""
        case ["apis", group, "v1", *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3:
        return None
    plural, name, subresource = [*rest, "", ""][:3]
    resource = find_resource(group, plural)
    if resource is None or (subresource and not _has_subresource(resource, subresource)):
        return None
    if resource.is_namespaced != bool(namespace) and (name or namespace):
        return None
    return Target(resource, namespace, name, subresource)


def _has_subresource(resource: Resource, subresource: str) -> bool:
    return subresource == "status" and resource.has_status


def is_watch(request: web.Request) -> bool:
    """Whether the request asks for a stream."""
    return request.method == "GET" and watch.is_true(request.query.get("watch", ""))


class Api:
    """Answers requests out of a registry."""

    def __init__(
        self,
        registry: Registry,
        faults: Faults,
        *,
        bookmark_period: float,
        is_expiry_event: bool,
    ) -> None:
        self._registry = registry
        self._faults = faults
        self._bookmark_period = bookmark_period
        self._is_expiry_event = is_expiry_event
        self._verbs: dict[str, Callable[[web.Request, Target], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def handle(self, request: web.Request, effect: Effect | None) -> web.StreamResponse:
        """The answer; StatusError for a refusal. Only watches look at the effect."""
        path = request.path.rstrip("/")
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        document = discover(path)
        if document is not None:
            return web.json_response(document)
        target = parse_target(request.path)
        if target is None:
            raise status.no_such_path()
        if is_watch(request):
            watch_effect = effect if isinstance(effect, get_args(WatchEffect)) else None
            return await self._watch(request, target, cast("WatchEffect | None", watch_effect))
        _require_acceptable(request)
        verb = _VERBS.get(request.method, "")
        if not target.name:
            verb = {"get": "list", "delete": "deletecollection", "create": "create"}.get(verb, "")
        if verb not in target.resource.verbs or (verb == "create" and target.name):
            raise status.method_not_allowed()
        return await self._verbs[verb](request, target)

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        found = self._registry.get(target.resource, target.namespace, target.name)
        return _answer(request, target.resource, found)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        resource = target.resource
        store = self._registry.store
        page = listing.read_page(
            store, store[resource.storage], _selector(request, target), request.query
        )
        if _wanted_form(request) == "Table":
            include = request.query.get("includeObject", "Metadata")
            items = [to_wire(resource, item) for item in page.objects]
            return _json(build_table(resource, items, page.metadata, include=include))
        return _json(_list_of(resource, page.objects, page.metadata))

    async def _watch(
        self, request: web.Request, target: Target, effect: WatchEffect | None
    ) -> web.StreamResponse:
        resource = target.resource
        store, view = self._registry.store, _view(request, resource)
        stream = watch.WatchStream(
            request,
            store,
            store[resource.storage],
            self._faults,
            options=watch.parse_options(request.query),
            selector=_selector(request, target),
            view=view,
            bookmark=lambda bare: view(schema.decode(resource.kind, bare)),
            bookmark_period=self._bookmark_period,
        )
        return await stream.serve(effect, is_expiry_event=self._is_expiry_event)

    async def _create(self, request: web.Request, target: Target) -> web.StreamResponse:
        manifest = await _read_object(request, target.resource)
        created = self._registry.create(
            target.resource, target.namespace, manifest, _options(request, target)
        )
        return _answer(request, target.resource, created, code=201)

    async def _update(self, request: web.Request, target: Target) -> web.StreamResponse:
        manifest = await _read_object(request, target.resource)
        is_new = self._registry.store[target.resource.storage].get(target.key) is None
        updated = self._registry.replace(
            target.resource, target.key, manifest, _options(request, target)
        )
        return _answer(request, target.resource, updated, code=201 if is_new else 200)

    async def _patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        content_type = request.content_type
        if content_type not in patch.CONTENT_TYPES:
            raise status.unsupported_media_type(patch.CONTENT_TYPES)
        body = await _read_json(request)
        patched = self._registry.patch(
            target.resource,
            target.key,
            lambda old: patch.apply_patch(content_type, body, old),
            _options(request, target),
        )
        return _answer(request, target.resource, patched)

    async def _delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await _read_delete_options(request)
        options = replace(
            _options(request, target),
            is_dry_run=_is_dry_run(request) or bool(body.get("dryRun")),
        )
        gone = self._registry.delete(
            target.resource, target.key, body.get("preconditions"), options
        )
        if gone["metadata"].get("finalizers"):
            return _json(gone)
        details = target.resource.subject(target.name).details | {"uid": gone["metadata"]["uid"]}
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json(success | {"details": details})

    async def _delete_collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        resource, selector = target.resource, _selector(request, target)
        store = self._registry.store
        doomed = [item for item in store[resource.storage].entries() if selector(item[1])]
        for key, _ in doomed:
            self._registry.delete(resource, key)
        metadata = {"resourceVersion": str(store.revision)}
        return _json(_list_of(resource, [item for _, item in doomed], metadata))


def _list_of(resource: Resource, stored: Sequence[Object], metadata: Object) -> Object:
    # A real list leaves the type out of its items: it is said once, by the list.
    typed = ("kind", "apiVersion")
    wire = (to_wire(resource, item) for item in stored)
    items = [{key: item[key] for key in item if key not in typed} for item in wire]
    body = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
    return body | {"metadata": metadata, "items": items}


def error_response(error: status.StatusError) -> web.Response:
    """The refusal as the API server writes it."""
    response = _json(error.body, code=error.code)
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response


def _json(body: Object, *, code: int = 200) -> web.Response:
    text = json.dumps(body, separators=(",", ":")) + "\n"
    return web.Response(body=text.encode(), content_type="application/json", status=code)


def _answer(
    request: web.Request, resource: Resource, found: Object, *, code: int = 200
) -> web.Response:
    form = _wanted_form(request)
    if request.method == "GET" and form == "Table":
        return _json(_table_of(request, resource, [found]))
    if form == "PartialObjectMetadata":
        found = {"kind": form, "apiVersion": "meta.k8s.io/v1", "metadata": found["metadata"]}
    return _json(found, code=code)


def _table_of(
    request: web.Request, resource: Resource, items: Sequence[Object], *, has_header: bool = True
) -> Object:
    include = request.query.get("includeObject", "Metadata")
    metadata = {"resourceVersion": items[0]["metadata"]["resourceVersion"]}
    return build_table(resource, items, metadata, include=include, has_header=has_header)


def _view(request: web.Request, resource: Resource) -> Callable[[Object], Object]:
    """What one object of a watch looks like; of tables only the first has column names."""
    if _wanted_form(request) != "Table":
        return lambda stored: to_wire(resource, stored)
    seen: list[bool] = []

    def table(stored: Object) -> Object:
        has_header = not seen
        seen.append(True)
        return _table_of(request, resource, [to_wire(resource, stored)], has_header=has_header)

    return table


def _require_acceptable(request: web.Request) -> None:
    accepted = request.headers.get("Accept") or "*/*"
    if not any(media in accepted for media in ("application/json", "application/*", "*/*")):
        raise status.not_acceptable()


def _wanted_form(request: web.Request) -> str:
    """The form that the client wants first, of those served; empty for the object itself.

    Served are Tables where something is read, and metadata alone (k8s.io/apiserver negotiation).
    """
    for clause in request.headers.get("Accept", "").split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media != "application/json":
            continue
        for form in ("Table", "PartialObjectMetadata"):
            if f"as={form}" in parameters and "v=v1" in parameters:
                return form
        return ""
    return ""


def _selector(request: web.Request, target: Target) -> Selector:
    query: Mapping[str, str] = request.query
    resource = target.resource
    labels = label_selector(query.get("labelSelector", ""))
    fields = field_selector(
        query.get("fieldSelector", ""), resource.storage, is_namespaced=resource.is_namespaced
    )
    name, namespace = target.name, target.namespace

    def selects(item: Object) -> bool:
        metadata = item["metadata"]
        if namespace and metadata.get("namespace") != namespace:
            return False
        return name in ("", metadata["name"]) and labels(item) and fields(item)

    return selects


def _options(request: web.Request, target: Target) -> WriteOptions:
    return WriteOptions(
        is_dry_run=_is_dry_run(request),
        is_strict=request.query.get("fieldValidation") == "Strict",
        subresource=target.subresource,
    )


def _is_dry_run(request: web.Request) -> bool:
    return request.query.get("dryRun") == "All"


async def _read_json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        message = f"the object provided is unrecognized: {error}"
        raise status.bad_request(message) from error


async def _read_delete_options(request: web.Request) -> Object:
    body = await _read_json(request) if request.can_read_body else {}
    if not isinstance(body, dict) or not isinstance(body.get("preconditions") or {}, dict):
        message = "json: cannot unmarshal into Go struct of type v1.DeleteOptions"
        raise status.bad_request(message)
    return body


async def _read_object(request: web.Request, resource: Resource) -> Object:
    if request.headers.get("Content-Type") and request.content_type != "application/json":
        raise status.unsupported_media_type(("application/json",))
    body = await _read_json(request)
    if not isinstance(body, dict):
        message = "the object provided is unrecognized (must be of type Object)"
        raise status.bad_request(message)
    kind, version = body.get("kind"), body.get("apiVersion")
    if kind not in (None, resource.kind) or version not in (None, resource.api_version):
        message = (
            f"{kind} in version {version!r} cannot be handled as a {resource.kind} "
            f"in version {resource.api_version!r}"
        )
        raise status.bad_request(message)
    return body
