"""Says as an Event when a changed file cannot be used and what it held before stays at work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from provider.model import Level, Notice
from provider.reasons import Reason
from provider.reload import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.kube.recorder import EventRecorder
    from provider.reload import Reload

_LOOK = 1.0  # seconds


class ReloadReporter:
    """Watches all that is read again, and says each problem of it once."""

    def __init__(self, reloads: Iterable[Reload], recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._said = dict.fromkeys(reloads, "")

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            for reload, said in self._said.items():
                if reload.problem != said:
                    self._said[reload] = reload.problem
                    self._say(reload)
            await asyncio.sleep(_LOOK)

    def _say(self, reload: Reload) -> None:
        if not reload.problem:
            return
        is_configuration = reload.file == CONFIGURATION
        reason = Reason.CONFIG_INVALID if is_configuration else Reason.FILE_UNUSABLE
        notice = Notice(Level.WARNING, reason, reload.problem)
        if reload.engine:
            self._recorder.record_engine(reload.engine, notice)
        else:
            self._recorder.record_cluster(notice)
