"""Whatever is missing in an engine's list, no VM is ever lost silently."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provider.config import Engine, Limits, Selection
from provider.errors import EngineError
from provider.metrics import Metrics
from provider.ovirt.client import EngineClient
from provider.ovirt.listing import Lister
from tests.ovirt.recordings import FOLLOWED_LIST, body

if TYPE_CHECKING:
    from pathlib import Path

    from provider.model import Snapshot

FIXED = {
    "/sso/oauth/token": "001-sso-token.json",
    "/services/sso-logout": "012-sso-logout.json",
    "/api": "015-api-root.json",
    "/api/tags": "070-tags.json",
    "/api/hosts": "074-hosts.json",
    "/api/clusters": "076-clusters.json",
    "/api/datacenters": "077-datacenters.json",
    "/api/instancetypes": "078-instancetypes.json",
}
WHOLE: dict[str, Any] = json.loads(body(FOLLOWED_LIST))
FEW = {"vm": WHOLE["vm"][:5]}
IDS = {vm["id"] for vm in FEW["vm"]}


class Recorded:
    """An engine that answers as it was recorded, but for the list, which is `spoilt`."""

    def __init__(self, spoilt: bytes) -> None:
        self.spoilt = json.dumps(FEW).encode()
        self._spoilt_later = spoilt
        self._runner = web.AppRunner(self._application(), access_log=None)

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/ovirt-engine{path:/.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        headers = {"Correlation-Id": "recorded"}
        if path in FIXED:
            return web.Response(body=body(FIXED[path]), headers=headers)
        if path == "/api/vms":
            answer, self.spoilt = self.spoilt, self._spoilt_later
            return web.Response(body=answer, headers=headers)
        one = next(vm for vm in FEW["vm"] if path == f"/api/vms/{vm['id']}")
        return web.json_response(one, headers=headers)

    async def list_twice(self, directory: Path) -> Snapshot:
        """The second of two listings: of the recorded list, and of the spoilt one."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        secret = directory / "password"
        secret.write_text("secret")
        engine = Engine(
            url=f"http://127.0.0.1:{port}/ovirt-engine",
            username="reader@internal",
            password_file=secret,
        )
        try:
            async with EngineClient(engine, Limits(), Metrics()) as client:
                lister = Lister(client, Selection())
                return await lister.take(await lister.take(None))
        finally:
            await self._runner.cleanup()


def holders(value: Any) -> list[dict[str, Any]]:
    """Every object inside of `value`, itself included."""
    if isinstance(value, list):
        return [holder for item in value for holder in holders(item)]
    if isinstance(value, dict):
        return [value, *(holder for item in value.values() for holder in holders(item))]
    return []


@st.composite
def spoilt_lists(draw: st.DrawFn) -> bytes:
    """The recorded list with up to ten members removed or made odd, anywhere."""
    spoilt = json.loads(json.dumps(FEW))
    for _ in range(draw(st.integers(1, 10))):
        # The list itself and its VMs as often as the many things inside of them.
        near = [holder for holder in (spoilt, *spoilt["vm"]) if holder]
        anywhere = [holder for holder in holders(spoilt) if holder]
        holder = draw(st.one_of(st.sampled_from(near), st.sampled_from(anywhere)))
        key = draw(st.sampled_from(sorted(holder)))
        if draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = draw(st.sampled_from([None, "", "x", -1, [], {}, [{}], True, 10**30]))
        if not isinstance(spoilt.get("vm"), list):
            break
        spoilt["vm"] = [vm for vm in spoilt["vm"] if isinstance(vm, dict)]
    return json.dumps(spoilt).encode()


@given(spoilt_lists())
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_list_with_members_missing_loses_no_vm(
    tmp_path_factory: pytest.TempPathFactory, spoilt: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp()
    try:
        found = asyncio.run(Recorded(spoilt).list_twice(directory))
    except EngineError:
        return

    assert found.instances.keys() | found.unreadable.keys() == IDS


@pytest.mark.parametrize("end", range(1000, len(json.dumps(FEW)), 5000))
def test_a_list_that_is_cut_makes_no_snapshot(tmp_path: Path, end: int) -> None:
    with pytest.raises(EngineError):
        asyncio.run(Recorded(json.dumps(FEW).encode()[:end]).list_twice(tmp_path))
