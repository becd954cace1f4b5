#!/usr/bin/env python3
"""Give accounts of an oVirt engine the rights that ovirt-ccm needs, and no others.

    python create_user.py --url https://engine.example.com/ovirt-engine --ca-file ca.pem

Needs ovirt-engine-sdk-python. Asks for the password of an administrator, does what is missing, and
says what it did; run again it does nothing. `--check` only says what is missing.

The controller reads VMs, tags, hosts, clusters, data centres and the event log. That takes the
role ReadOnlyAdmin on the system: an administrator's role with one permit, `login`. Nothing
narrower works: others may not read tags, nor are they told which host a VM runs on.

Exit status: 0 all is there, 1 something is missing (`--check`), 2 it could not be done.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ovirtsdk4
from ovirtsdk4 import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

READER = "ReadOnlyAdmin"
# The engine's own TagManager may also remove entries of the audit log.
TAGGER = "DockerHostTagger"
# The engine's action groups by the number that its API takes (ActionGroup.java).
LOGIN, TAG_MANAGEMENT = "1300", "1301"

_TIMEOUT = 30  # seconds; the SDK waits for ever by default
_NO_ACCOUNT = """\
The directory {authz} has no account {name}. Make it first; for the internal directory on the
engine's machine, with the date until which the password holds (without it: until now):
  ovirt-aaa-jdbc-tool user add {name}
  ovirt-aaa-jdbc-tool user password-reset {name} --password-valid-to="2036-01-01 00:00:00Z"
