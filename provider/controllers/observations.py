"""What this process has seen of each Node and heard of its instance. Nothing of it is kept.

Every replica observes, so that the next leader need not start anew; a new process does, which is
the safe side.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.decisions.lifecycle import Presence
    from provider.kube.informer import NodeInformer
    from provider.model import Node, Notice

# A write that is refused is refused for all nodes alike: not three hundred times a second.
_FIRST_PAUSE = 2.0  # seconds, doubled up to
_LAST_PAUSE = 300.0


@dataclass(slots=True)
class Observation:
    """One Node, by its uid; times are the loop's.

    `not_ready_since` is None while it is ready. `presence` and `asked` are the newest direct
    answer about its instance, `down_since` and `down_at` the first and last of those in a row
    that said `down`. `said` is what was last said of it, so that it is not said again. Nothing is
    written to it before `not_before`.
    """

    uid: str
    first_seen: float
    not_ready_since: float | None = None
    presence: Presence | None = None
    asked: float = 0.0
    down_since: float | None = None
    down_at: float | None = None
    said: Notice | None = None
    not_before: float = 0.0
    _pause: float = _FIRST_PAUSE

    def heard_presence(self, presence: Presence, now: float) -> None:
        """The engine was asked for the instance alone, at `now`, and said this."""
        self.presence = presence
        self.asked = now

    def heard_down(self, now: float) -> None:
        """The instance was read alone at `now` and is down."""
        self.down_since = now if self.down_since is None else self.down_since
        self.down_at = now

    def forget_down(self) -> None:
        """The instance was seen in another state: what came before proves nothing."""
        self.down_since = self.down_at = None

    def was_refused(self, now: float) -> None:
        """A write to it failed: the next has to wait, each time longer."""
        self.not_before = now + self._pause
        self._pause = min(2 * self._pause, _LAST_PAUSE)

    def was_written(self) -> None:
        """A write to it succeeded."""
        self._pause = _FIRST_PAUSE
        self.not_before = 0.0


class Observations:
    """The observations of all Nodes that there are."""

    def __init__(self, informer: NodeInformer) -> None:
        self._informer = informer
        self._by_name: dict[str, Observation] = {}
        informer.subscribe(self._changed)

    def of(self, node: Node) -> Observation:
        """The observation of this Node; a new one when the Node is news."""
        observation = self._by_name.get(node.name)
        if observation is None or observation.uid != node.uid:
            observation = Observation(node.uid, asyncio.get_running_loop().time())
            self._by_name[node.name] = observation
        return observation

    def _changed(self, name: str) -> None:
        node = self._informer.nodes.get(name)
        if node is None:
            self._by_name.pop(name, None)
            return
        observation = self.of(node)
        if node.is_ready:
            observation.not_ready_since = None
            observation.forget_down()
        elif observation.not_ready_since is None:
            observation.not_ready_since = asyncio.get_running_loop().time()
