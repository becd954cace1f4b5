"""The scalar types of the configuration file: what may be written, and what an error says."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(value: object) -> timedelta:
    """The duration that `30s`, `2m` or `1h30m` names; ValueError says how to write one."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is not a duration; write a number and a unit: 30s, 2m, 1h")
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(value)))


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as `value`, such as `90s` or `2m`."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["30s"]}),
]


def parse_network(value: object) -> object:
    """The network that a CIDR such as `10.0.0.0/8` names; ValueError says how to write one."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        if isinstance(value, str):
            return ip_interface(value).network
    except ValueError:
        pass
    raise ValueError(f"{value!r} is not a network; write a CIDR: 10.0.0.0/8, fd00::/8")


Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8"]}),
]


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return value


Interval = Annotated[Duration, AfterValidator(_positive)]


class Share(int):
    """A share of a whole, in whole percent."""

    def __str__(self) -> str:
        return f"{int(self)}%"

    def of(self, whole: int) -> int:
        """The share of `whole`, rounded down."""
        return whole * int(self) // 100


_PERCENTAGE = r"(100|\d{1,2})%"


def parse_percentage(value: object) -> Share:
    """The share that `10%` names; ValueError says how to write one."""
    if isinstance(value, Share):
        return value
    if not isinstance(value, str) or not re.fullmatch(_PERCENTAGE, value, re.ASCII):
        raise ValueError(f"{value!r} is not a percentage; write a whole number and %: 10%")
    return Share(int(value[:-1]))


Percentage = Annotated[
    Share,
    PlainValidator(parse_percentage),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_PERCENTAGE}$", "examples": ["10%"]}),
]


def _matching(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """A check of a text whose error says in `words` what would be right."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is wrong: {words}")
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


_LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_LABEL_KEY = (
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)

EngineName = Annotated[
    str,
    *_matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "write lower-case letters, digits and '-' only"
    ),
]
UserName = Annotated[
    str, *_matching(r".+@.+", "write user and profile, such as kubernetes@internal")
]
TagName = Annotated[
    str, *_matching(r"[\w.-]{1,50}", "an oVirt tag has letters, digits, '_', '-' and '.' only")
]
ZoneSource = Annotated[
    str,
    *_matching(
        r"(cluster|data_center|host|tag:[\w.-]+)",
        "write cluster, data_center, host or tag:<parent tag>",
    ),
]
BindAddress = Annotated[
    str,
    *_matching(
        r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):\d{1,5}",
        "write address and port, such as 127.0.0.1:10258 or [::1]:10258",
    ),
]
LabelKey = Annotated[str, *_matching(_LABEL_KEY, "it is no valid label key")]
LabelValue = Annotated[str, *_matching(_LABEL_VALUE, "it is no valid label value")]
TaintText = Annotated[
    str,
    *_matching(
        rf"{_LABEL_KEY}(=({_LABEL_VALUE}))?:(NoSchedule|PreferNoSchedule|NoExecute)",
        "write key=value:Effect with the effect NoSchedule, PreferNoSchedule or NoExecute",
    ),
]


def split_taint(text: str) -> tuple[str, str | None, str]:
    """Key, value (None without `=`) and effect of a valid taint."""
    pair, _, effect = text.rpartition(":")
    key, has_value, value = pair.partition("=")
    return key, value if has_value else None, effect
