"""Processes that end with the test run, however it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# It waits for the end of its standard input, which comes when the test process dies of anything.
# dash takes the `--` before a group for a number unless the signal comes with -s. A program that
# was just being started joins the group late, and the dead stay members until they are reaped.
_GUARD = """
cat >/dev/null
tries=0
while kill -s KILL -- "-$1" 2>/dev/null && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
rm -rf "$2"
"""


class ProcessError(Exception):
    """A process ended or did not become ready; the text ends with the end of its log."""


class Guard:
    """A process group, and a small process outside it that ends all of it when we are gone.

    The group's number cannot pass to foreign processes: its leader sleeps as long as we need it.
    """

    def __init__(self, folder: Path) -> None:
        """Also removes the folder when it has to act."""
        self._leader = subprocess.Popen(
            ["/bin/sleep", "infinity"], stdin=subprocess.DEVNULL, process_group=0
        )
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.group), str(folder)],
            stdin=subprocess.PIPE,
            process_group=0,
        )

    @property
    def group(self) -> int:
        """The process group to start others in."""
        return self._leader.pid

    def dismiss(self) -> None:
        """End the guard; what runs in its group must have ended before."""
        for process in (self._watch, self._leader):
            process.kill()
            process.wait()
        if self._watch.stdin:
            self._watch.stdin.close()


class Process:
    """One program that can be started again with the same flags."""

    def __init__(self, command: Sequence[str], log: Path, group: int) -> None:
        self.log = log
        self._command = command
        self._group = group
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number; ProcessError when it does not run."""
        if self._running is None or self._running.poll() is not None:
            raise self._error("does not run")
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """True also while it is frozen."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Start it; it writes to the end of its log."""
        if self.is_running:
            raise self._error("runs already")
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group,
            )

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Return when it is ready; ProcessError when it ends or the time is over."""
        end = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running:
                raise self._error("ended")
            if time.monotonic() > end:
                raise self._error(f"is not ready after {seconds:.0f} s")
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process is gone."""
        if self._running is not None:
            self._running.send_signal(number)

    def stop(self, seconds: float) -> None:
        """Ask it to end (also when frozen), and insist when the time is over."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            self._wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.send(signal.SIGKILL)
        self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        if self._running is not None:
            self._running.wait(seconds)

    def _error(self, reason: str) -> ProcessError:
        tail = ""
        if self.log.exists():
            lines = self.log.read_text(errors="replace").splitlines()[-20:]
            tail = "\n".join((f"; the end of {self.log}:", *lines))
        return ProcessError(f"{self.log.stem} {reason}{tail}")
