"""The calls that we make to the API server, a function each."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from provider.errors import ApiUnavailable

from .codec import NodePage, Undecodable, decode_node, decode_page, decode_version
from .encode import MERGE_PATCH, Write, encode_new_node
from .lease_client import NAME as LEASE_NAME
from .lease_client import NAMESPACE as LEASE_NAMESPACE
from .lines import split_lines
from .transport import Client, Request, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta

    from provider.metrics import Metrics
    from provider.model import NewNode, Node

    from .access import Access
    from .fence import Fence
    from .rights import Right

T = TypeVar("T")

_NODES = "/api/v1/nodes"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"
# Of an object that was written only its metadata: all of a Node in JSON is a twentieth of what a
# write costs the API server. Whoever does not know the form sends the whole object.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
_MISSING = "Is this the address of a Kubernetes API server?"


class KubeApi(Client):
    """One API server; an async context manager that opens and closes the session.

    `timeout` bounds each call as a whole; writes go through the `fence`, if any. Every call raises
    KubeError: for a read ApiUnavailable when nothing usable came, for a write OutcomeUnknown when
    it was sent and nothing came.
    """

    def __init__(
        self, access: Access, timeout: timedelta, metrics: Metrics, fence: Fence | None = None
    ) -> None:
        super().__init__(Transport(access, timeout, metrics, fence))

    # ---- nodes -----------------------------------------------------------------------------

    async def nodes_page(self, limit: int, continue_: str) -> NodePage:
        """A page of the Nodes, read through to etcd; `limit` 0 is all, `continue_` "" the first.

        Gone when `continue_` has expired.
        """
        # With a resourceVersion the API server would answer from its cache and ignore the limit.
        params = {"limit": str(limit)} | ({"continue": continue_} if continue_ else {})
        request = Request("list", "nodes", _NODES, params)
        return await self._decoded(request, decode_page)

    async def watch_nodes(
        self, resource_version: str, lifetime: timedelta, idle: timedelta
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch from `resource_version` on, bookmarks included, of any length.

        Ends when the API server ends it, after `lifetime` at the latest. Gone when the version
        is too old; TimeoutError after `idle` without a byte.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(round(lifetime.total_seconds())),
        }
        request = Request("watch", "nodes", _NODES, params)
        async with (
            self._transport.stream(request, idle) as content,
            aclosing(split_lines(content.iter_any())) as lines,
        ):
            async for line in lines:
                yield line

    async def get_node(self, name: str) -> Node:
        """The Node as it is now; NotFound when there is none."""
        return await self._node(Request("get", "nodes", _node_path(name)))

    async def create_node(self, new: NewNode) -> Node:
        """The Node that was created; Conflict when the name is taken."""
        now = datetime.now(UTC)
        return await self._node(Request("create", "nodes", _NODES, body=encode_new_node(new, now)))

    async def patch_node(self, name: str, write: Write) -> Node:
        """The Node after the write to its main resource; Conflict when it has changed."""
        return await self._patch_node("nodes", _node_path(name), write)

    async def patch_node_status(self, name: str, write: Write) -> Node:
        """The Node after the write to its status; Conflict when it is another Node now."""
        return await self._patch_node("nodes/status", f"{_node_path(name)}/status", write)

    async def write_node(self, name: str, write: Write) -> str:
        """As `patch_node`; only the new resourceVersion is told, which costs far less."""
        return await self._write_node("nodes", _node_path(name), write)

    async def write_node_status(self, name: str, write: Write) -> str:
        """As `patch_node_status`; only the new resourceVersion is told, which costs far less."""
        return await self._write_node("nodes/status", f"{_node_path(name)}/status", write)

    async def delete_node(self, node: Node) -> None:
        """Delete the Node exactly as it was read: Conflict when it has changed or is another."""
        preconditions = {"uid": node.uid, "resourceVersion": node.resource_version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self._transport.send(Request("delete", "nodes", _node_path(node.name), body=body))

    # ---- events ----------------------------------------------------------------------------

    async def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        """Create an Event of core/v1; Conflict when the name is taken."""
        path = _events(namespace)
        await self._transport.send(Request("create", "events", path, body=event, accept=METADATA))

    async def patch_event(self, namespace: str, name: str, change: dict[str, Any]) -> None:
        """Merge `change` into an Event; NotFound when it has expired."""
        path = f"{_events(namespace)}/{quote(name, safe='')}"
        await self._transport.send(Request("patch", "events", path, {}, change, MERGE_PATCH))

    # ---- the Lease of the replicas -----------------------------------------------------------

    async def lease_metadata(self) -> dict[str, Any]:
        """The metadata of the Lease; NotFound when there is none."""
        answer = await self._ask(Request("get", "leases", f"{_LEASES}/{LEASE_NAME}"), "metadata")
        return dict(answer)

    async def annotate_lease(self, version: str, annotations: dict[str, str]) -> None:
        """Merge `annotations` into the Lease of this resourceVersion; Conflict when it changed.

        Nothing else of it is touched: it is the elector's. Without a version it is created, held
        by nobody; Conflict when there is one.
        """
        metadata: dict[str, Any] = {"annotations": annotations}
        body: dict[str, Any]
        if version:
            body = {"metadata": metadata | {"resourceVersion": version}}
            path = f"{_LEASES}/{LEASE_NAME}"
            await self._transport.send(Request("patch", "leases", path, {}, body, MERGE_PATCH))
            return
        metadata |= {"name": LEASE_NAME, "namespace": LEASE_NAMESPACE}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        await self._transport.send(Request("create", "leases", _LEASES, body=body))

    # ---- questions about the cluster and ourselves -------------------------------------------

    async def version(self) -> str:
        """The API server's version, such as `v1.37.2`."""
        return str(await self._ask(Request("get", "version", "/version"), "gitVersion"))

    async def whoami(self) -> str:
        """The user name that the API server knows us by."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        request = Request("review", "selfsubjectreviews", path, body=body)
        return str(await self._ask(request, "status", "userInfo", "username"))

    async def may(self, right: Right) -> bool:
        """Whether the API server would let us do this now."""
        name, _, subresource = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": name,
            "subresource": subresource,
            "namespace": right.namespace,
            "name": right.name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        request = Request("review", "selfsubjectaccessreviews", reviews, body=body)
        return bool(await self._ask(request, "status", "allowed"))

    # ---- how -------------------------------------------------------------------------------

    async def _patch_node(self, resource: str, path: str, write: Write) -> Node:
        return await self._node(
            Request("patch", resource, path, {}, write.body, write.content_type)
        )

    async def _write_node(self, resource: str, path: str, write: Write) -> str:
        request = Request("patch", resource, path, {}, write.body, write.content_type, METADATA)
        return await self._decoded(request, decode_version)

    async def _node(self, request: Request) -> Node:
        return await self._decoded(request, decode_node)

    async def _decoded(self, request: Request, decode: Callable[[bytes], T]) -> T:
        raw = await self._transport.send(request)
        try:
            return decode(raw)
        except Undecodable as error:
            raise ApiUnavailable(f"{request}: {error}.", remedy=_MISSING) from error

    async def _ask(self, request: Request, *path: str) -> Any:
        raw = await self._transport.send(request)
        try:
            answer = msgspec.json.decode(raw)
            for key in path:
                answer = answer[key]
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            message = f"{request}: the answer has no {'.'.join(path)}."
            raise ApiUnavailable(message, remedy=_MISSING) from error
        return answer


def _node_path(name: str) -> str:
    return f"{_NODES}/{quote(name, safe='')}"


def _events(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
