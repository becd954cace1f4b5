"""What the chart makes of its values, and which it refuses."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provider.configfile import load_config
from tests.manifests.generate import CHART
from tests.manifests.render import NEEDED, RenderError, configuration, pods

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.manifests.render import Renderer

_ENGINE = NEEDED["config"]["engines"][0]


def _config(**sections: Any) -> dict[str, Any]:
    return {"config": NEEDED["config"] | sections}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 1}, "additional properties 'replica' not allowed"),
        ({"image": {"tagg": "1"}}, "additional properties 'tagg' not allowed"),
        ({"resources": {"limit": {}}}, "additional properties 'limit' not allowed"),
        ({"extraTolerations": [{"kee": "a"}]}, "additional properties 'kee' not allowed"),
        (_config(interval={}), "additional properties 'interval' not allowed"),
        (_config(intervals={"pol": "1s"}), "additional properties 'pol' not allowed"),
        (_config(engines=[{**_ENGINE, "user": "a"}]), "additional properties 'user' not allowed"),
        (_config(engines=[{"url": "https://e"}]), "missing property 'username'"),
        (_config(registration={"labels": {"a b": "c"}}), "additional properties 'a b' not"),
        (_config(engines=[]), "minItems: got 0, want 1"),
        ({"config": {}}, "missing property 'engines'"),
        ({"config": None}, "missing property 'config'"),
        ({"kind": "StatefulSet"}, "value must be one of 'Deployment', 'DaemonSet'"),
        ({"ca": "ca.pem"}, "does not match pattern"),
        ({"existingSecret": ""}, "The engine's password is missing"),
        ({"password": "geheim"}, "give one of both"),
        (_config(leader_election={"enabled": False}), "then all replicas would write"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_cannot_be_meant_is_refused(
    renderer: Renderer, values: Mapping[str, Any], complaint: str
) -> None:
    with pytest.raises(RenderError, match=complaint):
        renderer.chart(values)


def test_one_replica_needs_no_leader(renderer: Renderer) -> None:
    rendered = renderer.chart(_config(leader_election={"enabled": False}) | {"replicas": 1})

    assert yaml.safe_load(configuration(rendered))["leader_election"] == {"enabled": False}


def test_it_has_no_fault_that_helm_knows(renderer: Renderer) -> None:
    answer = renderer.helm("lint", "--strict", str(CHART), renderer.values(NEEDED))

    assert "0 chart(s) failed" in answer


def test_it_may_be_part_of_another_chart(renderer: Renderer, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts" / CHART.name)
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    (parent / "Chart.yaml").write_text(json.dumps(about))
    (parent / "values.yaml").write_text(json.dumps({CHART.name: NEEDED, "global": {"a": 1}}))

    assert "kind: Deployment" in renderer.helm("template", "all", str(parent))


def test_a_changed_configuration_rolls_the_pods_and_a_password_shows_nowhere(
    renderer: Renderer,
) -> None:
    own = {"existingSecret": "", "password": "geheim"}
    before, same, other_config, other_ca, other_password = (
        pods(renderer.chart(values))
        for values in (
            own,
            own,
            own | _config(topology={"zone": "host"}),
            own | {"ca": "-----BEGIN CERTIFICATE-----"},
            own | {"password": "anders"},
        )
    )

    assert before == same
    assert before == other_password, "its hash in a pod would help to guess it"
    assert len({json.dumps(one) for one in (before, other_config, other_ca)}) == 3


def test_a_daemonset_runs_on_each_node_of_the_control_plane_and_nowhere_else(
    renderer: Renderer,
) -> None:
    rendered = renderer.chart({"kind": "DaemonSet"})

    affinity = pods(rendered)["spec"]["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}
    ]
    assert "PodDisruptionBudget" not in {kind for kind, _, _ in rendered}


def test_in_another_namespace_only_what_is_about_the_lease_stays_in_kube_system(
    renderer: Renderer,
) -> None:
    rendered = renderer.chart({"serviceMonitor": {"enabled": True}}, namespace="ovirt")

    stays = {kind for kind, namespace, _ in rendered if namespace == "kube-system"}
    assert stays == {"Role", "RoleBinding"}
    accounts = [s for item in rendered.values() for s in item.get("subjects", ())]
    assert {account["namespace"] for account in accounts} == {"ovirt"}


def test_secret_and_configuration_agree_on_the_files(renderer: Renderer, tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\n"
    rendered = renderer.chart({"existingSecret": "", "password": 'ge"heim', "ca": pem})

    secret = rendered["Secret", "kube-system", "ovirt-ccm"]
    assert secret["stringData"] == {"password": 'ge"heim', "ca.pem": pem}
    file = tmp_path / "config.yaml"
    file.write_text(configuration(rendered))
    (engine,) = load_config(file).engines
    places = {f"/etc/ovirt-ccm/{name}" for name in secret["stringData"]}
    assert {str(engine.password_file), str(engine.ca_file)} == places


def test_an_engine_with_a_public_certificate_needs_no_ca(renderer: Renderer) -> None:
    rendered = renderer.chart({"existingSecret": "", "password": "geheim"})

    (engine,) = yaml.safe_load(configuration(rendered))["engines"]
    assert "ca_file" not in engine


def test_several_engines_have_a_password_each(renderer: Renderer) -> None:
    east = {**_ENGINE, "name": "east", "password_file": "/etc/ovirt-ccm/east"}
    rendered = renderer.chart(_config(engines=[east, {**_ENGINE, "name": "west"}]))

    files = [e["password_file"] for e in yaml.safe_load(configuration(rendered))["engines"]]
    assert files == ["/etc/ovirt-ccm/east", "/etc/ovirt-ccm/password"]


@pytest.mark.parametrize(
    ("bind", "host", "port"),
    [
        ("[::]:4443", "127.0.0.1", 4443),
        ("0.0.0.0:4443", "127.0.0.1", 4443),
        ("10.1.2.3:10258", "10.1.2.3", 10258),
        ("[fd00::1]:10258", "fd00::1", 10258),
    ],
)
def test_probes_and_service_follow_the_address_of_the_configuration(
    renderer: Renderer, bind: str, host: str, port: int
) -> None:
    rendered = renderer.chart(_config(server={"bind": bind}))

    (container,) = pods(rendered)["spec"]["containers"]
    assert [one["containerPort"] for one in container["ports"]] == [port]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["host"] == host
    service = rendered["Service", "kube-system", "ovirt-cloud-controller-manager"]
    assert [one["port"] for one in service["spec"]["ports"]] == [port]


def test_the_api_server_can_be_named(renderer: Renderer) -> None:
    rendered = renderer.chart({"kubernetes": {"host": "api.example.com", "port": 443}})

    (container,) = pods(rendered)["spec"]["containers"]
    assert {variable["name"]: variable["value"] for variable in container["env"]} == {
        "KUBERNETES_SERVICE_HOST": "api.example.com",
        "KUBERNETES_SERVICE_PORT": "443",
    }


def test_prometheus_checks_the_certificate_where_there_is_one(renderer: Renderer) -> None:
    rendered = renderer.chart(
        {"serviceMonitor": {"enabled": True}, "certificateSecret": "tls"}, namespace="ovirt"
    )

    monitor = rendered["ServiceMonitor", "ovirt", "ovirt-cloud-controller-manager"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["tlsConfig"] == {
        "ca": {"secret": {"name": "tls", "key": "ca.crt"}},
        "serverName": "ovirt-cloud-controller-manager.ovirt.svc",
    }
