"""The documents: what is put together by hand for speed is what the structs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from provider.web import documents
from tests.controllers.lab import until
from tests.ovirt.lab import many
from tests.web.lookup_lab import lookup

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.lookup_lab import Reply

pytestmark = pytest.mark.looptime

SERVED: dict[str, type[msgspec.Struct]] = {
    "instances": documents.InstanceList,
    "instances/w0": documents.InstanceAnswer,
    "instances/w0/metadata": documents.Metadata,
    "instances/w0/exists": documents.Exists,
    "instances/w0/shutdown": documents.Shutdown,
    "zones": documents.ZoneList,
    "nodes": documents.NodeList,
    "nodes/w0": documents.NodeAnswer,
}


def assert_same(reply: Reply, kind: type[msgspec.Struct]) -> None:
    """What is served has exactly the members of the document, in any order."""
    assert reply.status == 200
    decoded = msgspec.json.decode(reply.body, type=kind)
    again: Any = msgspec.json.decode(msgspec.json.encode(decoded))
    assert again == reply.json


async def test_what_is_served_is_what_the_documents_say(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(3)) as api:
        api.lab.kubelet("w0")
        await until(lambda: api.lab.is_initialised("w0"))
        await until(lambda: any(one.managed for one in api.catalogue.nodes.values()))
        for path, kind in SERVED.items():
            assert_same(await api.get(path), kind)


async def test_problems_are_what_the_document_says(tmp_path: Path) -> None:
    async with lookup(tmp_path, many(1)) as api:
        for path in ("instances/x", "instances?zone=", "nodes/x"):
            reply = await api.get(path)
            problem = msgspec.json.decode(reply.body, type=documents.ProblemDocument)
            assert problem.status == reply.status >= 400
            assert problem.detail
