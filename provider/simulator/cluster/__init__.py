"""A small Kubernetes API for tests and the demo; it shares no code with the product."""

from .faults import (
    BadGateway,
    Conflict,
    CutFrame,
    EmptyWatch,
    ExpiredWatch,
    Faults,
    GatewayTimeout,
    Refusal,
    Reset,
    SilentWatch,
    Throttle,
)
from .kubelet import Kubelet
from .nodes import Nodes
from .server import RecordedRequest, SimulatedCluster
from .status import StatusError

__all__ = [
    "BadGateway",
    "Conflict",
    "CutFrame",
    "EmptyWatch",
    "ExpiredWatch",
    "Faults",
    "GatewayTimeout",
    "Kubelet",
    "Nodes",
    "RecordedRequest",
    "Refusal",
    "Reset",
    "SilentWatch",
    "SimulatedCluster",
    "StatusError",
    "Throttle",
]
