"""Print what this Python's machine or image consists of, as CycloneDX 1.6 (JSON).

Components are the Python packages beside the running interpreter, the interpreter itself and the
Debian packages. Nothing but the standard library is needed, so that it runs inside an image.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PRODUCT = "cloud-provider-ovirt"

_DPKG = Path("/var/lib/dpkg/status")
_NAMESPACE = uuid.UUID("6f7d1c3e-5d5f-4c43-9f0c-6a4f5a0c5a1e")
_EXTRA = re.compile(r";.*\bextra\b")

Component = dict[str, Any]


def document() -> dict[str, Any]:
    """The whole bill; the same contents give the same bytes, serial number included."""
    product, packages = _python_packages(metadata.distributions())
    components = [*packages, _interpreter(), *_debian_packages(_DPKG)]
    identity = json.dumps([product, *components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, identity)}",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
        "dependencies": _dependencies(product, packages),
    }


def _python_packages(
    found: Iterable[metadata.Distribution],
) -> tuple[Component, list[Component]]:
    """The product, and each other package by name."""
    by_name = {_canonical(one.name): _python_package(one) for one in found}
    product = by_name.pop(PRODUCT)
    product["type"] = "application"
    return product, [by_name[name] for name in sorted(by_name)]


def _python_package(found: metadata.Distribution) -> Component:
    name = _canonical(found.name)
    component = _component("library", name, found.version, f"pkg:pypi/{name}@{found.version}")
    # Without an SPDX expression the field holds anything, whole licence texts included.
    if "License-Expression" in found.metadata:
        component["licenses"] = [{"expression": found.metadata["License-Expression"]}]
    return component


def _interpreter() -> Component:
    version = platform.python_version()
    return _component("platform", "python", version, f"pkg:generic/python@{version}")


def _debian_packages(status: Path) -> Iterator[Component]:
    """Each installed package; none where there is no dpkg."""
    if not status.exists():
        return
    distribution = platform.freedesktop_os_release()
    suffix = f"distro={distribution['ID']}-{distribution.get('VERSION_ID', 'sid')}"
    for block in status.read_text("utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            place = f"{distribution['ID']}/{name}@{quote(version)}"
            purl = f"pkg:deb/{place}?arch={fields['Architecture']}&{suffix}"
            yield _component("library", name, version, purl)


def _component(kind: str, name: str, version: str, purl: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _dependencies(product: Component, packages: list[Component]) -> list[dict[str, Any]]:
    """Which Python package needs which, extras left out."""
    references = {one["name"]: one["bom-ref"] for one in (product, *packages)}
    return [
        {
            "ref": reference,
            "dependsOn": sorted(references[need] for need in _needs(name) if need in references),
        }
        for name, reference in references.items()
    ]


def _needs(name: str) -> set[str]:
    wanted = metadata.requires(name) or ()
    return {
        _canonical(match[0])
        for requirement in wanted
        if not _EXTRA.search(requirement) and (match := re.match(r"[\w.-]+", requirement))
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    sys.stdout.write("\n")
