"""What operators' commands write to an engine: tags. The only place that uses the official SDK.

The SDK waits for ever by default, also during its own log-in, and looks for CA certificates where
Debian has none. So it gets a token of ours, a time-out and a CA file; it blocks, and runs in a
thread of its own.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ovirtsdk4
from msgspec import Struct
from ovirtsdk4 import types

from provider.errors import (
    EngineError,
    EngineUnavailable,
    EngineUntrusted,
    PermissionMissing,
    SelectionInvalid,
)
from provider.ovirt.faults import EXCERPT
from provider.ovirt.transport import ca_remedy
from provider.ovirt.wire import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provider.config import Engine
    from provider.ovirt.client import EngineClient

# The first that exists: Debian and Alpine, Red Hat.
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
# How the SDK says what libcurl said: [(<pycurl.Curl object>, 28, 'Operation timed out')].
_CURL = re.compile(r"\(<pycurl[^>]*>, \d+, [\"'](.*?)[\"']\)")
_WRITE_REMEDY = (
    "This command needs an account that may change tags and VMs, such as an administrator's; the"
    " controller itself needs ReadOnlyAdmin only."
)


async def tag(
    client: EngineClient, names: Iterable[str], tag_name: str, *, dry_run: bool
) -> tuple[str, ...]:
    """What was done so that the VMs called `names` carry the tag, a sentence each.

    Nothing is done where it is so already. Makes the tag when it is missing. A name may be a VM's
    id. With `dry_run` nothing is written. SelectionInvalid when a name is no VM's or that of two;
    then nothing is written either.
    """
    return await asyncio.to_thread(
        _tag, await _access(client), tuple(names), tag_name, dry_run=dry_run
    )


async def untag(
    client: EngineClient, names: Iterable[str], tag_name: str, *, dry_run: bool
) -> tuple[str, ...]:
    """What was done so that the VMs called `names` do not carry the tag; as `tag` otherwise."""
    return await asyncio.to_thread(
        _untag, await _access(client), tuple(names), tag_name, dry_run=dry_run
    )


class _Access(Struct, frozen=True):
    engine: Engine
    token: str
    timeout: int


async def _access(client: EngineClient) -> _Access:
    timeout = max(1, round(client.limits.engine_read_timeout.total_seconds()))
    return _Access(client.engine, await client.access_token(), timeout)


class _Connection(ovirtsdk4.Connection):  # type: ignore[misc]  # the SDK carries no types
    """Never logs in by itself: after a 401 the SDK would, without a time-out or our manners."""

    def _get_access_token(self) -> str:
        raise ovirtsdk4.AuthError("the engine no longer knows the session")


def _tag(
    access: _Access, names: tuple[str, ...], tag_name: str, *, dry_run: bool
) -> tuple[str, ...]:
    changes: list[str] = []
    with _connection(access) as system:
        vms = _find_vms(access.engine.name, system, names)
        if _find_tag(system, tag_name) is None:
            changes.append(f"make the tag {tag_name}")
            if not dry_run:
                system.tags_service().add(types.Tag(name=tag_name))
        for vm in vms:
            tags = system.vms_service().vm_service(vm.id).tags_service()
            if any(attached.name == tag_name for attached in tags.list()):
                continue
            changes.append(f"tag {vm.name} with {tag_name}")
            if not dry_run:
                tags.add(types.Tag(name=tag_name))
    return tuple(changes)


def _untag(
    access: _Access, names: tuple[str, ...], tag_name: str, *, dry_run: bool
) -> tuple[str, ...]:
    changes: list[str] = []
    with _connection(access) as system:
        for vm in _find_vms(access.engine.name, system, names):
            tags = system.vms_service().vm_service(vm.id).tags_service()
            for attached in tags.list():
                if attached.name != tag_name:
                    continue
                changes.append(f"take the tag {tag_name} from {vm.name}")
                if not dry_run:
                    tags.tag_service(attached.id).remove()
    return tuple(changes)


def _find_tag(system: Any, tag_name: str) -> Any | None:
    return next((found for found in system.tags_service().list() if found.name == tag_name), None)


def _find_vms(engine: str, system: Any, names: tuple[str, ...]) -> list[Any]:
    """The VMs of these names or ids, each once, in this order."""
    vms: dict[str, Any] = {}
    for name in names:
        vm = (
            _find_by_id(engine, system, name)
            if is_uuid(name)
            else _find_by_name(engine, system, name)
        )
        vms[vm.id] = vm
    return list(vms.values())


def _find_by_id(engine: str, system: Any, vm_id: str) -> Any:
    try:
        return system.vms_service().vm_service(vm_id.lower()).get()
    except ovirtsdk4.NotFoundError as error:
        raise SelectionInvalid(engine, f"has no VM with the id {vm_id}.") from error


def _find_by_name(engine: str, system: Any, name: str) -> Any:
    # A name with a special character would be another search; no VM has one.
    if not name or set(name) & set("\"'();*= \\<>!,"):
        raise SelectionInvalid(engine, f"{name!r} is no name of a VM.")
    found = [vm for vm in system.vms_service().list(search=f"name={name}") if vm.name == name]
    if not found:
        raise SelectionInvalid(
            engine, f"has no VM called {name}.", remedy="Names of VMs are case-sensitive here."
        )
    if len(found) > 1:
        ids = ", ".join(sorted(vm.id for vm in found))
        raise SelectionInvalid(
            engine, f"has {len(found)} VMs called {name}.", remedy=f"Name one by its id: {ids}."
        )
    return found[0]


@contextmanager
def _connection(access: _Access) -> Iterator[Any]:
    """The SDK's root service; its errors become ours."""
    engine = access.engine
    try:
        connection = _Connection(
            url=f"{engine.url}/api",
            token=access.token,
            insecure=engine.insecure,
            ca_file=_ca_file(engine),
            timeout=access.timeout,
            headers={"Filter": "false"},
        )
        try:
            yield connection.system_service()
        finally:
            connection.close(logout=False)
    except ovirtsdk4.Error as error:
        raise _ours(engine, error) from error


def _ca_file(engine: Engine) -> str | None:
    if engine.insecure or engine.url.startswith("http:"):
        return None
    own = (engine.ca_file, ssl.get_default_verify_paths().cafile, *_CA_BUNDLES)
    return next((str(path) for path in own if path and Path(path).exists()), None)


def _ours(engine: Engine, error: ovirtsdk4.Error) -> EngineError:
    curl = _CURL.search(str(error))
    text = " ".join((curl[1] if curl else str(error)).split())[:EXCERPT].rstrip(".")
    if error.code is None and "certificate" in text.lower():
        return EngineUntrusted(
            engine.name, f"its certificate is not trusted: {text}.", remedy=ca_remedy(engine)
        )
    if error.code == 403 or "insufficient permissions" in text:
        return PermissionMissing(engine.name, f"refuses the change: {text}.", remedy=_WRITE_REMEDY)
    return EngineUnavailable(engine.name, f"did not do it: {text}.")
