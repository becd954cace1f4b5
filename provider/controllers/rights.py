"""Asks the API server which needed rights it would refuse us, and says so before work fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

import structlog

from provider.errors import KubeError
from provider.kube.rights import NEEDED, Right, missing_rights
from provider.model import Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from provider.kube.api import KubeApi
    from provider.kube.recorder import EventRecorder
    from provider.metrics import Metrics

_REMEDY = "Grant the service account what manifests/rbac.yaml grants."
_SELDOM = 300.0  # seconds; roles change seldom
_AGAIN = 30.0  # seconds, while something is wrong: an operator may be mending it
# An API server that has just started refuses what the roles allow until it has read them.
_DOUBT = 2.0  # seconds
_LOOK = 1.0  # seconds

_log = structlog.get_logger(__name__)


class RightsWatch:
    """Knows what is missing, on every replica: `missing`, a line in the log, and a metric.

    It only tells: whatever is missing, the process goes on with what it may do.
    """

    def __init__(self, api: KubeApi, metrics: Metrics) -> None:
        self.missing: tuple[Right, ...] = ()
        """What the API server said last that it would refuse."""
        self._api = api
        self._metrics = metrics
        self._trouble = ""

    async def run(self) -> NoReturn:
        """Ask at once, then seldom, and more often while something is missing."""
        while True:
            try:
                found = await self._ask()
            except KubeError as error:
                self._not_answered(error)
            else:
                self._answered(found)
            is_well = not self.missing and not self._trouble
            await asyncio.sleep(_SELDOM if is_well else _AGAIN)

    async def _ask(self) -> tuple[Right, ...]:
        """What is missing; a loss only when it is said twice."""
        found = await missing_rights(self._api)
        if set(found) <= set(self.missing):
            return found
        await asyncio.sleep(_DOUBT)
        return await missing_rights(self._api)

    def _answered(self, found: tuple[Right, ...]) -> None:
        if self._trouble:
            _log.info("permissions can be asked for again", trouble=self._trouble)
            self._trouble = ""
        for right in NEEDED:
            self._metrics.rbac_missing.labels(right.verb, right.kind).set(right in found)
        if found == self.missing:
            return
        self.missing = found
        if found:
            _log.warning("permissions are missing", missing=[*map(str, found)], remedy=_REMEDY)
        else:
            _log.info("no permission is missing any more")

    def _not_answered(self, error: KubeError) -> None:
        """What was known last stays so."""
        if not self._trouble:
            _log.warning("permissions could not be asked for; trying again", why=str(error))
        self._trouble = str(error)


class RightsReporter:
    """Says as an Event what is missing: for the leader, who alone sends Events."""

    def __init__(self, watch: RightsWatch, recorder: EventRecorder) -> None:
        self._watch = watch
        self._recorder = recorder

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        said: tuple[Right, ...] = ()
        while True:
            if self._watch.missing != said:
                said = self._watch.missing
                self._say(said)
            await asyncio.sleep(_LOOK)

    def _say(self, missing: tuple[Right, ...]) -> None:
        if missing:
            message = f"The API server refuses us: {', '.join(map(str, missing))}. {_REMEDY}"
            self._recorder.record_cluster(Notice(Level.WARNING, Reason.RBAC_MISSING, message))
