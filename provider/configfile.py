"""Reads the configuration file; all its errors at once, each with its path and what is right."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from provider.config import ENV_PREFIX, Config
from provider.errors import ConfigError
from provider.reload import CONFIGURATION, Reload, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails


def load_config(path: Path) -> Config:
    """The configuration in `path`, overridden by the environment.

    Raises ConfigError with every fault: of the file, of its values and of the environment.
    """
    data = _read(path)
    problems = [*_unknown_variables(os.environ)]
    try:
        config = Config(**data)
    except ValidationError as error:
        problems += [_problem(fault) for fault in error.errors() if not _is_echo(fault)]
        raise ConfigError(str(path), tuple(dict.fromkeys(problems))) from None
    if problems:
        raise ConfigError(str(path), tuple(problems))
    return config


_LOOK = 10.0  # seconds; a kubelet takes up to a minute to bring a changed ConfigMap


class ConfigWatch:
    """The configuration file while the program runs.

    `config` is what is at work, which the caller sets. Raises ConfigError when it is not valid to
    begin with.
    """

    def __init__(self, path: Path) -> None:
        self.reload = Reload(CONFIGURATION)
        self._path = path
        self._stamp = stamp((path,))
        self.config = load_config(path)

    async def changed(self) -> Config:
        """The next valid configuration that differs from the one at work."""
        while True:
            await asyncio.sleep(_LOOK)
            found = stamp((self._path,))
            if found == self._stamp:
                continue
            self._stamp = found
            try:
                config = load_config(self._path)
            except ConfigError as error:
                self.reload.kept(f"{self._path}: {'; '.join(error.problems)}")
                continue
            if config != self.config:
                return config
            self.reload.unchanged()


class _Loader(yaml.SafeLoader):
    """A YAML loader to which a key that comes twice is an error; PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature is PyYAML's
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} comes twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(
            str(path), (f"{error.strerror}; name the file with --config FILE",)
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), ("it is not a UTF-8 text file",)) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), (f"not YAML: {_yaml_fault(error)}",)) from None
    if not isinstance(data, dict):
        raise ConfigError(str(path), ("it must be a mapping with the key 'engines'",))
    return {str(key): value for key, value in data.items()}


def _yaml_fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}"
        if isinstance(error, yaml.constructor.ConstructorError):
            return f"{place}: {error.problem}"
        return f"{place}: {error.problem}; look at the indentation, spaces only, and the quotes"
    return str(error).replace("\n", " ")


# ---- faults in words -------------------------------------------------------------------------


# pydantic speaks of Python here, people write YAML.
_WORDS = {
    "tuple_type": "should be a list; begin each entry with '- '",
    "too_short": "should have at least 1 item",
    "model_type": "should have keys and values below it; leave it out when it has none",
    "dict_type": "should have keys and values below it; leave it out when it has none",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
}


def _is_echo(fault: ErrorDetails) -> bool:
    """Whether it only says that a list is too short because its elements were wrong."""
    return fault["type"] == "too_short" and bool(fault["input"])


def _problem(fault: ErrorDetails) -> str:
    location = fault["loc"]
    path = _path(location)
    if fault["type"] == "extra_forbidden":
        return f"{path}: {_unknown_key(location)}"
    if fault["type"] == "missing":
        return f"{path}: is missing; every file needs it"
    said = fault["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    words = _WORDS.get(fault["type"], said)
    if fault["type"] != "value_error":
        words = f"{fault['input']!r} is wrong: {words}"
    if fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float):
        words += "; put it in quotes"
    variable = ENV_PREFIX + "__".join(str(part) for part in location).upper()
    origin = f" (from {variable})" if variable in os.environ else ""
    return f"{path}: {words}{origin}" if path else f"{words}{origin}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if part == "[key]":  # pydantic's word for the key of a mapping, not for its value
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _unknown_key(location: tuple[int | str, ...]) -> str:
    *parents, key = location
    known = _keys_at(tuple(parents))
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"
    return f"is not a known key; {hint}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] | None = Config
    for part in location:
        if isinstance(part, str) and model is not None:
            model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields) if model else []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[Engine, ...]` or `Selection | None` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for a in arguments if (found := _model_of(a))), None)


def scalar_paths() -> dict[str, tuple[str, ...]]:
    """The environment variable of each scalar of the file, and its path."""
    return {ENV_PREFIX + "__".join(path).upper(): path for path in _scalars(Config, ())}


def _scalars(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        origin = getattr(field.annotation, "__origin__", None)
        if inner and origin is None:
            yield from _scalars(inner, (*above, name))
        elif origin not in (tuple, dict):
            yield (*above, name)


# Kubernetes tells each container of every Service of its namespace: one called ovirt-ccm gives
# OVIRT_CCM_SERVICE_HOST and OVIRT_CCM_PORT_10258_TCP_ADDR.
_OF_A_SERVICE = re.compile(
    rf"{ENV_PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = scalar_paths()
    for variable in sorted(environment):
        if variable in known or _OF_A_SERVICE.fullmatch(variable):
            continue
        if variable.startswith(ENV_PREFIX):
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{variable}: this environment variable sets no scalar of the file{hint}"
