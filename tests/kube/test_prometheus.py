"""A real Prometheus scrapes the guarded port; the rules and each query of the dashboard answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import trustme
import yaml
from structlog.testing import capture_logs

from tests.kube.admin import UNINITIALIZED
from tests.kube.product import eventually, vm
from tests.prometheus.conftest import programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.kube.admin import Admin
    from tests.kube.conftest import NewProduct
    from tests.kube.control_plane import ControlPlane
    from tests.kube.product import Product

__all__ = ["programs"]

_ROOT = Path(__file__).parents[2]
_ACCOUNT = _ROOT / "manifests/components/prometheus/scrape-account.yaml"
_RULES = _ROOT / "deploy/prometheus/rules.yaml"
_DASHBOARD = _ROOT / "deploy/grafana/ovirt-ccm.json"
_NAME = "ccm.example.com"
_WINDOW = 4  # seconds of a rate; some scrapes at one a second


def scraping_token(cluster: ControlPlane) -> str:
    """The token of the account that the manifests make for Prometheus."""
    cluster.kubectl("apply", "-f", str(_ACCOUNT))
    while True:
        text = cluster.kubectl("get", "secret", "ovirt-ccm-metrics", "-n=kube-system", "-o=json")
        if token := json.loads(text).get("data", {}).get("token"):
            return b64decode(token).decode()
        time.sleep(0.1)


class Prometheus:
    """A running Prometheus, asked over HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:
        async with self._session.get(f"/api/v1/{path}", params=parameters) as reply:
            answer = await reply.json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def is_ready(self) -> bool:
        """Whether it has read its storage: it listens before and answers everything with 503."""
        async with self._session.get("/-/ready") as reply:
            return reply.ok

    async def values(self, query: str, since: float) -> list[float]:
        """All numbers that a query has had since then, at each second."""
        span = {"start": str(since), "end": str(time.time()), "step": "1"}
        found = await self.get("query_range", query=query, **span)
        numbers = (float(text) for series in found["result"] for _, text in series["values"])
        return [number for number in numbers if not math.isnan(number)]

    async def is_scraping(self) -> bool:
        targets = (await self.get("targets"))["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)


@contextlib.asynccontextmanager
async def prometheus(
    program: Path, folder: Path, port: int, token: str, authority: trustme.CA
) -> AsyncIterator[Prometheus]:
    """Prometheus with the rules that are shipped, which scrapes this port each second."""
    await asyncio.to_thread((folder / "token").write_text, token)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(_RULES)],
        "scrape_configs": [
            {
                "job_name": "ovirt-ccm",
                "scheme": "https",
                "authorization": {"credentials_file": str(folder / "token")},
                "tls_config": {"ca_file": str(folder / "ca.pem"), "server_name": _NAME},
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
        ],
    }
    await asyncio.to_thread((folder / "prometheus.yaml").write_text, json.dumps(config))
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            stdout=log,
            stderr=log,
        )
    try:
        own = await eventually(lambda: listening(folder / "prometheus.log"), "Prometheus listens")
        async with aiohttp.ClientSession(f"http://{own}") as session:
            asked = Prometheus(session)
            await eventually(asked.is_ready, "Prometheus is ready")
            yield asked
    finally:
        process.terminate()
        await process.wait()


async def listening(log: Path) -> str | None:
    """The address that Prometheus says it listens on."""
    text = await asyncio.to_thread(log.read_text)
    lines = (line for line in text.splitlines() if '"Listening on"' in line)
    return next((line.rpartition("address=")[2].split()[0] for line in lines), None)


async def a_life(product: Product, admin: Admin, joined: str, registered: str) -> None:
    """All that a controller does: it registers, initialises and deletes, and its engine goes."""
    await product.initialised(joined)
    await admin.patch_node(joined, {"spec": {"taints": [UNINITIALIZED]}})
    await product.initialised(joined)
    await product.node_when(registered, lambda node: bool(node["spec"].get("providerID")))
    await asyncio.sleep(_WINDOW)
    product.vm(registered).remove()

    async def is_deleted() -> bool:
        product.require_running()
        return await admin.node(registered) is None

    await eventually(is_deleted, "the node of the removed VM is deleted")
    product.engine.faults.status = 500
    await eventually(lambda: has_failed(product), "listings fail")
    await asyncio.sleep(_WINDOW)


async def has_failed(product: Product) -> bool:
    return product.metric("ovirt_ccm_engine_up") == 0


def queries() -> Iterator[tuple[str, str]]:
    """The title of each panel, and each of its queries as Grafana would send it."""
    for panel in json.loads(_DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", f"{_WINDOW}s")
            yield panel["title"], query.replace("$engine", ".*")


async def test_prometheus_scrapes_the_guarded_port_and_all_that_is_shipped_for_it_answers(
    new_product: NewProduct,
    control_plane: ControlPlane,
    admin: Admin,
    programs: dict[str, Path],
    node_prefix: str,
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert(_NAME)
    pair.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    pair.private_key_pem.write_to_path(tmp_path / "tls.key")
    server = {
        "bind": "127.0.0.1:0",
        "certificate_file": tmp_path / "tls.crt",
        "key_file": tmp_path / "tls.key",
    }
    token = await asyncio.to_thread(scraping_token, control_plane)
    product = new_product(
        vm(f"{node_prefix}joined", "10.9.1.1"),
        vm(f"{node_prefix}registered", "10.9.1.2"),
        insecure_http=False,
        server=server,
        registration={"mode": "create", "delay": "0s"},
        leader_election={"enabled": True},
        deletion={"budget": "100%"},
    )
    joined = f"{node_prefix}joined"
    await admin.create_node(joined)
    with capture_logs() as logs:
        async with product:
            port = await eventually(lambda: port_of(logs), "the port is served")
            since = time.time()
            async with prometheus(programs["prometheus"], tmp_path, port, token, authority) as own:
                await eventually(own.is_scraping, "Prometheus scrapes")
                await a_life(product, admin, joined, f"{node_prefix}registered")

                asked = [
                    (title, query, await own.values(query, since)) for title, query in queries()
                ]
                rules = (await own.get("rules"))["groups"]

    assert asked
    empty = [f"{title}: {query}" for title, query, values in asked if not values]
    assert empty == []
    unwell = [r["name"] for group in rules for r in group["rules"] if r["health"] != "ok"]
    assert unwell == []
    shipped = yaml.safe_load(_RULES.read_text())["groups"]
    assert {group["name"] for group in rules} == {group["name"] for group in shipped}


async def port_of(logs: list[Any]) -> int | None:
    return next((line["port"] for line in logs if line["event"] == "started"), None)