With Keycloak in its console; --authz is the authorization provider that the engine shows beside
its users, such as internalkeycloak-authz."""


class Failed(Exception):
    """It cannot be done; the text says why, and what to do."""


class Setup:
    """Makes true what is asked for, or with `check` only says what is not."""

    def __init__(self, system: Any, *, check: bool) -> None:
        self._system = system
        self._check = check
        self.missing = 0
        """How much was not there."""

    def user(self, name: str, authz: str) -> Any:
        """The account, known to the engine; None when it is not yet and nothing may be changed."""
        full = f"{name}@{authz}"
        for user in self._system.users_service().list():
            if user.user_name == full:
                say(f"there: the engine knows {full}")
                return user
        return self._do(f"add {full} to the engine", lambda: self._add_user(name, authz))

    def role(self, name: str, permits: Sequence[str] = ()) -> Any:
        """The role of this name; with `permits` it is made when there is none."""
        roles = self._system.roles_service()
        for role in roles.list():
            if role.name == name:
                self._require_permits(role, permits)
                return role
        if not permits:
            raise Failed(
                f"The engine has no role {name}. Is this an oVirt engine of 4.3 or newer?"
            )
        wanted = [types.Permit(id=permit) for permit in permits]
        new = types.Role(name=name, administrative=True, permits=wanted)
        return self._do(f"make the role {name}", lambda: roles.add(new))

    def permission(self, user: Any, role: Any, what: str) -> None:
        """The user has the role on the whole system; `what` says both."""
        permissions = self._system.permissions_service()
        if user and role and any(_is(one, user, role) for one in permissions.list()):
            say(f"there: {what}")
            return
        self._do(f"grant {what}", lambda: permissions.add(_permission(user, role)))

    def tag(self, name: str) -> None:
        """The tag exists: while it does not, the controller cannot tell Docker hosts."""
        tags = self._system.tags_service()
        if any(tag.name == name for tag in tags.list()):
            say(f"there: the tag {name}")
            return
        self._do(f"make the tag {name}", lambda: tags.add(types.Tag(name=name)))

    def _add_user(self, name: str, authz: str) -> Any:
        domain = types.Domain(name=authz)
        user = types.User(user_name=f"{name}@{authz}", principal=name, domain=domain)
        try:
            return self._system.users_service().add(user)
        except Exception as error:  # the SDK's parser raises nothing narrower at the engine's text
            if getattr(error, "code", None) == 403:
                raise
            raise Failed(f"{_NO_ACCOUNT.format(name=name, authz=authz)}\n({error})") from error

    def _require_permits(self, role: Any, permits: Sequence[str]) -> None:
        if not permits:
            return
        service = self._system.roles_service().role_service(role.id)
        found = {permit.id for permit in service.permits_service().list()}
        if found != set(permits):
            raise Failed(
                f"The role {role.name} is there with other permits: {', '.join(sorted(found))}."
                " Remove or rename it; it should have login and tag_management only."
            )

    def _do(self, what: str, action: Callable[[], Any]) -> Any:
        """What `action` gives; None when it is only to be said."""
        self.missing += 1
        if self._check:
            say(f"missing: {what}")
            return None
        result = action()
        say(f"done: {what}")
        return result


def _permission(user: Any, role: Any) -> Any:
    return types.Permission(user=types.User(id=user.id), role=types.Role(id=role.id))


def _is(permission: Any, user: Any, role: Any) -> bool:
    if permission.user is None:  # a group's
        return False
    return (permission.user.id, permission.role.id) == (user.id, role.id)


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    try:
        with _connected(options) as system:
            setup = Setup(system, check=options.check)
            _set_up(setup, options)
    except Failed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 1 if options.check and setup.missing else 0


def _set_up(setup: Setup, options: argparse.Namespace) -> None:
    role = setup.role(READER)
    for name in dict.fromkeys(filter(None, (options.account, options.tagger))):
        user = setup.user(name, options.authz)
        setup.permission(user, role, f"{READER} on the system to {name}")
        if name == options.tagger:
            tagger = setup.role(TAGGER, (LOGIN, TAG_MANAGEMENT))
            setup.permission(user, tagger, f"{TAGGER} on the system to {name}")
    setup.tag(options.tag)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Give accounts of an oVirt engine the rights that ovirt-ccm needs.",
    )
    add = parser.add_argument
    add("--url", required=True, help="https://engine.example.com/ovirt-engine")
    add("--ca-file", type=Path, help="the engine's CA certificate; else the system's")
    add("--insecure", action="store_true", help="do not verify the engine's certificate")
    add(
        "--admin",
        default="admin@internal",
        help="who does it; with Keycloak admin@ovirt@internalsso",
    )
    add("--password-file", type=Path, help="the administrator's password; else it is asked for")
    add("--account", default="kubernetes", help="the controller's account (default: %(default)s)")
    add(
        "--authz",
        default="internal-authz",
        help="its authorization provider (default: %(default)s)",
    )
    add("--tag", default="docker-host", help="the tag of Docker hosts (default: %(default)s)")
    add("--tagger", metavar="ACCOUNT", help="another account, which may tag VMs (`ovirt-ccm tag`)")
    add("--check", action="store_true", help="change nothing, say what is missing")
    return parser


@contextmanager
def _connected(options: argparse.Namespace) -> Iterator[Any]:
    """The SDK's root service; every error of the engine as Failed."""
    url = options.url.rstrip("/").removesuffix("/api")
    connection = None
    try:
        connection = ovirtsdk4.Connection(
            url=f"{url}/api",
            username=options.admin,
            password=_password(options),
            ca_file=str(options.ca_file) if options.ca_file else None,
            insecure=options.insecure,
            timeout=_TIMEOUT,
        )
        yield connection.system_service()
    except ovirtsdk4.Error as error:
        raise Failed(f"The engine did not do it: {error}\n{_hint(error, options)}") from error
    finally:
        if connection:
            connection.close()


def _hint(error: ovirtsdk4.Error, options: argparse.Namespace) -> str:
    if error.code in (400, 403):
        return f"May {options.admin} manage users, roles and tags? SuperUser may."
    if isinstance(error, ovirtsdk4.AuthError):
        return (
            f"{options.admin} cannot log in. Five wrong passwords lock an account for an hour; the"
            " SDK cannot send a password with characters beyond ASCII."
        )
    return "Is the URL right, and --ca-file the engine's?"


def _password(options: argparse.Namespace) -> str:
    try:
        if options.password_file is None:
            return getpass.getpass(f"Password of {options.admin}: ")
        return str(options.password_file.read_text("utf-8")).rstrip("\r\n")
    except OSError as error:
        raise Failed(f"The password cannot be read: {error}") from error
    except EOFError as error:
        raise Failed("Nobody has typed a password: give --password-file") from error


if __name__ == "__main__":
    sys.exit(main())
