"""What a process is among the replicas, for as long as it lives."""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass, field


def _identity() -> str:
    return f"{platform.node()}_{os.getpid()}_{secrets.token_hex(4)}"


@dataclass(slots=True)
class Tenure:
    """What one elector of a process leaves to the next.

    `identity` names host and process id, and what tells it from an earlier process of the same
    number. `is_claimed` is whether the Lease may have it in it, `has_led` whether it was said that
    this process leads. With `is_kept` an elector that ends does not give the Lease up: the next
    one goes on with it. Nobody renews it meanwhile, so that it expires when none comes.
    """

    identity: str = field(default_factory=_identity)
    is_claimed: bool = False
    has_led: bool = False
    is_kept: bool = False
