"""An administrator's calls to the API server, for what a test prepares and looks at."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tests.kube.layout import ADMIN_TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from tests.kube.control_plane import ControlPlane

Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
UNINITIALIZED = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}
"""The taint with which a kubelet under `--cloud-provider=external` registers."""

_NODES = "/api/v1/nodes"
_TIMEOUT = aiohttp.ClientTimeout(total=30)


class RefusedError(Exception):
    """The API server answered with an error; the text is what it said."""

    def __init__(self, code: int, status: Object) -> None:
        super().__init__(f"{code}: {status.get('message')}")
        self.code = code


class Admin:
    """Calls of a member of system:masters; its user agent is `admin`."""

    def __init__(self, cluster: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "User-Agent": "admin"}
        self._session = aiohttp.ClientSession(
            cluster.url,
            headers=headers,
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(ssl=context),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Object:
        """The answer's object; RefusedError with its code when it is no 2xx."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, path, data=data, headers={"Content-Type": content_type}
        ) as reply:
            answer: Object = await reply.json()
            if not reply.ok:
                raise RefusedError(reply.status, answer)
            return answer

    async def create_node(
        self,
        name: str,
        *,
        taints: Sequence[Mapping[str, str]] = (UNINITIALIZED,),
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        provider_id: str | None = None,
        system_uuid: str = "",
        addresses: Sequence[Mapping[str, str]] = (),
    ) -> Object:
        """The new Node, as a kubelet would register it; stored with its status."""
        node = {
            "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
            "spec": {"taints": list(taints), "providerID": provider_id},
            "status": {
                "addresses": list(addresses),
                "nodeInfo": _node_info(system_uuid),
            },
        }
        return await self.call("POST", _NODES, {"apiVersion": "v1", "kind": "Node", **node})

    async def node(self, name: str) -> Object | None:
        """The Node, or None when there is none of this name."""
        try:
            return await self.call("GET", f"{_NODES}/{name}")
        except RefusedError as error:
            if error.code == 404:
                return None
            raise

    async def nodes(self, prefix: str = "") -> list[Object]:
        """All Nodes whose names start so, by name."""
        found = (await self.call("GET", _NODES))["items"]
        return [node for node in found if node["metadata"]["name"].startswith(prefix)]

    async def patch_node(self, name: str, patch: object, *, subresource: str = "") -> Object:
        """The Node after a merge patch (an object) or a JSON patch (a list)."""
        kind = JSON_PATCH if isinstance(patch, list) else MERGE_PATCH
        path = f"{_NODES}/{name}/{subresource}".rstrip("/")
        return await self.call("PATCH", path, patch, kind)

    async def delete_node(self, name: str) -> None:
        """Remove the Node; RefusedError 404 when there is none."""
        await self.call("DELETE", f"{_NODES}/{name}")

    async def events(self, name: str) -> list[Object]:
        """The Events on this Node."""
        found = await self.call(
            "GET",
            f"/api/v1/events?fieldSelector=involvedObject.kind=Node,involvedObject.name={name}",
        )
        items: list[Object] = found["items"]
        return items

    async def watch_node(self, name: str) -> AsyncGenerator[tuple[str, Object]]:
        """Each state of the Node, the present one first: (ADDED, MODIFIED or DELETED; the Node).

        Never ends by itself within the life of a test.
        """
        async for event in self.watch_nodes(f"metadata.name={name}"):
            yield event

    async def watch_nodes(self, selector: str = "") -> AsyncGenerator[tuple[str, Object]]:
        """The same for all Nodes that this field selector fits."""
        url = f"{_NODES}?watch=1&fieldSelector={selector}"
        endless = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, timeout=endless) as reply:
            async for line in reply.content:
                event = json.loads(line)
                yield event["type"], event["object"]


def _node_info(system_uuid: str) -> dict[str, str]:
    names = (
        "machineID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
        "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture",
    )  # fmt: skip
    return {**dict.fromkeys(names, "test"), "systemUUID": system_uuid}
