"""What every controller works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from provider.config import Config
    from provider.controllers.fleet import Fleet
    from provider.kube.api import KubeApi
    from provider.kube.informer import NodeInformer
    from provider.kube.recorder import EventRecorder
    from provider.metrics import Metrics


class Workbench(Struct, frozen=True):
    """What is known of Nodes (`informer`) and instances (`fleet`), and the means to act."""

    config: Config
    api: KubeApi
    informer: NodeInformer
    fleet: Fleet
    recorder: EventRecorder
    metrics: Metrics
