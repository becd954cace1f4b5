"""What is shipped, installed on a real API server, by kubectl and by Helm, and removed again."""

from __future__ import annotations

import json
import re
import shlex
import time
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from tests.kube.control_plane import ControlPlane, KubectlError
from tests.manifests.generate import CHART, MANIFESTS
from tests.manifests.render import NEEDED, key, pods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.manifests.render import Object, Renderer

_OURS = "--selector=app.kubernetes.io/name=cloud-provider-ovirt"
_KINDS = (
    "deployments,daemonsets,pods,services,configmaps,secrets,serviceaccounts,poddisruptionbudgets,"
    "roles,rolebindings,clusterroles,clusterrolebindings"
)
# Those commands of the notes that need neither a running pod nor a leader.
_HARMLESS = re.compile(
    r"^ +kubectl ((?:-n kube-system describe|get nodes|-n default get events) .*)", re.MULTILINE
)
_PATIENCE = 60.0  # seconds; one is usual


@pytest.fixture(scope="module")
def cluster(kube_assets: Path) -> Iterator[ControlPlane]:
    """A cluster without nodes, whose controllers make pods of a Deployment."""
    with ControlPlane(kube_assets, kcm=True) as cluster:
        yield cluster


def test_kubectl_installs_it_and_removes_it(cluster: ControlPlane, renderer: Renderer) -> None:
    tried = cluster.kubectl("apply", "--server-side", "--dry-run=server", f"-k={MANIFESTS}")
    assert tried.count("(server dry run)") == len(renderer.kustomize())

    cluster.kubectl("apply", f"-k={MANIFESTS}")
    assert {key(item) for item in _installed(cluster)} >= renderer.kustomize().keys()
    assert "unchanged" in cluster.kubectl("apply", f"-k={MANIFESTS}")
    for pod in _pods(cluster, 2):
        assert pod["spec"]["priority"] == 2_000_000_000
        assert pod["spec"]["containers"][0]["ports"][0]["hostPort"] == 10258

    cluster.kubectl("delete", f"-k={MANIFESTS}")
    _pods(cluster, 0)
    assert _installed(cluster) == []


def test_helm_installs_it_rolls_it_and_removes_it(
    cluster: ControlPlane, renderer: Renderer
) -> None:
    where = ("--namespace=kube-system", f"--kubeconfig={cluster.kubeconfig}")

    said = renderer.helm("install", "ovirt-ccm", str(CHART), *where, renderer.values(NEEDED))
    assert "rollout status deployment/ovirt-cloud-controller-manager" in said
    assert "the Secret ovirt-ccm must be in the namespace kube-system" in said
    for command in _HARMLESS.findall(said):
        cluster.kubectl(*shlex.split(command))
    before = _names(_pods(cluster, 2))

    config = NEEDED["config"] | {"topology": {"zone": "host"}}
    changed = renderer.values(NEEDED | {"config": config})
    renderer.helm("upgrade", "ovirt-ccm", str(CHART), *where, changed)
    _pods_once(cluster, lambda found: bool(_names(found) - before))

    daemonset = renderer.values(NEEDED | {"kind": "DaemonSet"})
    renderer.helm("upgrade", "ovirt-ccm", str(CHART), *where, daemonset)
    kinds = {item["kind"] for item in _installed(cluster)}
    assert "DaemonSet" in kinds
    assert not kinds & {"Deployment", "PodDisruptionBudget"}

    renderer.helm("uninstall", "ovirt-ccm", *where)
    _pods(cluster, 0)
    assert _installed(cluster) == []


def test_the_pods_may_be_all_that_pod_security_restricts_but_for_the_hosts_network(
    cluster: ControlPlane, renderer: Renderer
) -> None:
    cluster.kubectl("create", "namespace", "strict")
    level = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", "strict", level)
    spec = pods(renderer.kustomize())["spec"]
    del spec["serviceAccountName"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "strict"},
        "spec": spec,
    }

    with pytest.raises(KubectlError) as refused:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))

    _, _, violations = str(refused.value).partition("violates PodSecurity")
    assert re.findall(r"(?:^|[:,]) (\w[\w ]+?) \(", violations) == [
        "host namespaces",
        "hostPort",
        "probe or lifecycle host",
    ]


def test_the_account_for_scraping_gets_a_token_that_reads_metrics_alone(
    cluster: ControlPlane,
) -> None:
    cluster.kubectl("apply", "-f", str(MANIFESTS / "components/prometheus/scrape-account.yaml"))

    token = ("get", "secret", "ovirt-ccm-metrics", "-n=kube-system", "-o=jsonpath={.data.token}")
    kubeconfig = cluster.kubeconfig_with(b64decode(_eventually(cluster, *token)).decode())
    assert "# TYPE" in cluster.kubectl("get", "--raw=/metrics", kubeconfig=kubeconfig)
    for refused in ("/v1/instances", "/api/v1/nodes"):
        with pytest.raises(KubectlError, match="orbidden"):
            cluster.kubectl("get", f"--raw={refused}", kubeconfig=kubeconfig)


def _installed(cluster: ControlPlane) -> list[Object]:
    """All objects of ours, without what controllers make of them."""
    listed = json.loads(cluster.kubectl("get", _KINDS, "--all-namespaces", _OURS, "--output=json"))
    return [item for item in listed["items"] if "ownerReferences" not in item["metadata"]]


def _eventually(cluster: ControlPlane, *arguments: str) -> str:
    """What kubectl prints, once it prints something."""
    deadline = time.monotonic() + _PATIENCE
    while not (text := cluster.kubectl(*arguments)):
        assert time.monotonic() < deadline, f"nothing from {arguments}"
        time.sleep(0.1)
    return text


def _names(items: list[Object]) -> set[str]:
    return {item["metadata"]["name"] for item in items}


def _pods(cluster: ControlPlane, count: int) -> list[Object]:
    """The pods of ours, once there are so many."""

    def are_so_many(found: list[Object]) -> bool:
        return len(found) == count

    return _pods_once(cluster, are_so_many)


def _pods_once(cluster: ControlPlane, is_so: Callable[[list[Object]], bool]) -> list[Object]:
    """The pods of ours, once they are so."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        text = cluster.kubectl("get", "pods", "--namespace=kube-system", _OURS, "--output=json")
        found: list[Object] = json.loads(text)["items"]
        if is_so(found):
            return found
        assert time.monotonic() < deadline, f"the pods are still {found}"
        time.sleep(0.1)
