"""Where the API server is and who we are there: kubeconfigs, service accounts, TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from provider.errors import AccessInvalid, ApiUnavailable
from provider.kube.access import load_access, service_account_access
from provider.kube.api import KubeApi
from provider.simulator.cluster import SimulatedCluster
from tests.kube_client.conftest import KUBECONFIG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.metrics import Metrics

PLUGIN = """\
import json, sys
from pathlib import Path
calls = Path({calls!r})
number = len(calls.read_text()) if calls.exists() else 0
calls.write_text("x" * (number + 1))
status = json.loads({status!r})
if not status:
    sys.exit("no ticket")
if "token" in status:
    status["token"] += str(number + 1)
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                   "status": status}}))
"""


def kubeconfig(folder: Path, url: str = "http://127.0.0.1:1", **user: Any) -> Path:
    """A kubeconfig (JSON is YAML) with that user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(json.dumps(config))
    return path


def plugin(folder: Path, **status: Any) -> dict[str, Any]:
    """An exec plugin that counts its calls in `calls` and answers with `status`."""
    script = folder / "plugin.py"
    calls = str(folder / "calls")
    script.write_text(PLUGIN.format(calls=calls, status=json.dumps(status)))
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script)],
        "interactiveMode": "Never",
    }


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text())


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod is given: environment and the files of its service account."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.crt"))
    return folder


# ---- credentials -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "secret"}, {"Authorization": "Bearer secret"}),
        ({"username": "u", "password": "p"}, {"Authorization": "Basic dTpw"}),
        ({}, {}),
    ],
)
async def test_the_credentials_of_a_kubeconfig_become_headers(
    tmp_path: Path, user: dict[str, str], expected: dict[str, str]
) -> None:
    access = await load_access(kubeconfig(tmp_path, "http://127.0.0.1:1/prefix/", **user))

    assert await access.headers() == expected
    assert access.url == "http://127.0.0.1:1/prefix"


@pytest.mark.looptime
async def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    access = await load_access(kubeconfig(tmp_path, tokenFile=str(token)))

    token.write_text("second\n")
    assert await access.headers() == {"Authorization": "Bearer first"}
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "Bearer second"}


@pytest.mark.looptime
async def test_the_token_of_a_pod_is_read_again_after_a_minute(pod: Path) -> None:
    access = await service_account_access(pod)

    (pod / "token").write_text("second")
    assert await access.headers() == {"Authorization": "bearer first"}
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "bearer second"}
    assert access.url == "https://[fd00::1]:443"


@pytest.mark.looptime
@pytest.mark.parametrize("lost", ["", None])
async def test_a_token_that_is_lost_leaves_the_one_before_until_it_is_back(
    pod: Path, lost: str | None
) -> None:
    access = await service_account_access(pod)
    _, token = access.reloads
    (pod / "token").unlink() if lost is None else (pod / "token").write_text(lost)
    await asyncio.sleep(61)

    assert await access.headers() == {"Authorization": "bearer first"}
    assert "the pod's service account cannot be used" in token.problem
    (pod / "token").write_text("back")
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "bearer back"}
    assert token.problem == ""


async def test_an_exec_plugin_gives_a_token_and_is_asked_again_after_a_401(
    tmp_path: Path,
) -> None:
    access = await load_access(kubeconfig(tmp_path, exec=plugin(tmp_path, token="ticket-")))
    refused = await access.headers()

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(access.renew(refused))

    assert refused == {"Authorization": "Bearer ticket-1"}
    assert await access.headers() == {"Authorization": "Bearer ticket-2"}
    assert calls(tmp_path) == 2


async def test_an_exec_plugin_may_give_a_client_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("client")
    status = {
        "clientCertificateData": cert.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": cert.private_key_pem.bytes().decode(),
    }
    async with tls_cluster(ca, ca) as (url, server):
        path = kubeconfig(tmp_path, url, exec=plugin(tmp_path, **status))
        trust(path, ca)
        access = await load_access(path)
        async with client(access) as api:
            await api.version()

    assert server.requests[0].path == "/version"


async def test_a_plugin_that_fails_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(AccessInvalid, match="no ticket"):
        await load_access(kubeconfig(tmp_path, exec=plugin(tmp_path)))


# ---- what cannot be used -----------------------------------------------------------------------


async def test_a_missing_kubeconfig_is_said(tmp_path: Path) -> None:
    with pytest.raises(AccessInvalid, match="no such file") as caught:
        await load_access(tmp_path / "none")
    assert "kubectl --kubeconfig" in caught.value.remedy


