"""The command line of each program of a control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kube.layout import HOST, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICES = "10.96.0.0/16"
_PODS = "10.128.0.0/11"  # in pieces of /24: 8,192 nodes
_FOR_EVER = "24h"


def etcd(layout: Layout) -> Mapping[str, str]:
    """Etcd that does not wait for the disk: what it stores ends with the test run."""
    clients = f"http://{HOST}:{layout.etcd_port}"
    peers = f"http://{HOST}:{layout.peer_port}"
    return {
        "name": "test",
        "data-dir": str(layout.folder / "etcd"),
        "log-level": "warn",
        "unsafe-no-fsync": "true",
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"test={peers}",
    }


def kube_apiserver(layout: Layout) -> Mapping[str, str]:
    """The API server with RBAC, NodeRestriction and the audit log, as kubeadm sets it up."""
    proxy, kubelet = layout.front_proxy, layout.kubelet_client
    accounts = layout.service_accounts
    return {
        "etcd-servers": f"http://{HOST}:{layout.etcd_port}",
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": str(layout.api_port),
        # A loopback address is no legal endpoint of the service "kubernetes".
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": _SERVICES,
        "profiling": "false",
        "tls-cert-file": str(layout.api_server.certificate),
        "tls-private-key-file": str(layout.api_server.key),
        "client-ca-file": str(layout.ca.pair.certificate),
        "token-auth-file": str(layout.tokens),
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": str(accounts.key),
        "service-account-key-file": str(accounts.certificate),
        "kubelet-client-certificate": str(kubelet.certificate),
        "kubelet-client-key": str(kubelet.key),
        "requestheader-client-ca-file": str(layout.front_proxy_ca.pair.certificate),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(proxy.certificate),
        "proxy-client-key-file": str(proxy.key),
        "audit-policy-file": str(layout.audit_policy),
        "audit-log-path": str(layout.audit_log),
        "audit-log-maxsize": "2000",
    }


def kube_controller_manager(layout: Layout) -> Mapping[str, str]:
    """kube-controller-manager that leaves nodes to a cloud controller.

    Nodes of tests have no kubelet: they may be silent for a day, unless a test says otherwise.
    """
    ca = layout.ca.pair
    return {
        **_component(layout, "kube-controller-manager", layout.kcm_port),
        "cloud-provider": "external",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(layout.service_accounts.key),
        "root-ca-file": str(ca.certificate),
        "cluster-signing-cert-file": str(ca.certificate),
        "cluster-signing-key-file": str(ca.key),
        "service-cluster-ip-range": _SERVICES,
        "allocate-node-cidrs": "true",
        "cluster-cidr": _PODS,
        "node-cidr-mask-size": "24",
        "node-monitor-grace-period": _FOR_EVER,
        "node-startup-grace-period": _FOR_EVER,
    }


def kube_scheduler(layout: Layout) -> Mapping[str, str]:
    """kube-scheduler as it comes."""
    return _component(layout, "kube-scheduler", layout.scheduler_port)


def _component(layout: Layout, name: str, port: int) -> dict[str, str]:
    pair = layout.ca.issue(name, f"system:{name}", hosts=[HOST])
    kubeconfig = str(layout.kubeconfig_for(f"system:{name}"))
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": HOST,
        "secure-port": str(port),
        "tls-cert-file": str(pair.certificate),
        "tls-private-key-file": str(pair.key),
        "leader-elect": "false",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
    }
