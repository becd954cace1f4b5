"""A running controller is asked by the real script, with real tokens that its guard reviews."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs

from tests.commands.conftest import SCRIPT, Ended
from tests.commands.conftest import ended as end_of
from tests.kube.product import eventually, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.kube.admin import Admin
    from tests.kube.conftest import NewProduct
    from tests.kube.control_plane import ControlPlane

_ROOT = Path(__file__).parents[2]
_READER = _ROOT / "manifests/lookup-reader.yaml"
_NAME = "ccm.example.com"


@contextlib.asynccontextmanager
async def serving(
    new_product: NewProduct, admin: Admin, name: str, **server: Any
) -> AsyncIterator[str]:
    """Host and port of the product, once it has initialised the node of this name."""
    with capture_logs() as logs:
        settings = {"bind": "127.0.0.1:0", **server}
        async with new_product(vm(name, "10.9.1.1"), insecure_http=False, server=settings) as one:
            await admin.create_node(name)
            await one.initialised(name)
            (port,) = (line["port"] for line in logs if line["event"] == "started")
            yield f"127.0.0.1:{port}"


@pytest.fixture
def reader(control_plane: ControlPlane) -> Iterator[None]:
    """The ClusterRole of the manifests."""
    control_plane.kubectl("apply", "-f", str(_READER))
    yield
    control_plane.kubectl("delete", "-f", str(_READER))


async def ccm(*arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        SCRIPT, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    return await end_of(process)


# ---- as the README says ----------------------------------------------------------------------


def lines_of_the_readme(host: str) -> list[str]:
    """The three lines that let a service account ask, for this controller."""
    section = (_ROOT / "README.md").read_text("utf-8").split("### Ask it\n")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block
    return block[1].replace("HOST:10258", host).splitlines()


async def in_a_shell(cluster: ControlPlane, assets: Path, line: str) -> str:
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(cluster.folder)}
    env["PATH"] = f"{assets}:{env['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", line, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, line
    return out.decode()


async def test_the_three_lines_of_the_readme_let_a_service_account_ask(
    new_product: NewProduct,
    control_plane: ControlPlane,
    kube_assets: Path,
    admin: Admin,
    reader: None,
    node_prefix: str,
) -> None:
    name = f"{node_prefix}w"
    async with serving(new_product, admin, name) as host:
        account, binding, curl = lines_of_the_readme(host)
        # Not every machine has curl: the shell says what it would be called with.
        spelled = curl.replace("curl ", "printf '%s\\n' ", 1)
        try:
            await in_a_shell(control_plane, kube_assets, account)
            before = await curled(await in_a_shell(control_plane, kube_assets, spelled))
            await in_a_shell(control_plane, kube_assets, binding)

            async def answered() -> dict[str, Any] | None:
                status, body = await curled(await in_a_shell(control_plane, kube_assets, spelled))
                return body if status == 200 else None

            listed = await eventually(answered, "an answer to the bound account")
        finally:
            control_plane.kubectl("delete", "serviceaccount", "inventory")
            control_plane.kubectl("delete", "clusterrolebinding", "inventory")

    assert (before[0], before[1]["title"] != "") == (403, True)
    assert [(one["name"], one["node"]) for one in listed["instances"]] == [(name, name)]


async def curled(arguments: str) -> tuple[int, Any]:
    """Status and body of the answer to `curl -k -H HEADER URL`."""
    insecure, header, authorization, url = arguments.splitlines()
    assert (insecure, header) == ("-k", "-H")
    name, _, value = authorization.partition(": ")
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={name: value}, ssl=False) as response,
    ):
        return response.status, await response.json(content_type=None)


# ---- the command line ------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    """Files of a certificate that the CA in `ca.pem` has signed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair = authority.issue_cert(_NAME)
    files = {"certificate_file": tmp_path / "tls.crt", "key_file": tmp_path / "tls.key"}
    for index, pem in enumerate(pair.cert_chain_pems):
        pem.write_to_path(str(files["certificate_file"]), append=index > 0)
    pair.private_key_pem.write_to_path(str(files["key_file"]))
    return files


