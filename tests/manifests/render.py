"""What kustomize and Helm make of the files that are shipped."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.manifests.generate import CHART, MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Object = dict[str, Any]
Key = tuple[str, str, str]  # kind, namespace, name

ENGINE = yaml.safe_load((MANIFESTS / "config.yaml").read_text("utf-8"))["engines"][0]
"""The engine of the shipped configuration file."""
NEEDED: dict[str, Any] = {
    "config": {"engines": [{key: ENGINE[key] for key in ("url", "username")}]},
    "existingSecret": "ovirt-ccm",
}
"""The values without which the chart is not to be had."""


class RenderError(Exception):
    """The program refused; the text is what it said."""


class Renderer:
    """Runs Helm and kubectl, which keep what they write in `folder`."""

    def __init__(self, programs: Mapping[str, Path], folder: Path) -> None:
        self._programs = programs
        self._folder = folder

    def kustomize(self, *components: str) -> dict[Key, Object]:
        """The objects of manifests/, with these of its components."""
        base = os.path.relpath(MANIFESTS, self._folder)
        kustomization = {
            "resources": [base],
            "components": [f"{base}/components/{name}" for name in components],
        }
        (self._folder / "kustomization.yaml").write_text(json.dumps(kustomization))
        return self.kustomization(self._folder)

    def kustomization(self, folder: Path) -> dict[Key, Object]:
        """The objects of another kustomization."""
        return objects(self._run("kubectl", "kustomize", str(folder)))

    def chart(
        self, values: Mapping[str, Any] | None = None, *, namespace: str = "kube-system"
    ) -> dict[Key, Object]:
        """The objects of the chart with these values beside those that are needed."""
        chosen = self.values(NEEDED | dict(values or {}))
        where = f"--namespace={namespace}"
        return objects(self.helm("template", "ovirt-ccm", str(CHART), where, chosen))

    def values(self, values: Mapping[str, Any]) -> str:
        """The flag that gives Helm these values."""
        file = self._folder / "values.json"
        file.write_text(json.dumps(values))
        return f"--values={file}"

    def helm(self, *arguments: str) -> str:
        """What Helm prints."""
        return self._run("helm", *arguments)

    def _run(self, name: str, *arguments: str) -> str:
        places = {f"HELM_{kind}_HOME": str(self._folder) for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [str(self._programs[name]), *arguments],
            env={**os.environ, "KUBECONFIG": os.devnull, **places},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RenderError(done.stderr.strip())
        return done.stdout


def objects(text: str) -> dict[Key, Object]:
    """The objects of a stream of YAML documents; none may come twice."""
    found = [document for document in yaml.safe_load_all(text) if document]
    by_key = {key(item): item for item in found}
    assert len(by_key) == len(found), "an object comes twice"
    return by_key


def key(item: Object) -> Key:
    """What no other object of a cluster has."""
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def pods(rendered: Mapping[Key, Object]) -> Object:
    """The template of the pods."""
    kinds = ("Deployment", "DaemonSet")
    workload = next(item for (kind, _, _), item in rendered.items() if kind in kinds)
    template: Object = workload["spec"]["template"]
    return template


def configuration(rendered: Mapping[Key, Object]) -> str:
    """The configuration file."""
    texts = [item["data"] for (kind, _, _), item in rendered.items() if kind == "ConfigMap"]
    return str(texts[0]["config.yaml"])
