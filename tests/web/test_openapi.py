"""What the API says of itself is what it does: schemathesis finds nothing in any state."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING

import pytest
import schemathesis
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    NotAServerErrorConfig,
    OperationConfig,
    OperationsConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.engine import events, from_schema

from provider.web.query import token
from tests.controllers.lab import until, working
from tests.ovirt.lab import many
from tests.web.lookup_lab import TOKEN, serving

if TYPE_CHECKING:
    from pathlib import Path


# Nobody can make up a place in a list: pages are what tests/web/test_lists.py is about.
CONTINUE = {"/v1/instances": token(("w1", "", "")), "/v1/nodes": token(("w1",))}


def find_faults(url: str) -> tuple[set[str], set[str]]:
    """The operations that were tried, and what does not hold."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=_config(), headers=TOKEN)
    tried: set[str] = set()
    faults: set[str] = set()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                tried.add(event.label or "")
                checks = chain.from_iterable(event.recorder.checks.values())
                failed = (one.failure_info.failure for one in checks if one.failure_info)
                faults |= {f"{event.label}: {one.title}: {one.message}" for one in failed}
            case events.NonFatalError() | events.FatalError():
                faults.add(str(event))
    return tried, faults


def _config() -> SchemathesisConfig:
    # 503 with its reason is what the API promises while something is not known.
    server_error = NotAServerErrorConfig(expected_statuses=["2xx", "3xx", "4xx", "503"])
    operations = [
        OperationConfig.from_dict({"include-path": path, "parameters": {"query.continue": place}})
        for path, place in CONTINUE.items()
    ]
    project = ProjectConfig(
        checks=ChecksConfig(not_a_server_error=server_error),
        generation=GenerationConfig(deterministic=True, max_examples=4, database="none"),
        headers=TOKEN,
        operations=OperationsConfig(operations=operations),
    )
    return SchemathesisConfig(projects=ProjectsConfig(default=project), seed=1)


@pytest.mark.parametrize("state", ["populated", "empty", "silent"])
async def test_schemathesis_finds_nothing(tmp_path: Path, state: str) -> None:
    vms = () if state == "empty" else (many(30),)
    async with working(tmp_path, *vms) as lab:
        for number in range(10 if vms else 0):
            lab.kubelet(f"w{number}")
        if state == "silent":
            lab.engine.faults.status = 503
            await lab.restart()
        async with serving(lab, is_shown=state != "silent") as api:
            await until(lambda: api.catalogue.are_nodes_listed)
            tried, faults = await asyncio.to_thread(find_faults, api.url)

    assert faults == set()
    assert len(tried) == 9
