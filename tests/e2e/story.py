"""The story: a cluster begins on oVirt, loses a machine and gets it back."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp

from tests.e2e import workload
from tests.e2e.cluster import cluster_role_binding
from tests.e2e.look import (
    OUT_OF_SERVICE,
    SHUTDOWN,
    UNINITIALIZED,
    has_taint,
    is_ending,
    is_open,
    is_ready,
    is_unschedulable,
    lacks_taints,
    node_when,
    pod_when,
    pods,
    runs_on,
)
from tests.e2e.report import note, require, step, title
from tests.kube.product import addresses, eventually

if TYPE_CHECKING:
    from tests.e2e.look import Object
    from tests.e2e.site import Site

FIRST, SECOND = "e2e-1", "e2e-2"

_SYSTEM = "kube-system"
_PRODUCT = "app.kubernetes.io/name=cloud-provider-ovirt"
_SETTINGS = {"intervals": {"poll": "5s"}, "registration": {"delay": "5s"}}
_LEASE = (
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ovirt-cloud-controller-manager"
)


async def tell(site: Site) -> None:
    """All chapters in their order; StoryError or AssertionError at what is not as it must be."""
    for chapter in (
        _a_node_waits,
        _the_product_starts_on_it,
        _the_pod_is_confined,
        _the_port_is_guarded,
        _a_node_before_its_kubelet,
        _the_power_fails,
        _out_of_service,
        _the_power_is_back,
        _the_leader_goes,
    ):
        title((chapter.__doc__ or "").strip().splitlines()[0])
        await chapter(site)


async def _a_node_waits(site: Site) -> None:
    """A kubelet joins, and its node waits for a cloud controller"""
    cluster = site.cluster
    await cluster.apply([workload.pod("first")])
    with step(f"{FIRST} powers on; its kubelet joins by bootstrap token"):
        await site.nodes[FIRST].start()
        node = await node_when(cluster, FIRST, "is there", lambda _: True)
    require(fact=has_taint(UNINITIALIZED)(node), what=f"{FIRST} joined without the taint")
    require(fact="providerID" not in node["spec"], what=f"{FIRST} has a provider id already")
    with step("it stays tainted, and a workload finds no node"):
        await pod_when(cluster, "app=first", "is unschedulable", is_unschedulable)
        await asyncio.sleep(3)
        node = await node_when(cluster, FIRST, "is there", lambda _: True)
        require(fact=has_taint(UNINITIALIZED)(node), what="somebody took the taint away")
        require(fact=not is_ready(node), what="the node is ready without a pod network")


async def _the_product_starts_on_it(site: Site) -> None:
    """The product starts on that very node, which is tainted, not ready and has no pod network"""
    cluster = site.cluster
    with step("kubectl apply -k manifests"):
        await site.install(**_SETTINGS)
    with step("its pod starts there"):
        await pod_when(cluster, _PRODUCT, "runs", _is_running, namespace=_SYSTEM)
    with step("it initialises the node"):
        node = await node_when(
            cluster, FIRST, "is initialised", lacks_taints(UNINITIALIZED), within=30
        )
    require(
        fact=node["spec"].get("providerID") == f"ovirt://{site.vm(FIRST).id}",
        what=f"its provider id is {node['spec'].get('providerID')}",
    )
    require(fact=not is_ready(node), what="the node was ready before it was initialised")
    zone = node["metadata"]["labels"].get("topology.kubernetes.io/zone")
    note(f"{node['spec']['providerID']}, {addresses(node)}, zone {zone}")
    with step("the pod network arrives, and the node is ready"):
        site.nodes[FIRST].give_pod_network()
        await node_when(cluster, FIRST, "is ready", is_ready)
    with step("the workload runs"):
        await pod_when(cluster, "app=first", "runs", runs_on(FIRST))
    with step("the kubelet's HTTPS probes find the product ready"):
        await pod_when(cluster, _PRODUCT, "is ready", runs_on(FIRST), namespace=_SYSTEM)


def _is_running(pod: Object) -> bool:
    states = pod["status"].get("containerStatuses", ())
    return any("running" in one["state"] for one in states)


async def _the_pod_is_confined(site: Site) -> None:
    """The pod can do no more than it needs"""
    with step("user 65532, no capability, no new privileges, seccomp, nothing to write to"):
        lines = (await _exec(site, "cat /proc/1/status")).splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        require(fact=set(status["Uid"].split()) == {"65532"}, what=f"Uid {status['Uid']}")
        require(fact=set(status["Gid"].split()) == {"65532"}, what=f"Gid {status['Gid']}")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            require(fact=int(status[name], 16) == 0, what=f"{name} {status[name]}")
        require(fact=status["NoNewPrivs"] == "1", what="it may gain privileges")
        require(fact=status["Seccomp"] == "2", what="it has no seccomp filter")
        writable = await _exec(site, "touch /tmp/x /opt/x /x 2>/dev/null; ls /x /tmp/x || true")
        require(fact=not writable.strip(), what=f"it could write {writable}")
    with step("it buries what loses its parent"):
        await _exec(site, "(sleep 0.2 &)")
        await asyncio.sleep(12)
        states = await _exec(site, "cat /proc/[0-9]*/stat | cut -d' ' -f2,3")
        require(fact=") Z" not in states, what=f"a zombie stays: {states}")
    with step("neither pip nor a compiler is there"):
        found = await _exec(site, "command -v pip pip3 gcc cc || true")
        absent = await _exec(site, "python -c 'import pip' 2>&1 || true")
        require(fact=not found.strip() and "No module" in absent, what=f"{found}{absent}")


async def _exec(site: Site, command: str) -> str:
    found = await pods(site.cluster, _PRODUCT, _SYSTEM)
    name = next(pod["metadata"]["name"] for pod in found if is_ready(pod))
    return await site.cluster.kubectl("exec", "-n", _SYSTEM, name, "--", "sh", "-c", command)


async def _the_port_is_guarded(site: Site) -> None:
    """Its port answers probes to everybody, the rest to whom the cluster lets in"""
    await site.cluster.apply(_readers())
    may = await site.cluster.kubectl("create", "token", "may-read", "-n=default")
    may_not = await site.cluster.kubectl("create", "token", "may-not-read", "-n=default")
    with step("/readyz 200; /metrics 401 without a token, 403 and 200 by the token's rights"):
        statuses = [
            (await _get(site, "/readyz"))[0],
            (await _get(site, "/metrics"))[0],
            (await _get(site, "/metrics", may_not))[0],
        ]
        status, text = await _get(site, "/metrics", may)
        require(fact=[*statuses, status] == [200, 401, 403, 200], what=f"{statuses}, {status}")
        initialised = 'ovirt_ccm_nodes{state="initialised"} 1.0'
        require(fact=initialised in text.splitlines(), what="the metrics count no node")


def _readers() -> list[Object]:
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        for name in ("may-read", "may-not-read")
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "may-read"},
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
    }
    account = {"kind": "ServiceAccount", "name": "may-read", "namespace": "default"}
    return [*accounts, role, cluster_role_binding("may-read", "may-read", account)]


async def _get(site: Site, path: str, token: str = "") -> tuple[int, str]:
    """Status and text of an answer; the certificate is of the product's own making."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
    url = f"https://{site.nodes[FIRST].machine.ip}:10258{path}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(url, headers=headers) as reply,
    ):
        return reply.status, await reply.text()