def token_file(cluster: ControlPlane, folder: Path, account: str) -> str:
    """The token of this service account, which is made for it."""
    cluster.kubectl("create", "serviceaccount", account)
    file = folder / account
    file.write_text(cluster.kubectl("create", "token", account), "utf-8")
    return str(file)


async def test_get_and_explain_ask_with_a_service_accounts_token(
    new_product: NewProduct,
    control_plane: ControlPlane,
    admin: Admin,
    reader: None,
    certificate: dict[str, Path],
    tmp_path: Path,
    node_prefix: str,
) -> None:
    name, account = f"{node_prefix}w", f"{node_prefix}asker"
    control_plane.kubectl(
        *("create", "clusterrolebinding", account, "--clusterrole=ovirt-lookup-reader"),
        f"--serviceaccount=default:{account}",
    )
    token = token_file(control_plane, tmp_path, account)
    ca = ("--server-ca", str(tmp_path / "ca.pem"), "--server-name", _NAME)
    try:
        async with serving(new_product, admin, name, **certificate) as host:
            there = ("--server", f"https://{host}", *ca, "--token-file", token)
            await eventually(lambda: succeeds("get", "zones", *there), "the right is known")
            instance, exists, shutdown, explained, unknown = await asyncio.gather(
                ccm("get", "instance", "10.9.1.1", *there, "--output", "json"),
                ccm("get", "exists", name, *there),
                ccm("get", "shutdown", name, *there),
                ccm("explain", name, *there, "--output", "json"),
                ccm("get", "instance", "nobody", *there),
            )
    finally:
        control_plane.kubectl("delete", "serviceaccount", account)
        control_plane.kubectl("delete", "clusterrolebinding", account)

    assert (instance.status, instance.json["node"]) == (0, name)
    assert (exists.status, shutdown.status) == (0, 3)
    assert explained.json["leading"] is True
    assert explained.json["evidence"]["confirmations"] == 3
    assert explained.json["verdict"]["kind"] == "keep"
    assert unknown.status == 1
    assert "no selected VM" in unknown.err


async def succeeds(*arguments: str) -> bool:
    return (await ccm(*arguments)).status == 0


async def test_whoever_may_not_is_told_what_is_missing(
    new_product: NewProduct,
    control_plane: ControlPlane,
    admin: Admin,
    certificate: dict[str, Path],
    tmp_path: Path,
    node_prefix: str,
) -> None:
    name, account = f"{node_prefix}w", f"{node_prefix}stranger"
    token = token_file(control_plane, tmp_path, account)
    ca = ("--server-ca", str(tmp_path / "ca.pem"), "--server-name", _NAME)
    wrong = tmp_path / "wrong"
    wrong.write_text("nonsense", "utf-8")
    administrator = control_plane.kubeconfig_with("admin-token")
    try:
        async with serving(new_product, admin, name, **certificate) as host:
            there = ("get", "instances", "--server", f"https://{host}")
            denied, refused, certificates, untrusted, allowed = await asyncio.gather(
                ccm(*there, *ca, "--token-file", token),
                ccm(*there, *ca, "--token-file", str(wrong)),
                ccm(*there, *ca, "--kubeconfig", str(control_plane.kubeconfig)),
                ccm(*there, "--kubeconfig", str(administrator)),
                ccm(*there, *ca, "--kubeconfig", str(administrator)),
            )
    finally:
        control_plane.kubectl("delete", "serviceaccount", account)

    assert (allowed.status, name in allowed.out) == (0, True)
    for one in (denied, refused, certificates, untrusted):
        assert (one.status, one.out, one.err.count("\n")) == (1, "", 1)
    assert "manifests/lookup-reader.yaml" in denied.err
    assert "The token of" in refused.err
    assert "kubectl create token" in certificates.err
    assert "--server-ca" in untrusted.err
