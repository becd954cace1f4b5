"""Durations and sizes as a scenario writes them: `30s`, `2m`, `4 GiB`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"([0-9.]+)(ms|s|m|h)")
_SIZES = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", value):
        raise ValueError(f'"{value}" is no duration such as 500ms, 30s or 2m')
    return timedelta(seconds=sum(float(n) * _SECONDS[u] for n, u in _DURATION.findall(value)))


def _size(value: object) -> object:
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+)\s*(MiB|GiB|TiB)", value)):
        return int(found[1]) * _SIZES[found[2]]
    return value


def _text(value: object) -> object:
    return str(value) if isinstance(value, float | int) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size)]
Text = Annotated[str, BeforeValidator(_text)]
