"""What engines of different versions show: the differences that clients meet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.simulator.objects import Device

Version = tuple[int, ...]

# The engine's GuestNicNamesBlacklist, since 4.3.
_HIDDEN_NAMES = re.compile(r"(lo[0-9]*|Loopback.*|tun[0-9]*|veth[0-9a-f]*)\Z")


def is_reported(version: Version, device: Device, macs: frozenset[str]) -> bool:
    """Whether the engine takes a guest's interface into its database.

    Before 4.3 all; then all but some names; since 4.5 only those with the MAC of a vNIC that
    has a profile.
    """
    if version < (4, 3):
        return True
    if _HIDDEN_NAMES.match(device.name):
        return False
    return version < (4, 5) or device.mac in macs


def link_names(version: Version) -> dict[str, str]:
    """The spellings that `follow` takes for a VM's collections, and the member each fills."""
    names = {
        "nics": "nics",
        "reported_devices": "reported_devices",
        "tags": "tags",
        "cluster": "cluster",
        "host": "host",
        "template": "template",
        "instance_type": "instance_type",
        "affinity_labels": "affinity_labels",
        "statistics": "statistics",
        "applications": "applications",
    }
    if version >= (4, 4):
        names |= {
            "reporteddevices": "reported_devices",
            "reportedDevices": "reported_devices",
        }
    return names
