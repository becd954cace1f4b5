"""The checks of the cluster: who we are there, what we may do, which nodes there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provider.commands.findings import Finding, Result, failure
from provider.commands.gather import list_nodes
from provider.errors import KubeError
from provider.kube.access import SERVICE_ACCOUNT, load_access
from provider.kube.api import KubeApi
from provider.kube.rights import missing_rights
from provider.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from provider.config import Config
    from provider.model import Node

SUBJECT = "cluster"


@dataclass(slots=True)
class ClusterReport:
    """What was found out about the cluster; `nodes` is None when they could not be listed."""

    findings: list[Finding] = field(default_factory=list)
    nodes: dict[str, Node] | None = None


async def check_cluster(config: Config, kubeconfig: Path | None) -> ClusterReport:
    """All that can be said about the cluster; its errors become findings."""
    report = ClusterReport()
    if kubeconfig is None and not SERVICE_ACCOUNT.exists():
        report.findings.append(_not_checked())
        return report
    try:
        access = await load_access(kubeconfig)
        async with KubeApi(access, config.limits.kube_timeout, Metrics()) as api:
            version = await api.version()
            report.findings.append(await _identity(api, f"Kubernetes {version} at {access.url}"))
            report.findings.append(await _rights(api))
            report.nodes = await list_nodes(api)
            message = f"{len(report.nodes)} nodes are there"
            report.findings.append(Finding(SUBJECT, Result.OK, message))
    except KubeError as error:
        remedy = "Is this the right kubeconfig, and is the API server up?"
        report.findings.append(failure(SUBJECT, error, remedy))
    return report


def _not_checked() -> Finding:
    message = "no --kubeconfig is given, and this is no pod: nodes and permissions are unknown."
    return Finding(SUBJECT, Result.NOT_CHECKED, message, "Give --kubeconfig FILE to check it too.")


async def _identity(api: KubeApi, server: str) -> Finding:
    try:
        user = await api.whoami()
    except KubeError:  # before Kubernetes 1.28 nobody could ask
        return Finding(SUBJECT, Result.OK, f"{server} answers")
    return Finding(SUBJECT, Result.OK, f"{server} knows us as {user}")


async def _rights(api: KubeApi) -> Finding:
    try:
        missing = await missing_rights(api)
    except KubeError as error:
        message = f"permissions could not be asked for: {error.message}"
        return Finding(SUBJECT, Result.NOT_CHECKED, message, error.remedy)
    if missing:
        message = f"the API server refuses us: {', '.join(map(str, missing))}."
        remedy = "Grant this user or service account what manifests/rbac.yaml grants."
        return Finding(SUBJECT, Result.FAILED, message, remedy)
    return Finding(SUBJECT, Result.OK, "we may do all that the controller does")
