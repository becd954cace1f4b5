from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from provider.controllers.engine import EngineReporter
from provider.controllers.fleet import Fleet
from provider.errors import (
    EngineUnavailable,
    EngineUntrusted,
    ListingImplausible,
    LoginRefused,
    PermissionMissing,
    ReplyUnusable,
    SelectionInvalid,
)
from provider.kube.access import load_access
from provider.kube.api import KubeApi
from provider.kube.recorder import EventRecorder
from provider.metrics import Metrics
from provider.model import Level
from provider.ovirt.faults import InternalFault
from tests.builders import config
from tests.controllers.test_fleet import ENGINES, inventories

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.errors import EngineError
    from provider.model import Notice
    from provider.ovirt.inventory import Inventory

pytestmark = pytest.mark.looptime
AWAY = EngineUnavailable("east", "is away.", remedy="Wait.")


class Told(EventRecorder):
    """What is said about engines, kept and not sent."""

    notices: list[tuple[str, Notice]]

    def record_engine(self, engine: str, notice: Notice) -> None:
        """Keep it."""
        self.notices.append((engine, notice))

    def reasons(self) -> list[str]:
        """The reasons so far."""
        return [notice.reason for _, notice in self.notices]


@asynccontextmanager
async def reporting(folder: Path) -> AsyncIterator[tuple[Inventory, Told]]:
    """A reporter at work, the inventory of `east` and what is said."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG, encoding="utf-8")
    metrics = Metrics()
    api = KubeApi(await load_access(kubeconfig), config().limits.kube_timeout, metrics)
    told = Told(api, metrics)
    told.notices = []
    both = inventories()
    fleet = Fleet(ENGINES, both)
    task = asyncio.create_task(EngineReporter(both, fleet, told).run())
    try:
        await asyncio.sleep(5)
        yield both[0], told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: test, user: {token: test}}]
"""


async def test_engines_that_answer_are_not_spoken_about(tmp_path: Path) -> None:
    async with reporting(tmp_path) as (_, told):
        assert told.notices == []


async def test_an_outage_is_said_once_and_its_end_once(tmp_path: Path) -> None:
    async with reporting(tmp_path) as (east, told):
        for _ in range(3):
            east.last_error = EngineUnavailable("east", "is away.", remedy="Wait.")
            await asyncio.sleep(30)
        east.last_error = None
        await asyncio.sleep(30)

        (first, begin), (second, end) = told.notices
        assert (first, begin.level, begin.reason) == ("east", Level.WARNING, "EngineUnreachable")
        assert "Wait." in begin.message
        assert (second, end.level, end.reason) == ("east", Level.NORMAL, "EngineReachable")


async def test_another_kind_of_trouble_is_said_anew(tmp_path: Path) -> None:
    async with reporting(tmp_path) as (east, told):
        for error in (AWAY, LoginRefused("east", "refuses the log-in."), AWAY):
            east.last_error = error
            await asyncio.sleep(2)

        assert told.reasons() == ["EngineUnreachable", "LoginRefused", "EngineUnreachable"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineUntrusted("east", ""), "EngineUntrusted"),
        (PermissionMissing("east", ""), "PermissionMissing"),
        (SelectionInvalid("east", ""), "SelectionInvalid"),
        (ReplyUnusable("east", ""), "EngineReplyUnusable"),
        (ListingImplausible("east", ""), "ListingImplausible"),
        (InternalFault("east", ""), "EngineUnreachable"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_each_kind_of_trouble_has_its_reason(
    tmp_path: Path, error: EngineError, reason: str
) -> None:
    async with reporting(tmp_path) as (east, told):
        east.last_error = error
        await asyncio.sleep(2)

        assert told.reasons() == [reason]
