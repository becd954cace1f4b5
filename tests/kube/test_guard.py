"""The guarded port on a real API server: real tokens, real RBAC, and no API server at all."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.kube.admin import Admin
from tests.kube.control_plane import ControlPlane
from tests.kube.product import Product, eventually, grant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from structlog.typing import EventDict

READER = Path("manifests/lookup-reader.yaml")
ROLE = "ovirt-lookup-reader"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
COUNTS = 10.0  # seconds that an answer of the API server counts
SLACK = 2.0  # seconds for the machine


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    with ControlPlane(kube_assets) as cluster:
        cluster.kubectl("apply", "-f", str(READER))
        yield cluster


@pytest.fixture
async def admin(cluster: ControlPlane) -> AsyncIterator[Admin]:
    async with Admin(cluster) as admin:
        yield admin


@pytest.fixture
async def port(cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[Port]:
    product = Product(
        cluster, await asyncio.to_thread(grant, cluster), tmp_path, [], insecure_http=False
    )
    product.may_be_refused = True
    with capture_logs() as logs:
        async with product:
            number = await eventually(lambda: _port(logs), "the port is open")
            async with _client(number) as session:
                yield Port(session)
    assert "eyJ" not in str(logs)  # with which each of these tokens begins


async def _port(logs: list[EventDict]) -> int | None:
    return next((line["port"] for line in logs if line["event"] == "started"), None)


@asynccontextmanager
async def _client(number: int) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(
        f"https://127.0.0.1:{number}", connector=connector
    ) as session:
        yield session


class Port:
    """The port of the product, as its clients see it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def status(self, token: str = "", path: str = "/metrics") -> int:
        """Of the answer to this token."""
        async with self._get(token, path) as reply:
            return reply.status

    async def problem(self, token: str) -> tuple[aiohttp.ClientResponse, dict[str, str]]:
        """The refusal, and its document."""
        async with self._get(token, "/metrics") as reply:
            return reply, await reply.json(content_type=None)

    async def seconds_until(self, status: int, token: str) -> float:
        """How long the answer to this token takes to become this one."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def is_so() -> bool:
            return await self.status(token) == status

        await eventually(is_so, f"status {status}", within=3 * COUNTS)
        return loop.time() - began

    def _get(self, token: str, path: str) -> aiohttp.client._RequestContextManager:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._session.get(path, headers=headers)


async def account(admin: Admin, name: str, *, is_reader: bool = True) -> str:
    """A token of a new service account."""
    await admin.call("POST", ACCOUNTS, {"metadata": {"name": name}})
    if is_reader:
        subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE}
        binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
        await admin.call("POST", BINDINGS, binding)
    answer = await admin.call("POST", f"{ACCOUNTS}/{name}/token", {"spec": {}})
    return str(answer["status"]["token"])


async def test_the_right_decides(admin: Admin, port: Port) -> None:
    stranger = await account(admin, "stranger", is_reader=False)
    reader = await account(admin, "reader")

    assert await port.status() == 401
    assert await port.status("nonsense") == 401
    reply, document = await port.problem(stranger)
    assert reply.status == 403
    assert document["detail"].startswith(
        "system:serviceaccount:default:stranger may not get /metrics."
    )
    assert ROLE in document["detail"]
    # An API server takes a moment to learn of a binding; a refusal counts for five seconds.
    assert await port.seconds_until(200, reader) < 5 + SLACK
    assert await port.status(reader, "/no/such/path") == 404


async def test_what_is_revoked_ends_within_ten_seconds(admin: Admin, port: Port) -> None:
    unbound, deleted = await account(admin, "unbound"), await account(admin, "deleted")
    for token in (unbound, deleted):
        await port.seconds_until(200, token)

    await admin.call("DELETE", f"{BINDINGS}/unbound")
    await admin.call("DELETE", f"{ACCOUNTS}/deleted")

    took = await asyncio.gather(port.seconds_until(403, unbound), port.seconds_until(401, deleted))
    assert max(took) < COUNTS + SLACK


async def test_without_the_api_server_answers_end_and_probes_stay(
    cluster: ControlPlane, admin: Admin, port: Port
) -> None:
    reader = await account(admin, "survivor")
    await port.seconds_until(200, reader)

    cluster.freeze("kube-apiserver")
    try:
        assert await port.status(reader) == 200
        took = await port.seconds_until(503, reader)
        reply, document = await port.problem(reader)
        probes = [await port.status(path=path) for path in ("/healthz", "/livez", "/readyz")]
    finally:
        cluster.thaw("kube-apiserver")

    assert took < COUNTS + 5 + SLACK
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert document["type"] == "/problems/review-unavailable"
    assert probes == [200, 200, 200]
    await port.seconds_until(200, reader)
