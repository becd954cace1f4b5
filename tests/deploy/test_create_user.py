"""The script that gives accounts their rights, with the official SDK and a simulated engine."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.config import Selection
from provider.errors import PermissionMissing
from provider.ovirt import admin
from provider.ovirt.listing import Lister
from provider.simulator.scenario import UserSpec
from tests.ovirt.lab import running, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.simulator.objects import Role
    from tests.ovirt.lab import Lab

_SCRIPT = Path(__file__).parents[2] / "deploy/ovirt/create_user.py"
_PASSWORD = "secret"


@dataclass(frozen=True)
class Ended:
    """What the script said and how it ended."""

    status: int
    out: list[str]
    err: str


class Stage:
    """A simulated engine with an administrator, and accounts that only its directory has."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.lab.faults.refusal_seconds = 0
        # The official SDK sends nothing beyond ASCII.
        self.lab.password_file.write_text(f"{_PASSWORD}\n")

    async def run(self, *arguments: str, password_file: Path | None = None) -> Ended:
        """The script with these arguments, to its end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, _SCRIPT, "--url", self.lab.engine.url,
            "--password-file", password_file or self.lab.password_file, *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode().splitlines(), err.decode())

    @property
    def granted(self) -> set[tuple[str, str]]:
        """Who has which role on the system."""
        return {(one.user.name, one.role.name) for one in self.lab.world.permissions}

    @property
    def tagger(self) -> Role:
        """The role that the script has made."""
        (role,) = (one for one in self.lab.world.roles if one.name == "DockerHostTagger")
        return role


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    users = (
        UserSpec(name="admin@internal", password=_PASSWORD, role="SuperUser"),
        UserSpec(name="guest@internal", password=_PASSWORD, role="UserRole"),
        UserSpec(name="kubernetes@internal", password=_PASSWORD, role="UserRole", known=False),
        UserSpec(name="operator@internal", password=_PASSWORD, role="UserRole", known=False),
    )
    async with running(tmp_path, vm("w1", tags=()), users=users, tags=()) as lab:
        yield Stage(lab)


_DONE = [
    "done: add kubernetes@internal-authz to the engine",
    "done: grant ReadOnlyAdmin on the system to kubernetes",
    "done: make the tag docker-host",
]
_THERE = [
    "there: the engine knows kubernetes@internal-authz",
    "there: ReadOnlyAdmin on the system to kubernetes",
    "there: the tag docker-host",
]


async def test_a_second_run_finds_all_there_and_changes_nothing(stage: Stage) -> None:
    first = await stage.run()
    granted = stage.granted
    second = await stage.run()

    assert (first.status, first.out, first.err) == (0, _DONE, "")
    assert (second.status, second.out, second.err) == (0, _THERE, "")
    assert stage.granted == granted
    assert granted == {("admin@internal", "SuperUser"), ("kubernetes@internal", "ReadOnlyAdmin")}


async def test_check_says_what_is_missing_and_changes_nothing(stage: Stage) -> None:
    before = await stage.run("--check", "--tagger", "operator")
    granted = stage.granted
    await stage.run("--tagger", "operator")
    after = await stage.run("--check", "--tagger", "operator")

    assert before.status == 1
    assert before.out == [
        "missing: add kubernetes@internal-authz to the engine",
        "missing: grant ReadOnlyAdmin on the system to kubernetes",
        "missing: add operator@internal-authz to the engine",
        "missing: grant ReadOnlyAdmin on the system to operator",
        "missing: make the role DockerHostTagger",
        "missing: grant DockerHostTagger on the system to operator",
        "missing: make the tag docker-host",
    ]
    assert granted == {("admin@internal", "SuperUser")}
    assert after.status == 0
    assert all(line.startswith("there: ") for line in after.out)


async def test_the_accounts_have_exactly_the_rights_that_the_product_needs(stage: Stage) -> None:
    await stage.run("--tagger", "operator")

    reading = stage.lab.client(username="kubernetes@internal")
    tagging = stage.lab.client(username="operator@internal")
    async with reading as reader, tagging as tagger:
        with pytest.raises(PermissionMissing):
            await admin.tag(reader, ["w1"], "docker-host", dry_run=False)
        changes = await admin.tag(tagger, ["w1"], "docker-host", dry_run=False)
        snapshot = await Lister(reader, Selection()).take(None)

    assert changes == ("tag w1 with docker-host",)
    assert [one.name for one in snapshot.instances.values()] == ["w1"]
    assert stage.tagger.permits == {"login", "tag_management"}
    assert not stage.lab.world.user("operator@internal").may_write


async def test_an_account_that_the_directory_lacks_is_said_with_the_way_to_make_it(
    stage: Stage,
) -> None:
    ended = await stage.run("--account", "nobody")

    assert ended.status == 2
    assert "The directory internal-authz has no account nobody." in ended.err
    assert "ovirt-aaa-jdbc-tool user add nobody" in ended.err
    assert "Traceback" not in ended.err


async def test_who_may_not_grant_is_told_who_may(stage: Stage) -> None:
    ended = await stage.run("--admin", "guest@internal")

    assert ended.status == 2
    assert "guest@internal" in ended.err
    assert "SuperUser may" in ended.err


async def test_a_wrong_password_is_tried_once_and_said(stage: Stage, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")

    ended = await stage.run(password_file=wrong)

    assert ended.status == 2
    assert "admin@internal cannot log in" in ended.err
    assert stage.lab.logins == 1


async def test_an_engine_that_cannot_be_reached_or_a_missing_file_is_no_trace(
    stage: Stage, tmp_path: Path
) -> None:
    missing = await stage.run(password_file=tmp_path / "none")
    await stage.lab.simulator.stop()
    away = await stage.run()

    assert missing.status == away.status == 2
    assert missing.err.startswith("The password cannot be read: ")
    assert "Is the URL right" in away.err


async def test_nobody_to_type_the_password_is_no_trace() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, _SCRIPT, "--url", "https://engine.example.com/ovirt-engine",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    _, err = await process.communicate()

    assert process.returncode == 2
    assert err.endswith(b"Nobody has typed a password: give --password-file\n")


async def test_a_role_of_the_name_with_other_permits_is_not_given(stage: Stage) -> None:
    await stage.run("--tagger", "operator")
    stage.tagger.permits |= {"audit_log_management"}

    ended = await stage.run("--tagger", "operator")

    assert ended.status == 2
    assert "DockerHostTagger is there with other permits" in ended.err
