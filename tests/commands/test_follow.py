"""A configuration file that changes while `run` works by it, in the loop's own time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml
from structlog.testing import capture_logs

from provider import logs
from provider.commands import run
from provider.configfile import ConfigWatch
from provider.errors import LeaseLost, ProviderError
from provider.kube.access import load_access
from provider.simulator.cluster import SimulatedCluster
from tests.controllers.lab import until
from tests.ovirt.lab import running, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from structlog.typing import EventDict

    from tests.ovirt.lab import Lab as EngineLab

pytestmark = pytest.mark.looptime

LOOK = 11  # seconds, after which the file has been looked at
LEASE = "kube-system", "ovirt-cloud-controller-manager"
KEPT = "holderIdentity", "acquireTime", "leaseTransitions"
RULES = [{"tag": "docker-host", "labels": {"pool": "a"}}]


class Lab:
    """What `run` works on, and the file that it works by."""

    def __init__(
        self, folder: Path, engine: EngineLab, cluster: SimulatedCluster, said: list[EventDict]
    ) -> None:
        self.file = folder / "config.yaml"
        self.engine = engine
        self.cluster = cluster
        self.said = said
        self.task: asyncio.Task[None]
        self.may_end = False

    def configure(self, **sections: Any) -> None:
        """Write the file."""
        engine = self.engine.engine
        content = {
            "engines": [
                {
                    "name": engine.name,
                    "url": engine.url,
                    "username": engine.username,
                    "password_file": str(engine.password_file),
                }
            ],
            "server": {"bind": "127.0.0.1:0"},
        }
        self.file.write_text(yaml.safe_dump(content | sections), encoding="utf-8")

    async def start(self) -> None:
        """Begin to work."""
        kubeconfig = self.file.parent / "kubeconfig"
        kubeconfig.write_text(self.cluster.kubeconfig(), encoding="utf-8")
        watch = ConfigWatch(self.file)
        access = await load_access(kubeconfig)
        self.task = asyncio.create_task(run.follow(watch, access, insecure_http=True))
        await self.started(1)

    async def started(self, times: int) -> None:
        """Return when the parts have begun to work so many times."""
        await until(lambda: self.task.done() or self.logged("started") == times)
        if self.task.done():
            self.task.result()

    def logged(self, event: str) -> int:
        """How many lines of the log have this event."""
        return sum(one["event"] == event for one in self.said)

    def labels(self) -> dict[str, str]:
        """The labels of the one node."""
        found: dict[str, str] = self.cluster.nodes.get("w")["metadata"]["labels"]
        return found

    def messages(self, reason: str) -> list[str]:
        """The messages of the Events of this reason."""
        return [one["message"] for one in self.cluster.events() if one["reason"] == reason]

    def lease(self) -> dict[str, Any]:
        """The spec of the Lease."""
        spec: dict[str, Any] = self.cluster.lease(*LEASE)["spec"]
        return spec

    async def metrics(self) -> str:
        """What the port says that is open now."""
        port = [one["port"] for one in self.said if one["event"] == "started"][-1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return text


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the log of this process nor its garbage collector is the command's here."""
    monkeypatch.setattr(logs, "set_up", lambda _: None)
    monkeypatch.setattr(run, "settle_heap", lambda: None)
    yield
    structlog.reset_defaults()


@asynccontextmanager
async def working(folder: Path, **sections: Any) -> AsyncIterator[Lab]:
    """`run` at work on one VM and its node."""
    async with running(folder, vm("w")) as engine, AsyncExitStack() as stack:
        cluster = SimulatedCluster()
        await cluster.start()
        stack.push_async_callback(cluster.stop)
        cluster.kubelet("w", system_uuid=engine.world.vm("w").id)
        said = stack.enter_context(capture_logs())
        lab = Lab(folder, engine, cluster, said)
        lab.configure(**sections)
        await lab.start()
        try:
            yield lab
        finally:
            lab.task.cancel()
            await asyncio.gather(lab.task, return_exceptions=True)
        assert lab.task.cancelled() or lab.may_end


