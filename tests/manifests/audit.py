"""What checkov finds in what is shipped, beside the exceptions that have a reason.

`python -m tests.manifests.audit CHECKOV` looks at the objects of kustomize and of the chart; exit
status 1 for a finding that is no exception, and for an exception that nothing needs any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.manifests.programs import find
from tests.manifests.render import Renderer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.manifests.render import Object

EXCEPTIONS: Mapping[str, str] = {
    "CKV_K8S_11": "No limit of the CPU: a throttled leader would lose its lease.",
    "CKV_K8S_15": "Only pulled when missing: a registry that is away must not stop a cluster.",
    "CKV_K8S_19": "The host's network: there is no other before nodes are initialised.",
    "CKV_K8S_38": "A controller needs the token of its account.",
    "CKV_K8S_43": "The digest is that of the image which the administrator has built.",
    "CKV2_K8S_6": "No NetworkPolicy applies to a pod in the host's network.",
}
"""Each check that fails on purpose, and why."""


def findings(checkov: str, rendered: Mapping[str, Iterable[Object]]) -> dict[str, set[str]]:
    """The failed checks, each with the objects that fail it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, items in rendered.items():
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(items))
        done = subprocess.run(
            [checkov, "-d", folder, "--framework=kubernetes", "--skip-download", "-o=json"],
            capture_output=True,
            text=True,
        )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"], done.stderr
    found: dict[str, set[str]] = {}
    for failed in report["results"]["failed_checks"]:
        what = f"{failed['check_name']}: {failed['file_path']} {failed['resource']}"
        found.setdefault(failed["check_id"], set()).add(what)
    return found


def main() -> int:
    """0 when only the exceptions are found."""
    with tempfile.TemporaryDirectory() as folder:
        renderer = Renderer(find(), Path(folder))
        monitors = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
        found = findings(
            sys.argv[1],
            {
                "kustomize": renderer.kustomize("prometheus").values(),
                "chart": renderer.chart(monitors).values(),
                "daemonset": renderer.chart({"kind": "DaemonSet"}).values(),
            },
        )
    faults = [f"{check}: {what}" for check in found.keys() - EXCEPTIONS for what in found[check]]
    faults += [f"{check}: nothing needs this exception" for check in EXCEPTIONS.keys() - found]
    for fault in sorted(faults):
        sys.stdout.write(f"{fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
