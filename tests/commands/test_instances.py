"""`instances` against a simulated engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.simulator.scenario import TagSpec
from tests.commands.conftest import ended
from tests.commands.controllers import serving
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.commands.conftest import MakeLab


async def test_vms_are_listed_by_name_with_all_columns(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("b_2"), vm("a", ip="10.0.0.9"))

    end = await lab.run("instances")

    head, first, second = end.out.splitlines()
    assert end.status == 0
    assert " ".join(head.split()) == ("NAME ID STATUS NODE NAME ZONE HOST CLUSTER ADDRESSES TAGS")
    assert first.split() == (
        ["a", lab.id_of("a"), "up", "a", "blue", "hv-1", "blue", "10.0.0.9", "docker-host"]
    )
    assert second.split()[3] == "b-2"


async def test_a_narrow_terminal_gets_fewer_columns_and_is_told(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await make_lab(many(1))
    monkeypatch.setenv("COLUMNS", "80")

    end = await lab.run("instances")

    assert lab.id_of("w0") not in end.out
    assert "--output json" in end.out


async def test_scripts_get_json(make_lab: MakeLab) -> None:
    tags = (TagSpec(name="docker-host"), TagSpec(name="gpu", parent="docker-host"))
    lab = await make_lab(vm("w", tags=("gpu",)), tags=tags)

    end = await lab.run("instances", "--output", "json")

    (found,) = end.json
    assert found["addresses"] == [{"type": "InternalIP", "address": "10.0.0.1"}]
    assert found["tags"] == ["docker-host", "gpu"]
    assert (found["status"], found["data_center"], found["region"]) == ("up", "paris", "east")


async def test_a_vm_that_cannot_be_read_is_listed_as_such(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("odd", overrides={"cpu": "many"}), vm("w"))

    end = await lab.run("instances")

    assert any(line.startswith("odd") and "unreadable" in line for line in end.out.splitlines())


async def test_without_any_vm_that_is_said(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("other", tags=()))

    end = await lab.run("instances")

    assert (end.status, end.out) == (0, "No VM is selected.\n")


async def test_of_an_engine_that_is_away_nothing_is_said_to_be_selected_or_not(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    await lab.engine.stop()

    end = await lab.run("instances")

    assert (end.status, end.out) == (1, "")


async def test_an_engine_that_is_away_is_an_error_beside_the_others(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    gone = lab.engine_section(name="west", url="http://127.0.0.1:1/ovirt-engine")
    lab.configure(engines=[lab.engine_section(), gone])

    end = await lab.run("instances", "--output", "json")

    assert end.status == 1
    assert [one["name"] for one in end.json] == ["w0"]
    assert end.err.startswith("error: engine west: cannot connect")


async def test_json_survives_a_terminal_without_utf_8(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await make_lab(vm("узел"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    end = await ended(await lab.start("instances", "--output", "json"))

    assert end.json[0]["name"] == "узел"


async def test_a_running_controller_is_shown_like_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vm = {"engine": "east", "id": "1", "provider_id": "ovirt://1"}
    async with serving(tmp_path, capsys) as controller:
        controller.answers["/v1/instances"] = {
            "engines": [{"name": "east", "as_of": "2026-05-04T12:00:00Z", "error": None}],
            "total": 2,
            "continue": None,
            "instances": [
                vm | {"name": "a_1", "node_name": "a-1", "status": "up"},
                vm | {"name": "odd", "unreadable": "no CPU"},
            ],
        }

        table = await controller.run("instances")
        told = await controller.run("instances", "--output", "json")

    assert table.out.splitlines()[1].split()[:4] == ["a_1", "1", "up", "a-1"]
    assert [one["name"] for one in told.json] == ["a_1", "odd"]
    assert told.json[1] == {"engine": "east", "name": "odd", "id": "1", "unreadable": "no CPU"}