async def test_a_changed_file_is_worked_by_without_a_new_process(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        assert "pool" not in lab.labels()

        lab.configure(rules=RULES)
        await lab.started(2)
        await until(lambda: "pool" in lab.labels())

        assert lab.engine.counts["POST /services/sso-logout"] == 1
        assert lab.logged("a changed file is at work") == 1
        assert 'reload_failing{engine="",file="configuration"} 0.0' in await lab.metrics()


async def test_the_lease_is_kept_over_a_change(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.logged("leading") == 1)
        before = lab.lease()
        lab.configure(rules=RULES)
        await lab.started(2)
        began = asyncio.get_running_loop().time()
        assert lab.lease()["holderIdentity"] == before["holderIdentity"]

        await until(lambda: lab.logged("leading") == 2)

        assert asyncio.get_running_loop().time() - began < 1
        after = lab.lease()
        assert {key: after[key] for key in KEPT} == {key: before[key] for key in KEPT}
        assert lab.logged("stopped leading") == 0
        assert len(lab.messages("LeaderElection")) == 1
    assert lab.lease()["holderIdentity"] == ""
    assert lab.logged("stopped leading") == 1


async def test_the_lease_is_given_up_when_the_parts_do_not_come_to_work(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            lab.configure(server={"bind": f"127.0.0.1:{taken.getsockname()[1]}"})
            await lab.started(2)
            await until(lambda: lab.logged("leading") == 2)

        said = [message.split(maxsplit=1)[1] for message in lab.messages("LeaderElection")]
        assert sorted(said) == ["became leader", "became leader", "stopped leading"]


async def test_the_lease_is_given_up_when_replicas_are_no_more(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        lab.configure(leader_election={"enabled": False})
        await lab.started(2)

        assert lab.lease()["holderIdentity"] == ""


async def test_the_lease_is_given_up_at_an_end_in_the_middle_of_a_change(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        engine = lab.engine.simulator
        engine.faults.delay, engine.faults.paths = 1.0, "logout"
        lab.configure(rules=RULES)
        await until(lambda: engine.requests.in_flight)
        kept = lab.lease()["holderIdentity"]
        lab.task.cancel()
        await asyncio.gather(lab.task, return_exceptions=True)

        assert kept
        assert lab.lease()["holderIdentity"] == ""
        assert lab.logged("started") == 1


async def test_a_volume_whose_link_moves_is_a_changed_file(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w")) as engine:
        lab = Lab(tmp_path, engine, SimulatedCluster(), [])
        lab.configure()
        for name, text in (("one", lab.file.read_text()), ("two", None)):
            (tmp_path / name).mkdir()
            if text is None:
                lab.configure(rules=RULES)
            (tmp_path / name / "config.yaml").write_text(text or lab.file.read_text())
        lab.file.unlink()
        (tmp_path / "..data").symlink_to("one")
        lab.file.symlink_to("..data/config.yaml")
        watch = ConfigWatch(lab.file)
        waiting = asyncio.create_task(watch.changed())
        await asyncio.sleep(60)
        assert not waiting.done()

        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").rename(tmp_path / "..data")

        assert len((await waiting).rules) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engines: []", "engines: "),
        ("engines: [", "not YAML"),
        (None, "No such file"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_said(
    tmp_path: Path, text: str | None, said: str
) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        good = lab.file.read_text()
        lab.file.unlink() if text is None else lab.file.write_text(text)
        await until(lambda: lab.messages("ConfigInvalid"))
        await asyncio.sleep(60)

        (message,) = lab.messages("ConfigInvalid")
        assert said in message
        assert lab.logged("started") == 1
        assert lab.logged("a changed file cannot be used; what it held before stays") == 1
        assert 'reload_failing{engine="",file="configuration"} 1.0' in await lab.metrics()

        lab.file.write_text(good)
        await asyncio.sleep(LOOK)
        assert 'reload_failing{engine="",file="configuration"} 0.0' in await lab.metrics()
        assert lab.logged("started") == 1


async def test_a_file_that_says_the_same_in_other_words_changes_nothing(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        lab.file.write_text("# the same\n" + lab.file.read_text())
        await asyncio.sleep(60)

        assert lab.logged("started") == 1


async def test_a_port_that_is_taken_gives_way_to_what_worked_before(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            bind = f"127.0.0.1:{taken.getsockname()[1]}"
            lab.configure(server={"bind": bind}, rules=RULES)
            await lab.started(2)
            await until(lambda: lab.messages("ConfigInvalid"))

        assert f"cannot serve on {bind}" in lab.messages("ConfigInvalid")[0]
        assert "pool" not in lab.labels()
        lab.configure(rules=RULES)
        await until(lambda: "pool" in lab.labels())


async def test_what_nothing_worked_before_ends_it(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ProviderError, match="cannot serve on"):
            async with working(tmp_path, server={"bind": bind}):
                pass


async def test_a_lost_lease_ends_it_whatever_worked_before(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        lab.configure(rules=RULES)
        await lab.started(2)
        await until(lambda: lab.logged("leading") == 2)

        lab.may_end = True
        lab.cluster.faults.freeze()
        with pytest.raises(LeaseLost):
            await lab.task


async def test_a_refused_password_is_not_sent_again_for_a_changed_file(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        lab.engine.password_file.write_text("wrong")
        lab.engine.forget_requests()
        for turn in range(2, 7):
            lab.configure(intervals={"resync": f"{turn}m"})
            await lab.started(turn)
            await asyncio.sleep(20)

        assert lab.engine.logins == 1
        assert lab.messages("LoginRefused")


async def test_a_password_file_that_is_lost_is_said_of_its_engine(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        lab.engine.password_file.write_text("")
        lab.engine.simulator.accounts.forget_everybody()
        await until(lambda: lab.messages("FileUnusable"))

        (message,) = lab.messages("FileUnusable")
        assert message.startswith("engine east: ")
        assert "password_file" in message
        assert not lab.messages("LoginRefused")
        assert 'reload_failing{engine="east",file="password_file"} 1.0' in await lab.metrics()


async def test_a_kubeconfig_that_is_lost_is_said(tmp_path: Path) -> None:
    async with working(tmp_path) as lab:
        await until(lambda: lab.messages("Synced"))
        (tmp_path / "kubeconfig").unlink()
        await until(lambda: lab.messages("FileUnusable"))

        assert "no such file" in lab.messages("FileUnusable")[0]
        assert 'reload_failing{engine="",file="kubernetes_access"} 1.0' in await lab.metrics()