async def test_outside_of_a_pod_the_remedy_is_a_kubeconfig(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(AccessInvalid) as caught:
        await load_access(None)
    assert "--kubeconfig" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not: [yaml",
        "just text",
        "[]",
        KUBECONFIG.format(url="http://x").replace("current-context: test", "current-context: no"),
        KUBECONFIG.format(url="http://x").replace("cluster: test,", "cluster: no,"),
        KUBECONFIG.format(url="https://x").replace(
            "server:", "certificate-authority: /no, server:"
        ),
        KUBECONFIG.format(url="https://x").replace(
            "server:", "certificate-authority-data: '!', server:"
        ),
    ],
    ids=["empty", "no YAML", "text", "list", "context", "cluster", "CA file", "CA data"],
)
async def test_a_kubeconfig_that_cannot_be_used_is_one_sentence_and_a_remedy(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(AccessInvalid) as caught:
        await load_access(path)
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


# ---- TLS and proxies ---------------------------------------------------------------------------


@asynccontextmanager
async def tls_cluster(
    ca: trustme.CA, clients: trustme.CA | None = None, name: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, SimulatedCluster]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    if clients:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    cluster = SimulatedCluster()
    url = await cluster.start(ssl_context=context)
    try:
        yield url, cluster
    finally:
        await cluster.stop()


def trust(path: Path, ca: trustme.CA, **cluster: Any) -> None:
    """Have the kubeconfig trust `ca`."""
    file = path.parent / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"] |= {"certificate-authority": str(file)} | cluster
    path.write_text(json.dumps(config))


def client(access: Any) -> KubeApi:
    from provider.metrics import Metrics

    return KubeApi(access, timedelta(seconds=3), Metrics())


async def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("client")
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"client-certificate": "cert.pem", "client-key": "key.pem"}

    async with tls_cluster(ca, ca) as (url, _):
        path = kubeconfig(tmp_path, url, **files)
        trust(path, ca)
        async with client(await load_access(path)) as api:
            assert await api.version()


async def test_the_name_in_the_certificate_may_be_given(tmp_path: Path) -> None:
    ca = trustme.CA()
    async with tls_cluster(ca, name="kubernetes.default") as (url, _):
        path = kubeconfig(tmp_path, url)
        trust(path, ca)
        async with client(await load_access(path)) as api:
            with pytest.raises(ApiUnavailable, match="certificate"):
                await api.version()
        trust(path, ca, **{"tls-server-name": "kubernetes.default"})
        async with client(await load_access(path)) as api:
            assert await api.version()


async def test_an_untrusted_api_server_is_not_asked_and_the_remedy_names_the_ca(
    tmp_path: Path,
) -> None:
    async with tls_cluster(trustme.CA()) as (url, cluster):
        path = kubeconfig(tmp_path, url)
        trust(path, trustme.CA())
        async with client(await load_access(path)) as api:
            with pytest.raises(ApiUnavailable) as caught:
                await api.version()
        config = json.loads(path.read_text())
        config["clusters"][0]["cluster"] = {"server": url, "insecure-skip-tls-verify": True}
        path.write_text(json.dumps(config))
        async with client(await load_access(path)) as api:
            assert await api.version()

    assert "CA" in caught.value.remedy
    assert len(cluster.requests) == 1


async def test_a_token_that_was_replaced_is_read_again_after_a_401(
    tmp_path: Path, metrics: Metrics
) -> None:
    cluster = SimulatedCluster(token="new")
    await cluster.start()
    token = tmp_path / "token"
    token.write_text("old")
    access = await load_access(kubeconfig(tmp_path, cluster.url, tokenFile=str(token)))
    token.write_text("new")

    async with KubeApi(access, timedelta(seconds=3), metrics) as api:
        assert (await api.nodes_page(0, "")).nodes == ()
    await cluster.stop()

    assert [request.status for request in cluster.requests] == [401, 200]


async def test_credentials_that_are_lost_after_a_401_leave_the_request_unsent(
    tmp_path: Path, metrics: Metrics
) -> None:
    cluster = SimulatedCluster(token="new")
    await cluster.start()
    path = kubeconfig(tmp_path, cluster.url, token="old")
    access = await load_access(path)
    path.unlink()

    async with KubeApi(access, timedelta(seconds=3), metrics) as api:
        with pytest.raises(ApiUnavailable, match="no such file"):
            await api.version()
    await cluster.stop()


@pytest.mark.looptime
async def test_without_a_readable_token_the_one_before_is_sent(
    tmp_path: Path, metrics: Metrics
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    cluster = SimulatedCluster(token="secret")
    await cluster.start()
    access = await load_access(kubeconfig(tmp_path, cluster.url, tokenFile=str(token)))
    token.unlink()
    await asyncio.sleep(61)

    async with KubeApi(access, timedelta(seconds=3), metrics) as api:
        assert (await api.nodes_page(0, "")).nodes == ()
    await cluster.stop()

    assert [request.status for request in cluster.requests] == [200]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1,kube.test"}, None),
    ],
)
async def test_the_proxy_of_the_environment_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    expected: str | None,
) -> None:
    for name in ("HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert (await load_access(kubeconfig(tmp_path, "http://kube.test"))).proxy == expected
