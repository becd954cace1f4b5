"""A text that outlives every replica: one annotation on the Lease that they share.

What it says is its users' affair. The rest of the Lease is the elector's and is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.errors import Conflict, NotFound
from provider.model import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import KubeApi

ANNOTATION = f"{PREFIX}deletions"

# The holder renews the Lease every two seconds: two writes seldom meet, five in a row never.
_TRIES = 5


class Ledger:
    """The annotation; every call raises KubeError when it cannot be had."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def read(self) -> str:
        """The text, "" when there is none."""
        return (await self._read())[0]

    async def update(self, change: Callable[[str], str]) -> str:
        """The text that was written, which is `change` of the one that was there.

        The Lease is made when there is none. Whatever `change` raises, nothing is written then.
        OutcomeUnknown when it may have been written.
        """
        for _ in range(_TRIES - 1):
            try:
                return await self._try(change)
            except Conflict:
                continue
        return await self._try(change)

    async def _try(self, change: Callable[[str], str]) -> str:
        text, version = await self._read()
        changed = change(text)
        if changed != text:
            await self._api.annotate_lease(version, {ANNOTATION: changed})
        return changed

    async def _read(self) -> tuple[str, str]:
        """The text, and the resourceVersion of the Lease; "" when there is no Lease."""
        try:
            metadata = await self._api.lease_metadata()
        except NotFound:
            return "", ""
        annotations = metadata.get("annotations") or {}
        return str(annotations.get(ANNOTATION, "")), str(metadata.get("resourceVersion", ""))
