"""`get`: of a running controller, and of engine and cluster themselves."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web

from provider.commands.gather import client_of
from provider.commands.replica import _list, _Nodes, _serving
from provider.configfile import load_config
from tests.commands.conftest import SCRIPT
from tests.commands.conftest import ended as ended_of
from tests.commands.controllers import Controller, problem, serving
from tests.ovirt.lab import many, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.commands.conftest import MakeLab

ID = "11111111-1111-4111-8111-111111111111"
NOW = "2026-05-04T12:00:00Z"
EAST = {"name": "east", "as_of": NOW, "error": None}
ROW = {
    "engine": "east",
    "id": ID,
    "name": "w0",
    "status": "up",
    "node": "w0",
    "managed": True,
    "node_name": "w0",
    "provider_id": f"ovirt://{ID}",
    "zone": "blue",
    "host": "hv-1",
    "cluster": "blue",
    "tags": ["docker-host"],
    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
    "memory": 8 << 30,
}
NODE: dict[str, Any] = {
    "name": "w0",
    "ready": None,
    "managed": True,
    "initialized": True,
    "deleting": False,
    "provider_id": f"ovirt://{ID}",
    "match": "absent",
    "reason": "no selected VM",
    "drift": [],
    "notices": [],
    "verdict": {"kind": "wait", "reason": "no listing has it", "missing": ["a listing"]},
}
KEY = f"/v1/instances/{ID}"


@pytest.fixture
async def controller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Controller]:
    async with serving(tmp_path, capsys) as one:
        yield one


def page(*rows: dict[str, Any], further: str | None = None, **engine: Any) -> dict[str, Any]:
    return {
        "engines": [EAST | engine],
        "total": 2,
        "continue": further,
        "instances": rows,
    }


def words(line: str) -> str:
    return " ".join(line.split())


# ---- a running controller ----------------------------------------------------------------------


async def test_vms_are_a_table_with_the_pages_joined(controller: Controller) -> None:
    controller.answers["/v1/instances"] = [
        page(ROW, further="more"),
        page(ROW | {"name": "w1", "unreadable": "no CPU"}),
    ]

    ended = await controller.run("get", "instances", "--zone", "blue", "-q", "w")

    head, first, second = ended.out.splitlines()
    assert words(head) == "NAME ID STATUS NODE ZONE HOST CLUSTER ADDRESSES TAGS"
    assert words(first) == f"w0 {ID} up w0 blue hv-1 blue 10.0.0.1 docker-host"
    assert "unreadable: no CPU" in second
    queries = [dict(one.query) for one in controller.requests]
    assert queries[0] == {"zone": "blue", "q": "w", "limit": "5000"}
    assert queries[1] == queries[0] | {"continue": "more"}


async def test_scripts_get_the_documents_of_the_api(controller: Controller) -> None:
    controller.answers["/v1/instances"] = page(ROW)

    ended = await controller.run("get", "instances", "--output", "json")

    assert (ended.status, ended.json["instances"][0]["id"]) == (0, ID)
    assert ended.json["engines"] == [EAST]


async def test_no_vm_that_fits_is_said(controller: Controller) -> None:
    controller.answers["/v1/instances"] = page()

    ended = await controller.run("get", "instances", "--status", "down")

    assert (ended.status, ended.out) == (0, "No VM fits.\n")


async def test_an_engine_that_is_away_is_said_with_the_age_of_what_is_shown(
    controller: Controller,
) -> None:
    controller.answers["/v1/instances"] = page(ROW, error="engine east: cannot connect.")

    old = await controller.run("get", "instances")
    controller.answers["/v1/instances"] = page(as_of=None)
    never = await controller.run("get", "instances")

    assert (old.status, never.status) == (1, 1)
    assert "w0" in old.out
    assert old.err == (
        "error: engine east: cannot connect. What is shown of it is as of 2026-05-04 12:00:00 UTC."
        "\n"
    )
    assert never.err == "error: engine east has not been listed yet.\n"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("w0", "/v1/instances/w0"),
        (f"ovirt://{ID}", f"/v1/instances/ovirt:%2F%2F{ID}"),
        ("fd00::1", "/v1/instances/fd00::1"),
        ("ä b?", "/v1/instances/%C3%A4%20b%3F"),
    ],
)
async def test_any_key_arrives_as_it_was_meant(
    controller: Controller, key: str, path: str
) -> None:
    controller.answers[path] = ROW | {"as_of": NOW}

    ended = await controller.run("get", "instance", key, "--by", "name")

    assert (ended.status, ended.err) == (0, "")
    assert controller.requests[-1].query == {"by": "name"}


async def test_one_vm_is_shown_with_all_that_is_known(controller: Controller) -> None:
    controller.answers[KEY] = ROW | {"as_of": NOW, "started": NOW}

    ended = await controller.run("get", "instance", ID)

    facts = [words(line) for line in ended.out.splitlines()]
    assert {"name w0", "node w0", "memory 8 GiB", "FQDN -"} <= set(facts)
    assert facts[-2:] == [
        "up since 2026-05-04 12:00:00 UTC (the engine's clock)",
        "as of 2026-05-04 12:00:00 UTC",
    ]


async def test_metadata_are_what_the_framework_calls_so(controller: Controller) -> None:
    controller.answers[f"{KEY}/metadata"] = {
        "providerID": f"ovirt://{ID}",
        "instanceType": "4cpu-8gb",
        "nodeAddresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "zone": "blue",
        "region": "east",
        "additionalLabels": {"ccm.ovirt.org/host": "hv-1"},
        "as_of": NOW,
    }

    shown = await controller.run("get", "metadata", ID)
    told = await controller.run("get", "metadata", ID, "--output", "json")

    assert "label ccm.ovirt.org/host  hv-1" in shown.out
    assert told.json["additionalLabels"] == {"ccm.ovirt.org/host": "hv-1"}


@pytest.mark.parametrize(
    ("what", "answer", "status", "out"),
    [
        ("exists", {"exists": True, "selected": True}, 0, "true\n"),
        (
            "exists",
            {"exists": True, "selected": False},
            0,
            "true (it exists, and is not selected)\n",
        ),
        ("exists", {"exists": False, "selected": False}, 3, "false\n"),
        ("shutdown", {"shutdown": True, "status": "down"}, 0, "true (down)\n"),
        ("shutdown", {"shutdown": False, "status": "up"}, 3, "false (up)\n"),
    ],
)
async def test_yes_and_no_are_statuses_of_their_own(
    controller: Controller, what: str, answer: dict[str, Any], status: int, out: str
) -> None:
    controller.answers[f"{KEY}/{what}"] = answer | {"as_of": NOW}

    ended = await controller.run("get", what, ID)

    assert (ended.status, ended.out) == (status, out)


@pytest.mark.parametrize("what", ["exists", "shutdown"])
async def test_what_is_not_known_is_no_no(controller: Controller, what: str) -> None:
    controller.refuse(f"{KEY}/{what}", 503, detail="Not confirmed yet.", retry_after=30)

    ended = await controller.run("get", what, ID)

    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: Not confirmed yet. Try again in 30 s.\n"


async def test_zones_are_counted(controller: Controller) -> None:
    counts = {"running": 2, "stopped": 1}
    zone = {"region": "east", "zone": "blue", "instances": 3, "nodes": 2, "statuses": counts}
    controller.answers["/v1/zones"] = {"engines": [EAST], "zones": [zone]}

    ended = await controller.run("get", "zones")

    assert words(ended.out.splitlines()[1]) == "east blue 3 2 2 0 1 0 0"


async def test_nodes_are_a_table_that_says_whether_the_leader_speaks(
    controller: Controller,
) -> None:
    controller.answers["/v1/nodes"] = {
        "engines": [EAST],
        "leading": False,
        "total": 1,
        "continue": None,
        "nodes": [NODE],
    }

    ended = await controller.run("get", "nodes", "--match", "absent")

    _, line, _, last = ended.out.splitlines()
    assert words(line).startswith("w0 not known yes absent wait")
    assert "does not lead" in last
    assert controller.requests[-1].query["match"] == "absent"


# ---- changes -----------------------------------------------------------------------------------


def stream(*events: str) -> web.Response:
    return web.Response(text="".join(events), content_type="text/event-stream")


def event(kind: str, data: dict[str, Any], last: str = "") -> str:
    number = f"id: {last}\n" if last else ""
    return f"event: {kind}\ndata: {json.dumps(data)}\n{number}\n"


async def test_changes_are_lines_and_go_on_after_the_last_that_came(
    controller: Controller,
) -> None:
    controller.answers["/v1/changes"] = [
        stream("retry: 1\n\n", event("reset", {}), event("instance", ROW), ":\n\n"),
        stream(event("synced", {}, "e-1"), event("engine", EAST, "e-2"), event("node", NODE)),
        stream(event("instance-removed", {"id": ID}, "e-3")),
        problem(401),
    ]

    ended = await controller.run("get", "changes", "--kind", "instance", "--kind", "engine")

    assert [words(line) for line in ended.out.splitlines()] == [
        "reset all that is known follows",
        "instance w0 up blue 10.0.0.1",
        "synced that was all; changes follow",
        "engine east is listed",
        "node w0 silent no selected VM",
        f'instance-removed {{"id": "{ID}"}}',
    ]
    assert ended.status == 1
    asked = [one.headers.get("Last-Event-ID") for one in controller.requests]
    assert asked == [None, None, "e-2", "e-3"]
    assert controller.requests[0].query.getall("kind") == ["instance", "engine"]


async def test_scripts_get_a_line_of_json_a_change(controller: Controller) -> None:
    strange = event("instance", {"of": "another version"}, "e-1")
    controller.answers["/v1/changes"] = [
        *(stream(strange), problem(401)),
        *(stream(strange), problem(401)),
    ]

    told = await controller.run("get", "changes", "--output", "json")
    shown = await controller.run("get", "changes")

    assert json.loads(told.out) == {
        "id": "e-1",
        "event": "instance",
        "data": {"of": "another version"},
    }
    assert words(shown.out) == 'instance {"of": "another version"}'


async def test_a_page_instead_of_a_stream_is_another_program(controller: Controller) -> None:
    controller.answers["/v1/changes"] = web.Response(text="<html>", content_type="text/html")

    ended = await controller.run("get", "changes")

    assert ended.status == 1
    assert "another program" in ended.err


async def test_ctrl_c_ends_the_changes(controller: Controller) -> None:
    controller.answers["/v1/changes"] = stream(event("engine", EAST, "e-1"))
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *("get", "changes", "--server", controller.url),
        *("--server-ca", str(controller.folder / "ca.pem")),
        *("--token-file", str(controller.token_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Shells have what they run in the background ignore it, the tests perhaps too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    first = await process.stdout.readline()

    process.send_signal(signal.SIGINT)
    end = await ended_of(process)

    assert words(first.decode()) == "engine east is listed"
    assert (end.status, end.err) == (130, "")


# ---- engine and cluster themselves -----------------------------------------------------------


async def test_without_a_server_the_engine_and_the_cluster_are_asked(make_lab: MakeLab) -> None:
    lab = await make_lab(many(2))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await lab.run("get", "instances", "--output", "json")

    assert (ended.status, ended.err) == (0, "")
    assert [(one["name"], one["node"]) for one in ended.json["instances"]] == [
        ("w0", "w0"),
        ("w1", None),
    ]
    assert lab.writes() == []


OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.mark.parametrize(
    ("by", "key"),
    [
        (None, "w0"),
        ("id", "{id}"),
        ("provider_id", "ovirt-cloud-provider://{id}"),
        ("node", "w0"),
        ("ip", "10.0.0.1"),
    ],
)
async def test_a_vm_is_found_by_any_key(make_lab: MakeLab, by: str | None, key: str) -> None:
    lab = await make_lab(many(1))

    argv = ("--by", by) if by else ()
    ended = await lab.run("get", "instance", key.format(id=lab.id_of("w0")), *argv)

    assert (ended.status, ended.err) == (0, "")
    assert lab.id_of("w0") in ended.out
    assert "none; it would be called w0" in ended.out


async def test_metadata_zones_and_nodes_come_from_the_same_handlers(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    metadata = await lab.run("get", "metadata", "w0", "--output", "json")
    zones = await lab.run("get", "zones")
    nodes = await lab.run("get", "nodes")

    assert metadata.json["zone"] == "blue"
    assert words(zones.out.splitlines()[1]) == "east blue 1 1 1 0 0 0 0"
    assert words(nodes.out.splitlines()[1]).startswith("w0 no no w0 keep east systemUUID")
    assert "does not lead" not in nodes.out


async def test_a_node_is_explained(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.cluster.kubelet("w0", system_uuid=lab.id_of("w0"))

    ended = await lab.run("get", "node", "w0")

    assert ended.status == 0
    assert ended.out.startswith("Node w0\n")
    assert "What has been seen" not in ended.out


async def test_an_unknown_key_is_one_sentence(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    ended = await lab.run("get", "instance", "w7")

    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: no selected VM has the id, name, ")


async def test_two_vms_of_one_name_are_named(make_lab: MakeLab) -> None:
    lab = await make_lab(vm("twin"), vm("twin", cluster="red", host="hv-2", id=OTHER))

    ended = await lab.run("get", "instance", "twin")

    assert ended.status == 1
    assert f"  east  {OTHER}  twin\n" in ended.err


async def test_a_vm_without_the_tag_exists_and_one_that_is_gone_is_not_said_to_be(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(vm("plain", tags=()), vm("w0"))

    there = await lab.run("get", "exists", lab.id_of("plain"))
    gone = await lab.run("get", "exists", OTHER)

    assert (there.status, there.out) == (0, "true (it exists, and is not selected)\n")
    assert (gone.status, gone.out) == (1, "")
    assert "has no VM" in gone.err
    assert gone.err.endswith("may know: --server URL.\n")


async def test_with_one_confirmation_the_engines_word_is_enough(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    lab.configure(deletion={"confirmations": 1})

    ended = await lab.run("get", "exists", f"ovirt://{OTHER}")

    assert (ended.status, ended.out) == (3, "false\n")


async def test_an_engine_that_is_away_knows_nothing(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    await lab.engine.stop()

    for what in ("exists", "shutdown", "instance"):
        ended = await lab.run("get", what, "w0")
        assert (ended.status, ended.out) == (1, "")
        assert "cannot connect" in ended.err


async def test_engines_are_enough_unless_nodes_are_asked_for(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    instances = await lab.run("get", "instances", has_cluster=False)
    nodes = await lab.run("get", "nodes", has_cluster=False)

    assert (instances.status, "w0" in instances.out) == (0, True)
    assert instances.err.startswith("warning: the nodes are not known: ")
    assert (nodes.status, nodes.out) == (1, "")
    assert "--kubeconfig" in nodes.err


async def test_an_engine_that_fails_when_it_is_asked_alone_proves_nothing(
    make_lab: MakeLab,
) -> None:
    lab = await make_lab(many(1))
    lab.engine.faults.paths, lab.engine.faults.status = f"vms/{OTHER}", 503

    ended = await lab.run("get", "exists", OTHER)

    assert (ended.status, ended.out) == (1, "")


async def test_the_port_of_the_moment_answers_nobody_else(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))
    config = load_config(lab.config_file)

    async with (
        client_of(config, config.engines[0]) as client,
        _serving(config, (await _list(config, client),), _Nodes()) as there,
        ClientSession() as stranger,
    ):
        told = {"Authorization": f"Bearer {there.token}"}
        async with stranger.get(f"{there.url}/v1/zones") as refused:
            assert refused.status == 401
        async with stranger.get(f"{there.url}/v1/else", headers=told) as unknown:
            assert (unknown.status, unknown.content_type) == (404, "application/problem+json")


async def test_changes_need_a_controller(make_lab: MakeLab) -> None:
    lab = await make_lab(many(1))

    ended = await lab.run("get", "changes")

    assert ended.status == 2
    assert ended.err.endswith("Give --server URL.\n")