async def _a_node_before_its_kubelet(site: Site) -> None:
    """A VM runs and its kubelet does not: the node is there before it"""
    cluster = site.cluster
    with step(f"the VM {SECOND} starts, and the product registers it as a node"):
        site.vm(SECOND).start()
        node = await node_when(cluster, SECOND, "is registered", lambda _: True)
    identity = f"ovirt://{site.vm(SECOND).id}", [site.nodes[SECOND].machine.ip]
    found = node["spec"]["providerID"], addresses(node)
    require(fact=found == identity, what=f"registered as {found}")
    uid = node["metadata"]["uid"]
    with step("its kubelet comes, takes that node over and is ready"):
        site.nodes[SECOND].give_pod_network()
        await site.nodes[SECOND].start()
        node = await node_when(cluster, SECOND, "is ready", is_open)
    require(fact=node["metadata"]["uid"] == uid, what="it is another node")
    require(fact=(node["spec"]["providerID"], addresses(node)) == identity, what="it changed")
    uuid = node["status"]["nodeInfo"]["systemUUID"]
    require(fact=uuid.lower() == site.vm(SECOND).id, what=f"its kubelet says {uuid}")
    with step("a second replica of the product runs there and stands by"):
        await pod_when(cluster, _PRODUCT, "is ready", runs_on(SECOND), namespace=_SYSTEM)


