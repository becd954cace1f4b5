"""The control plane itself: what the tests of the product stand on."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kube.admin import UNINITIALIZED, Admin
from tests.kube.control_plane import ControlPlane, KubectlError
from tests.kube.layout import ADMIN_TOKEN, USER_TOKEN
from tests.kube.process import ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kube.conftest import NewControlPlane


def test_the_api_server_tells_its_version(control_plane: ControlPlane) -> None:
    assert re.fullmatch(r"v1\.\d+\.\d+", control_plane.version())


def test_administrator_lists_nodes_by_certificate_and_by_token(
    control_plane: ControlPlane,
) -> None:
    by_token = control_plane.kubeconfig_with(ADMIN_TOKEN)

    assert "items" in json.loads(control_plane.kubectl("get", "nodes", "-o", "json"))
    assert "items" in json.loads(
        control_plane.kubectl("get", "nodes", "-o", "json", kubeconfig=by_token)
    )


def test_rbac_refuses_a_user_without_rights(control_plane: ControlPlane) -> None:
    nobody = control_plane.kubeconfig_with(USER_TOKEN)

    with pytest.raises(KubectlError, match='User "token-user" cannot list resource "nodes"'):
        control_plane.kubectl("get", "nodes", kubeconfig=nobody)


def test_a_client_certificate_carries_user_and_groups(control_plane: ControlPlane) -> None:
    kubeconfig = control_plane.kubeconfig_for("jane", ["team-a", "team-b"])

    who = json.loads(control_plane.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig))[
        "status"
    ]["userInfo"]

    assert who["username"] == "jane"
    assert set(who["groups"]) == {"team-a", "team-b", "system:authenticated"}


def test_two_service_accounts_have_a_kubeconfig_each(control_plane: ControlPlane) -> None:
    kubeconfigs = []
    for name in ("one", "two"):
        control_plane.kubectl("create", "serviceaccount", name)
        token = control_plane.kubectl("create", "token", name).strip()
        kubeconfigs.append(control_plane.kubeconfig_with(token))

    users = [
        control_plane.kubectl(
            "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig
        )
        for kubeconfig in kubeconfigs
    ]

    assert users == [f"system:serviceaccount:default:{name}" for name in ("one", "two")]
    control_plane.kubectl("delete", "serviceaccount", "one", "two")


def test_certificates_stand_strict_verification(control_plane: ControlPlane) -> None:
    context = ssl.create_default_context(cafile=str(control_plane.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT

    with urllib.request.urlopen(f"{control_plane.url}/version", context=context) as reply:
        assert reply.status == 200


def test_audit_log_counts_the_writes_of_a_node(
    control_plane: ControlPlane, node_prefix: str
) -> None:
    name = f"{node_prefix}counted"
    start = control_plane.audit_position()

    control_plane.kubectl("create", "-f", "-", stdin=_node(name))
    control_plane.kubectl("label", "node", name, "colour=blue")
    with pytest.raises(KubectlError):
        control_plane.kubectl("patch", "node", name, "-p", '{"metadata": {"labels": {"a": "/"}}}')

    entries = control_plane.audit(user_agent="kubectl/", name_prefix=name, since=start)
    assert [(entry.verb, entry.code) for entry in entries if entry.is_write] == [
        ("create", 201),
        ("patch", 200),
        ("patch", 422),
    ]
    assert {entry.user for entry in entries} == {"admin"}


async def test_a_watch_shows_each_state_of_a_node(admin: Admin, node_prefix: str) -> None:
    name = f"{node_prefix}watched"
    address = {"type": "InternalIP", "address": "192.0.2.1"}
    await admin.create_node(name, addresses=[address])

    watch = admin.watch_node(name)
    try:
        kind, node = await anext(watch)
        assert (kind, node["status"]["addresses"]) == ("ADDED", [address])
        assert UNINITIALIZED in node["spec"]["taints"]

        await admin.patch_node(name, {"metadata": {"labels": {"colour": "blue"}}})
        async for kind, node in watch:
            assert kind == "MODIFIED"
            if "colour" in node["metadata"].get("labels", {}):
                break
    finally:
        await watch.aclose()

    await admin.delete_node(name)
    assert await admin.node(name) is None


def test_controller_manager_gives_a_new_node_its_pod_network(
    control_plane: ControlPlane, node_prefix: str
) -> None:
    name = f"{node_prefix}pods"

    control_plane.kubectl("create", "-f", "-", stdin=_node(name))

    control_plane.kubectl(
        "wait", f"node/{name}", "--for=jsonpath={.spec.podCIDR}", "--timeout=30s"
    )


def test_nodes_of_the_test_before_are_gone(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("get", "nodes", "-o", "name") == ""


@pytest.fixture(scope="module")
def second(kube_assets: Path) -> Iterator[ControlPlane]:
    with ControlPlane(kube_assets, scheduler=True) as cluster:
        yield cluster


def test_a_second_one_runs_beside_the_first(
    control_plane: ControlPlane, second: ControlPlane
) -> None:
    second.kubectl("create", "-f", "-", stdin=_node("only-here"))

    assert second.url != control_plane.url
    assert second.names == ("etcd", "kube-apiserver", "kube-scheduler")
    assert "only-here" in second.kubectl("get", "nodes", "-o", "name")
    assert "only-here" not in control_plane.kubectl("get", "nodes", "-o", "name")


def test_a_frozen_api_server_hangs_and_goes_on(second: ControlPlane) -> None:
    second.freeze("kube-apiserver")
    with pytest.raises(KubectlError, match=r"(?i)timeout|deadline"):
        second.kubectl("get", "--raw=/version", "--request-timeout=500ms")
    second.thaw("kube-apiserver")

    assert "gitVersion" in second.kubectl("get", "--raw=/version")


def test_a_restarted_api_server_has_its_data_and_address(second: ControlPlane) -> None:
    second.kubectl("create", "-f", "-", stdin=_node("kept"))
    url, pid = second.url, second.pid("kube-apiserver")

    second.stop("kube-apiserver", seconds=1)
    with pytest.raises(KubectlError, match="refused"):
        second.kubectl("get", "nodes")
    second.start("kube-apiserver")

    assert second.url == url
    assert second.pid("kube-apiserver") != pid
    assert "node/kept" in second.kubectl("get", "nodes", "-o", "name").split()


def test_flags_of_a_program_can_be_replaced(new_control_plane: NewControlPlane) -> None:
    cluster = new_control_plane(flags={"kube-apiserver": {"anonymous-auth": "false"}})

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(
            f"{cluster.url}/version",
            context=ssl.create_default_context(cafile=str(cluster.ca_file)),
        )


def test_a_failed_start_shows_the_log_and_leaves_nothing(kube_assets: Path) -> None:
    cluster = ControlPlane(kube_assets, flags={"kube-apiserver": {"no-such-flag": "1"}})

    with pytest.raises(ProcessError, match="unknown flag: --no-such-flag"), cluster:
        pass

    assert not cluster.is_running("etcd")
    assert not cluster.folder.exists()


# A member that is frozen has the kernel end its whole group after a SIGKILL of ours, guard or not.
@pytest.mark.parametrize(
    ("number", "before"), [(signal.SIGINT, "cluster.freeze('etcd')"), (signal.SIGKILL, "pass")]
)
def test_nothing_is_left_when_the_test_process_is_ended(
    kube_assets: Path, number: signal.Signals, before: str
) -> None:
    script = (
        "import sys, time; from pathlib import Path; "
        "from tests.kube.control_plane import ControlPlane\n"
        f"with ControlPlane(Path({str(kube_assets)!r})) as cluster:\n"
        f"    {before}\n"
        "    print(cluster.folder, *(cluster.pid(name) for name in cluster.names), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout
        folder, *pids = process.stdout.readline().split()

        process.send_signal(number)
        process.wait()

    end = time.monotonic() + 20
    while time.monotonic() < end and (_alive(pids) or Path(folder).exists()):
        time.sleep(0.1)
    assert _alive(pids) == []
    assert not Path(folder).exists()


def _node(name: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


def _alive(pids: list[str]) -> list[str]:
    """Those that exist and are no zombies: whose orphans they are may reap late."""
    return [pid for pid in pids if _state(pid) not in ("", "Z")]


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
