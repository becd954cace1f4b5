"""Names of oVirt as values of labels."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from msgspec import Struct

_VALUE_LENGTH = 63
_HASH_LENGTH = 6
_VALID_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ENDS_LIKE_A_HASH = re.compile(rf".*-[0-9a-f]{{{_HASH_LENGTH}}}")


class LabelValue(Struct, frozen=True):
    """A valid label value, and whether it differs from the name that it stands for."""

    text: str
    is_changed: bool


@lru_cache(maxsize=4096)  # thousands of instances share a few clusters, hosts and types
def label_value(*parts: str) -> LabelValue:
    """The label value that stands for `parts`, joined by dots, and for nothing else.

    What Kubernetes does not allow in a value becomes `-`, and a hash of the parts is appended.
    So it is to parts with dots of their own, and to a name that ends as if it had a hash already:
    two names never become one.
    """
    name = ".".join(parts)
    is_plain = _VALID_VALUE.fullmatch(name) and len(name) <= _VALUE_LENGTH
    has_clear_parts = len(parts) == 1 or name.count(".") == len(parts) - 1
    if is_plain and has_clear_parts and not _ENDS_LIKE_A_HASH.fullmatch(name):
        return LabelValue(name, is_changed=False)
    digest = sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:_HASH_LENGTH]
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("._-")
    stem = stem[: _VALUE_LENGTH - _HASH_LENGTH - 1].rstrip("._-") or "x"
    return LabelValue(f"{stem}-{digest}", is_changed=True)
