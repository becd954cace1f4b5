"""What the catalogue is fed by, as far as it uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.decisions.identity import Directory
    from provider.model import Node


class Fleet(Protocol):
    """What all engines have told, joined."""

    @property
    def directory(self) -> Directory:
        """What they have told."""
        ...

    def subscribe(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Have `callback` called with the changed ids each time that the directory is new."""
        ...


class Informer(Protocol):
    """The Nodes of the cluster."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All Nodes by name, kept true in place."""
        ...

    @property
    def is_synced(self) -> bool:
        """Whether all Nodes have been listed once."""
        ...

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the name of each Node that comes, changes or goes."""
        ...
