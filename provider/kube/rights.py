"""What the controller needs to be allowed in the cluster: the only list of it.

`manifests/rbac.yaml` grants exactly this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from .lease_client import NAME, NAMESPACE

if TYPE_CHECKING:
    from .api import KubeApi


class Right(Struct, frozen=True):
    """One verb on one resource, as RBAC names them; empty fields are not restricted."""

    verb: str
    resource: str
    """With its subresource: `nodes/status`."""
    group: str = ""
    """The API group; "" is the core's."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.kind}"

    @property
    def kind(self) -> str:
        """The resource with its group: `leases.coordination.k8s.io`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def _lease(verb: str, name: str = NAME) -> Right:
    return Right(verb, "leases", "coordination.k8s.io", NAMESPACE, name)


NEEDED: tuple[Right, ...] = (
    *(Right(verb, "nodes") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    Right("patch", "nodes/status"),
    Right("create", "events"),
    Right("patch", "events"),
    *(_lease(verb) for verb in ("get", "update", "patch", "watch")),
    _lease("create", ""),  # RBAC cannot restrict it to a name
    Right("create", "tokenreviews", "authentication.k8s.io"),
    Right("create", "subjectaccessreviews", "authorization.k8s.io"),
)


async def missing_rights(api: KubeApi) -> tuple[Right, ...]:
    """What of `NEEDED` the API server would refuse us, in that order.

    KubeError when it could not be asked.
    """
    return tuple([right for right in NEEDED if not await api.may(right)])