async def _the_power_fails(site: Site) -> None:
    """The power of a VM fails, its node dies"""
    cluster = site.cluster
    with step(f"two workloads run on {SECOND}: a Deployment's and a StatefulSet's pod"):
        await cluster.apply(
            workload.replicated(kind, name, at_first=SECOND)
            for kind, name in (("Deployment", "web"), ("StatefulSet", "db"))
        )
        for name in ("web", "db"):
            await pod_when(cluster, f"app={name}", f"runs on {SECOND}", runs_on(SECOND))
    with step("Kubernetes misses the kubelet; the product taints the node as shut down"):
        site.vm(SECOND).stop()
        await site.nodes[SECOND].power_off()
        await node_when(cluster, SECOND, "is tainted as shut down", has_taint(SHUTDOWN))
    with step(f"the Deployment's pod starts on {FIRST}"):
        await pod_when(cluster, "app=web", f"runs on {FIRST}", runs_on(FIRST))
    with step("the StatefulSet's cannot: the old one may still run, for all Kubernetes knows"):
        await pod_when(cluster, "app=db", "is ending", is_ending)
        await asyncio.sleep(25)
        found = await pods(cluster, "app=db")
        names = [pod["spec"]["nodeName"] for pod in found]
        require(fact=names == [SECOND] and is_ending(found[0]), what=f"it is on {names}")
    node = await node_when(cluster, SECOND, "is there", lambda _: True)
    require(fact=lacks_taints(OUT_OF_SERVICE)(node), what="out of service was not asked for")


async def _out_of_service(site: Site) -> None:
    """The same with out_of_service: what is proven down gives its pods free"""
    cluster = site.cluster
    with step("a changed ConfigMap is taken; the engine says twice that the VM is down"):
        await site.install(**_SETTINGS, out_of_service={"enabled": True})
        await node_when(
            cluster, SECOND, "is out of service", has_taint(OUT_OF_SERVICE), within=120
        )
    with step(f"the StatefulSet's pod starts on {FIRST}"):
        await pod_when(cluster, "app=db", f"runs on {FIRST}", runs_on(FIRST), within=90)


async def _the_power_is_back(site: Site) -> None:
    """The power is back"""
    cluster = site.cluster
    with step(f"{SECOND} boots, is ready and has no taint"):
        site.vm(SECOND).start()
        await site.nodes[SECOND].start()
        await node_when(cluster, SECOND, "is ready and has no taint", is_open)
    with step("a workload runs there again"):
        await cluster.apply([workload.replicated("Deployment", "late", at_first=SECOND)])
        await pod_when(cluster, "app=late", f"runs on {SECOND}", runs_on(SECOND))


async def _the_leader_goes(site: Site) -> None:
    """The leader is asked to end"""
    cluster = site.cluster
    await pod_when(cluster, _PRODUCT, "is ready", runs_on(SECOND), namespace=_SYSTEM)
    before = await _holder(site)
    found = await pods(cluster, _PRODUCT, _SYSTEM)
    name = next(p["metadata"]["name"] for p in found if p["spec"]["nodeName"] in before)
    with step("SIGTERM ends it; the other replica leads at once"):
        await cluster.kubectl("delete", "pod", "-n", _SYSTEM, name, "--wait=false")

        async def is_other() -> str | None:
            holder = await _holder(site)
            return holder if holder not in ("", before) else None

        after = await eventually(is_other, "another replica leads", within=10)
    note(f"{before} → {after}")
    with step("no probe ever had a container of the product killed"):
        path = "/api/v1/namespaces/kube-system/events?fieldSelector=reason=Killing"
        said = [event["message"] for event in (await cluster.admin.call("GET", path))["items"]]
        require(fact=not any("probe" in text for text in said), what=str(said))


async def _holder(site: Site) -> str:
    lease = await site.cluster.admin.call("GET", _LEASE)
    return str(lease["spec"].get("holderIdentity") or "")
