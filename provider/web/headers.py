"""What the head of every answer says."""

from __future__ import annotations

from types import MappingProxyType

from multidict import istr

# Strict-Transport-Security is missing on purpose: it is about names that browsers remember, and
# would reach every port of them. Which version of what serves is nobody's business.
COMMON = MappingProxyType(
    {
        istr("Server"): "ovirt-ccm",
        istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
        istr("X-Content-Type-Options"): "nosniff",
    }
)
"""Headers of all answers. A handler may say more, and others of these but for the first."""
