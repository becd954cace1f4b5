"""What the documents tell an administrator to type works."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import yaml

from provider.configfile import load_config
from tests.manifests.generate import CHART, ROOT
from tests.manifests.render import configuration, objects, pods

if TYPE_CHECKING:
    from pathlib import Path

    from tests.manifests.render import Renderer


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", CHART / "README.md"], ids=lambda p: p.name
)
def test_the_documented_command_of_helm_installs_what_it_says(
    document: Path, renderer: Renderer, tmp_path: Path
) -> None:
    files = {"password": "geheim\n", "ca.pem": "-----BEGIN CERTIFICATE-----\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = _commands(document, "helm install")[0].replace("=password", f"={tmp_path}/password")
    _, _, *arguments = shlex.split(command.replace("=ca.pem", f"={tmp_path}/ca.pem"))

    arguments = [str(CHART) if word.startswith("deploy/") else word for word in arguments]
    rendered = objects(renderer.helm("template", *arguments))

    assert rendered["Secret", "kube-system", "ovirt-ccm"]["stringData"] == files
    (container,) = pods(rendered)["spec"]["containers"]
    assert container["image"].startswith("registry.example.com/cloud-provider-ovirt:")
    file = tmp_path / "config.yaml"
    file.write_text(configuration(rendered))
    (engine,) = load_config(file).engines
    assert (engine.url, engine.username) == (
        "https://engine.example.com/ovirt-engine",
        "kubernetes@internal",
    )


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", CHART / "README.md"], ids=lambda p: p.name
)
def test_the_documented_secret_is_that_which_the_pods_wait_for(
    document: Path, renderer: Renderer
) -> None:
    (command,) = _commands(document, "kubectl -n kube-system create secret")

    words = shlex.split(command)
    name = words[words.index("generic") + 1]
    keys = {word.removeprefix("--from-file=") for word in words if "--from-file" in word}
    rendered = renderer.kustomize()
    (etc,) = pods(rendered)["spec"]["volumes"]
    assert {"secret": {"name": name}} in etc["projected"]["sources"]
    (engine,) = yaml.safe_load(configuration(rendered))["engines"]
    assert {engine["password_file"], engine["ca_file"]} == {f"/etc/ovirt-ccm/{k}" for k in keys}


def _commands(document: Path, start: str) -> list[str]:
    """The commands of the document that start so, each in one line."""
    text = document.read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^{re.escape(start)}.*$", text, re.MULTILINE)
