"""The Ansible playbook gives what the script gives, with arguments that its modules have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parents[2] / "deploy/ovirt"
_SCRIPT = (_FOLDER / "create_user.py").read_text("utf-8")
(_PLAY,) = yaml.safe_load((_FOLDER / "user.yml").read_text("utf-8"))
# Of the modules of the collection ovirt.ovirt 3.2, those that are used here.
_ARGUMENTS = {
    "auth": {
        "url",
        "username",
        "password",
        "ca_file",
        "insecure",
        "timeout",
        "state",
        "ovirt_auth",
    },
    "user": {"auth", "name", "authz_name"},
    "permission": {"auth", "user_name", "authz_name", "object_type", "role"},
    "role": {"auth", "name", "administrative", "permits"},
    "tag": {"auth", "name"},
}


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each module that is called, without `ovirt.ovirt.ovirt_`, and its arguments."""
    (block,) = _PLAY["tasks"]
    for task in (*block["block"], *block["always"]):
        ((name, arguments),) = ((k, v) for k, v in task.items() if k.startswith("ovirt.ovirt."))
        yield name.removeprefix("ovirt.ovirt.ovirt_"), arguments


def test_every_module_and_argument_exists() -> None:
    for module, arguments in calls():
        assert arguments.keys() <= _ARGUMENTS[module]


def test_it_gives_the_roles_that_the_script_gives() -> None:
    granted = [arguments["role"] for module, arguments in calls() if module == "permission"]
    (made,) = (arguments for module, arguments in calls() if module == "role")

    assert granted == ["ReadOnlyAdmin", "DockerHostTagger"]
    assert made["permits"] == ["login", "tag_management"]
    assert made["administrative"] is True
    for name in (*granted, made["name"]):
        assert f'"{name}"' in _SCRIPT


def test_it_has_the_defaults_of_the_script_and_verifies_the_engine() -> None:
    for name in ("account", "authz_name", "tag", "engine_admin"):
        assert f'default="{_PLAY["vars"][name]}"' in _SCRIPT
    assert _PLAY["vars"]["engine_insecure"] is False
    assert _PLAY["vars"]["tagger"] == ""


def test_it_always_logs_out() -> None:
    assert list(calls())[-1][1]["state"] == "absent"
