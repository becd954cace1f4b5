"""The cluster's Nodes from the side of a test or the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .patch import merge_patch
from .registry import WriteOptions
from .resources import NODES, Object, to_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .registry import Registry

_STATUS = WriteOptions(subresource="status")


class Nodes:
    """Nodes by name, under the rules of the API server and with its watch events.

    Refusals are StatusErrors. What is returned belongs to the store: read it, do not change it.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __iter__(self) -> Iterator[Object]:
        """All nodes, by name."""
        for _, stored in self._registry.store["nodes"].entries():
            yield to_wire(NODES, stored)

    def __len__(self) -> int:
        return len(self._registry.store["nodes"].entries())

    def __contains__(self, name: object) -> bool:
        return self._registry.store["nodes"].get(("", str(name))) is not None

    def get(self, name: str) -> Object:
        """The node; 404 when there is none."""
        return self._registry.get(NODES, "", name)

    def create(self, manifest: Object) -> Object:
        """The new node; its status is kept, the not-ready taint added."""
        return self._registry.create(NODES, "", manifest)

    def put(self, manifest: Object) -> Object:
        """The node after both its parts were replaced, or created when it was absent."""
        name = str(manifest["metadata"]["name"])
        if name not in self:
            return self.create(manifest)
        stored = self._registry.replace(NODES, ("", name), manifest)
        metadata = manifest["metadata"] | {
            "resourceVersion": stored["metadata"]["resourceVersion"]
        }
        return self._registry.replace(
            NODES, ("", name), manifest | {"metadata": metadata}, _STATUS
        )

    def patch(self, name: str, patch: Object, *, subresource: str = "") -> Object:
        """The node after a merge-patch of it or of its `status`."""
        return self._registry.patch(
            NODES,
            ("", name),
            lambda node: merge_patch(node, patch),
            WriteOptions(subresource=subresource),
        )

    def delete(self, name: str) -> None:
        """Remove the node; 404 when there is none."""
        self._registry.delete(NODES, ("", name))
