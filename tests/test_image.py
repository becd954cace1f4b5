"""What can be said of the image without building it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments on one line, comments left out."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    words = (line.split(maxsplit=1) for line in joined.splitlines() if line)
    return [(word, rest) for word, rest in words]


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of this stage alone."""
    found = instructions()
    names = [f"{rest} " if word == "FROM" else "" for word, rest in found]
    start = next(n for n, text in enumerate(names) if f" AS {name} " in text)
    end = next((n for n, text in enumerate(names) if n > start and text), len(names))
    return found[start:end]


def versions(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_the_product_is_the_first_process_and_nobody_of_the_system() -> None:
    run = stage("run")

    assert ("USER", "65532:65532") in run
    assert ("ENTRYPOINT", '["ovirt-ccm"]') in run  # no shell stands between it and SIGTERM


def test_the_default_image_is_the_product() -> None:
    assert [rest for word, rest in instructions() if word == "FROM"][-1] == "run"


def test_the_compiler_stays_in_its_stage() -> None:
    after = instructions()[len(stage("build")) + 1 :]

    assert [
        rest for word, rest in after if word == "RUN" and re.search(r"gcc|pip wheel", rest)
    ] == []


def test_all_that_is_copied_is_let_through_to_the_build() -> None:
    let_through = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }

    assert let_through == copied
    assert all((ROOT / source).exists() for source in copied)


def test_what_builds_the_image_is_what_builds_here() -> None:
    here = versions("requirements-dev.lock")

    assert {"hatchling", "setuptools"} <= versions(".ci/build.lock").keys()
    assert versions(".ci/build.lock").items() <= here.items()


def test_the_bill_of_materials_names_every_locked_package() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sbom.py")], capture_output=True, text=True, check=True
    )
    bill: dict[str, Any] = json.loads(done.stdout)
    named = {one["name"]: one["version"] for one in bill["components"] if "pypi" in one["purl"]}
    references = [one["bom-ref"] for one in bill["components"]]

    assert bill["metadata"]["component"]["name"] == "cloud-provider-ovirt"
    assert versions("requirements.lock").items() <= named.items()
    assert len(references) == len(set(references))
