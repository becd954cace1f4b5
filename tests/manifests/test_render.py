"""kustomize and the chart make the same objects, and every supported Kubernetes knows them."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from provider.configfile import load_config
from tests.manifests.generate import CHART, MANIFESTS, ROOT
from tests.manifests.render import NEEDED, configuration, pods

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.manifests.render import Key, Object, Renderer

_KUBERNETES = ("1.34", "1.35", "1.36", "1.37")
_MONITORS = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
_VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with monitors": _MONITORS,
    "as a DaemonSet": {"kind": "DaemonSet"},
    "with a Secret of its own": {
        "existingSecret": "",
        "password": "p",
        "ca": "-----BEGIN CERTIFICATE-----",
    },
    "with all that can be said": {
        **_MONITORS,
        "certificateSecret": "tls",
        "config": {**NEEDED["config"], "server": {"bind": "10.1.2.3:4443"}},
        "image": {"digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": ["registry"],
        "kubernetes": {"host": "api.example.com"},
        "nodeSelector": {"example.com/a": "b"},
        "extraTolerations": [{"key": "example.com/a", "operator": "Exists"}],
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"example.com/a": "b"},
        "replicas": 3,
    },
}


def test_kustomize_and_the_chart_make_the_same_objects(renderer: Renderer) -> None:
    by_kustomize = renderer.kustomize("prometheus")
    by_helm = renderer.chart(_MONITORS)

    assert _comparable(by_helm) == _comparable(by_kustomize)


def test_the_base_makes_no_secret_and_needs_no_operator(renderer: Renderer) -> None:
    rendered = renderer.kustomize()

    groups = {item["apiVersion"].partition("/")[0] for item in rendered.values()}
    assert groups == {"v1", "apps", "policy", "rbac.authorization.k8s.io"}
    assert "Secret" not in {kind for kind, _, _ in rendered}


def test_an_overlay_changes_image_and_configuration_alone(
    renderer: Renderer, tmp_path: Path
) -> None:
    theirs = renderer.kustomization(ROOT / "deploy/overlay")
    shipped = renderer.kustomize()

    (tmp_path / "config.yaml").write_text(configuration(theirs))
    assert load_config(tmp_path / "config.yaml").selection.tag == "production"
    (container,) = pods(theirs)["spec"]["containers"]
    (original,) = pods(shipped)["spec"]["containers"]
    assert container["image"] == f"registry.example.com/{original['image']}"
    container["image"] = original["image"]
    place = ("ConfigMap", "kube-system", "ovirt-ccm")
    theirs[place]["data"] = shipped[place]["data"]
    assert theirs == shipped


@pytest.mark.parametrize("values", _VARIANTS.values(), ids=_VARIANTS)
def test_every_supported_kubernetes_knows_each_field(
    renderer: Renderer, values: dict[str, Any]
) -> None:
    for item in renderer.chart(values).values():
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            for version in _KUBERNETES:
                assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_shipped_configuration_is_valid_and_its_files_are_in_the_secret() -> None:
    config = load_config(MANIFESTS / "config.yaml")

    (engine,) = config.engines
    secret = yaml.safe_load((MANIFESTS / "secret.example.yaml").read_text("utf-8"))
    places = {f"/etc/ovirt-ccm/{name}" for name in secret["stringData"]}
    assert {str(engine.password_file), str(engine.ca_file)} == places


def test_the_example_of_a_secret_locks_no_account() -> None:
    secret = yaml.safe_load((MANIFESTS / "secret.example.yaml").read_text("utf-8"))

    assert secret["stringData"]["password"] == ""


def test_the_pods_listen_where_the_controller_does_by_default(renderer: Renderer) -> None:
    config = load_config(MANIFESTS / "config.yaml")

    for rendered in (renderer.kustomize(), renderer.chart()):
        (container,) = pods(rendered)["spec"]["containers"]
        assert [port["containerPort"] for port in container["ports"]] == [config.server.address[1]]


def test_everything_names_the_version_of_the_package(renderer: Renderer) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))

    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert f"/cloud-provider-ovirt:{version}`" in (ROOT / "README.md").read_text("utf-8")
    for rendered in (renderer.kustomize(), renderer.chart()):
        (container,) = pods(rendered)["spec"]["containers"]
        assert container["image"] == f"cloud-provider-ovirt:{version}"


def test_the_configuration_of_the_chart_is_valid(renderer: Renderer, tmp_path: Path) -> None:
    values = _VARIANTS["with all that can be said"]
    file = tmp_path / "config.yaml"
    file.write_text(configuration(renderer.chart(values)))

    config = load_config(file)

    assert config.server.address == ("10.1.2.3", 4443)
    assert str(config.server.certificate_file) == "/etc/ovirt-ccm/tls.crt"
    assert str(config.engines[0].password_file) == "/etc/ovirt-ccm/password"


def _comparable(rendered: Mapping[Key, Object]) -> dict[Key, Object]:
    """The objects without what only Helm adds, and configuration files as what they say."""
    found = {key: copy.deepcopy(item) for key, item in rendered.items()}
    for item in found.values():
        labels = item["metadata"]["labels"]
        item["metadata"]["labels"] = {k: v for k, v in labels.items() if not _is_helms(k)}
        if item["kind"] == "ConfigMap":
            item["data"] = {name: yaml.safe_load(text) for name, text in item["data"].items()}
    pods(found)["metadata"].pop("annotations", None)  # the checksum that rolls the pods
    return found


def _is_helms(label: str) -> bool:
    return bool(re.search(r"^helm\.sh/|/(instance|version|managed-by)$", label))
