"""What clients ask before their first request: versions, groups, resources, OpenAPI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .resources import RESOURCES, Resource

if TYPE_CHECKING:
    from .resources import Object

VERSION = "v1.37.2"

_GROUPS = tuple(dict.fromkeys(item.group for item in RESOURCES if item.group))


def discover(path: str) -> Object | None:
    """The document of that path (no slash at its end), or None when there is none."""
    return _DOCUMENTS.get(path)


def _version() -> Object:
    major, minor, _ = VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": VERSION,
        "gitCommit": "simulated",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource(resource: Resource) -> Object:
    found: Object = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    return found | ({"shortNames": list(resource.short_names)} if resource.short_names else {})


def _resources(group: str) -> Object:
    served = [item for item in RESOURCES if item.group == group]
    listed = [_resource(item) for item in served]
    for item in served:
        if item.has_status:
            verbs = {"verbs": ["get", "patch", "update"], "name": f"{item.plural}/status"}
            listed.append(_resource(replace(item, short_names=())) | verbs)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": listed,
    }


def _root(group: str) -> str:
    return f"apis/{group}/v1" if group else "api/v1"


def _openapi(group: str) -> Object:
    """Just enough for kubectl to learn that the server validates fields itself."""
    paths: Object = {}
    for item in (item for item in RESOURCES if item.group == group):
        scope = "namespaces/{namespace}/" if item.is_namespaced else ""
        kind = {"group": item.group, "version": "v1", "kind": item.kind}
        names = ("dryRun", "fieldManager", "fieldValidation", "force")
        patch: Object = {
            "operationId": f"patch{item.kind}",
            "parameters": [
                {"name": name, "in": "query", "schema": {"type": "string"}} for name in names
            ],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": kind,
        }
        paths[f"/{_root(group)}/{scope}{item.plural}/{{name}}"] = {"patch": patch}
    info = {"title": "Kubernetes", "version": VERSION}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _documents() -> dict[str, Object]:
    groups = [_group(name) for name in _GROUPS]
    roots = [_root(group) for group in ("", *_GROUPS)]
    documents: dict[str, Object] = {
        "/version": _version(),
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/openapi/v3": {
            "paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}
        },
    }
    for group in ("", *_GROUPS):
        documents[f"/{_root(group)}"] = _resources(group)
        documents[f"/openapi/v3/{_root(group)}"] = _openapi(group)
    for name in _GROUPS:
        typed = {"kind": "APIGroup", "apiVersion": "v1"} | _group(name)
        documents[f"/apis/{name}"] = typed
    return documents


_DOCUMENTS = _documents()
