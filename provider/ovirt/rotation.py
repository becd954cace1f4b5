"""Has an engine that refused the password asked again as soon as the file holds another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from provider.errors import LoginRefused

if TYPE_CHECKING:
    from provider.ovirt.client import EngineClient
    from provider.ovirt.inventory import Inventory

_LOOK = 5.0  # seconds


class PasswordWatch:
    """Looks into the password file of one engine while the engine refuses what it held.

    Else the next listing would be the first to try it, a minute later.
    """

    def __init__(self, client: EngineClient, inventory: Inventory) -> None:
        self._client = client
        self._inventory = inventory

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            is_refused = isinstance(self._inventory.last_error, LoginRefused)
            if is_refused and self._client.has_new_secret():
                self._inventory.list_soon()
