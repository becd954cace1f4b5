"""A simulated VM: its state, and everything that can happen to it.

Assigning an attribute changes the VM silently, as a database would. The methods do what an
engine does: they take their time (`Durations` of the scenario) and write the engine's events.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from provider.simulator.objects import NIL_ID, Device, InstanceType, Nic, Tag
from provider.simulator.scenario import VM_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provider.simulator.objects import Cluster, Host, User
    from provider.simulator.world import World

NOT_RUNNING = frozenset({"down", "suspended", "image_locked", None})
_SET_UNKNOWN = 142
_EVENT_OF_STATUS = {
    "unknown": _SET_UNKNOWN,
    "not_responding": 126,
    "paused": 138,
    "down": 61,
    "up": 163,
}


@dataclass(slots=True, eq=False)
class Vm:
    """One VM. `status` None is the engine's illegal image: rendered without a status."""

    world: World
    id: str
    name: str
    cluster: Cluster
    host: Host | None = None
    status: str | None = "up"
    fqdn: str | None = None
    has_agent: bool = True
    agent_speaks: bool = False
    reports_os: bool = True
    tags: tuple[Tag, ...] = ()
    nics: tuple[Nic, ...] = ()
    devices: tuple[Device, ...] = ()
    description: str = ""
    comment: str = ""
    sockets: int = 1
    cores: int = 1
    threads: int = 1
    memory: int = 1 << 30
    os: str = "rhel_8x64"
    instance_type: InstanceType | None = None
    is_delete_protected: bool = False
    has_next_run: bool = False
    initialization: dict[str, Any] | None = None
    custom_properties: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    broken_links: frozenset[str] = frozenset()
    start_fault: str = ""
    is_removed: bool = False
    created: int = 0
    started: int = 0
    stopped: int = 0
    rendered: dict[object, bytes] = field(default_factory=dict, repr=False)
    _generation: int = 0
    _boots: int = 0

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name != "rendered" and hasattr(self, "rendered"):
            self.rendered.clear()

    @property
    def is_dynamic(self) -> bool:
        """Whether the engine shows run-time data: host, guest, start time, devices."""
        return self.status not in NOT_RUNNING

    @property
    def is_up(self) -> bool:
        """Whether the guest runs."""
        return self.status == "up"

    def set_status(self, status: str | None) -> None:
        """Make it so at once, with the event that an engine writes for it.

        ValueError when the API has no such status.
        """
        if status is not None and status not in VM_STATUSES:
            raise ValueError(f'"{status}" is no status of a VM')
        self._become(status)
        if code := _EVENT_OF_STATUS.get(status or ""):
            self._write(code, reason="")
        if status == "up":
            self._wake_agent()

    def start(self, user: User | None = None) -> None:
        """Boot: wait_for_launch, powering_up, up, and later the agent speaks."""
        self.host = self.host or self.world.host_for(self.cluster)
        self.started = self.world.clock.epoch_ms()
        self._become("wait_for_launch")
        self._silence_agent()
        self._write(153, user)
        boot = self.world.durations.boot.total_seconds()
        self._later(boot / 4, lambda: setattr(self, "status", "powering_up"))
        self._later(boot, self._has_booted)

    def _has_booted(self) -> None:
        self.status = "up"
        self._write(32)
        self._wake_agent()

    def stop(self, user: User | None = None) -> None:
        """Power off at once."""
        if self.is_dynamic:
            self._write(33, user)
        self._power_off("")

    def shutdown(self, user: User | None = None) -> None:
        """Ask the guest to power off."""
        if self.status in NOT_RUNNING:
            return
        self._write(73, user)
        self._become("powering_down")
        self._later(
            self.world.durations.shutdown.total_seconds(),
            lambda: self._power_off("User shut down from within the guest"),
        )

    def fail(self, reason: str = "Lost connection with qemu process") -> None:
        """Go down with an error."""
        self._write(119, reason=reason)
        self._power_off(None)

    def reboot(self, user: User | None = None) -> None:
        """Restart the guest; its agent is silent until it is up again."""
        self._write(157, user)
        self._become("reboot_in_progress")
        self._silence_agent()
        self._later(self.world.durations.reboot.total_seconds(), self._has_booted)

    def suspend(self, user: User | None = None) -> None:
        """Write the memory to disk and stop."""
        self._write(501, user)
        self._become("saving_state")
        self._later(self.world.durations.suspend.total_seconds(), self._is_saved)

    def _is_saved(self) -> None:
        self._write(503)
        self._power_off(None)
        self.status = "suspended"

    def migrate(self, to: str | None = None, user: User | None = None) -> None:
        """Move to another host, named or chosen; KeyError when there is none."""
        target = self.world.host(to) if to else self.world.host_for(self.cluster, other=self.host)
        source = self.host.name if self.host else "<UNKNOWN>"
        self._write(62, user, target=target.name)
        self._become("migrating")

        def arrive() -> None:
            self.host, self.status = target, "up"
            self._write(63, source=source)

        self._later(self.world.durations.migration.total_seconds(), arrive)

    def remove(self, user: User | None = None) -> None:
        """Be gone."""
        self._generation += 1
        self.world.forget(self)
        self._write(113, user)

    def rename(self, name: str, user: User | None = None) -> None:
        """Take another name; the event carries the old one, as the engine's does."""
        self._write(35, user)
        self.name = name

    def attach(self, tag: str | Tag, user: User | None = None) -> None:
        """Carry this tag, once."""
        wanted = tag if isinstance(tag, Tag) else self.world.tag(tag)
        if wanted not in self.tags:
            self.tags = (*self.tags, wanted)
            self._write_tag(440, wanted, user)

    def detach(self, tag: str | Tag, user: User | None = None) -> None:
        """Carry this tag no longer."""
        unwanted = tag if isinstance(tag, Tag) else self.world.tag(tag)
        self.tags = tuple(t for t in self.tags if t is not unwanted)
        self._write_tag(446, unwanted, user)

    def set_addresses(self, addresses: Iterable[str], device: str = "eth0") -> None:
        """Let the guest report these for that device, and nothing else for it."""
        wanted = tuple(str(ip_address(a)) for a in addresses)
        if not any(d.name == device for d in self.devices):
            mac = self.nics[0].mac if self.nics else "02:00:00:00:00:00"
            self.devices = (*self.devices, Device(device, mac, ()))
        self.devices = tuple(
            replace(d, addresses=wanted) if d.name == device else d for d in self.devices
        )

    def override(self, **members: object) -> None:
        """Replace members of the rendered VM as they are; None removes one."""
        self.overrides = {**self.overrides, **members}

    def _wake_agent(self) -> None:
        boot = self._boots

        def speak() -> None:
            self.agent_speaks = self.agent_speaks or self._boots == boot

        if self.has_agent and not self.agent_speaks:
            self.world.clock.after(self.world.durations.agent.total_seconds(), speak)

    def _silence_agent(self) -> None:
        self._boots += 1
        self.agent_speaks = False

    def _power_off(self, reason: str | None) -> None:
        was_running = self.is_dynamic
        if was_running and reason is not None:
            self._write(61, reason=reason)
        self._become("down")
        self.stopped = self.world.clock.epoch_ms()
        self.host = None
        self._silence_agent()

    def _become(self, status: str | None) -> None:
        self._generation += 1
        self.status = status

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it unless the VM went another way meanwhile."""
        expected = self._generation

        def act() -> None:
            if self._generation == expected:
                action()

        self.world.clock.after(seconds, act)

    def _write(self, code: int, user: User | None = None, **words: str) -> None:
        refs = {"vm": (self.name, self.id)}
        if code == _SET_UNKNOWN:
            self.world.write_event(code, refs)
            return
        refs["cluster"] = (self.cluster.name, self.cluster.id)
        refs["template"] = ("Blank", NIL_ID)
        if self.cluster.data_center:
            refs["data_center"] = (self.cluster.data_center.name, self.cluster.data_center.id)
        if self.host:
            refs["host"] = (self.host.name, self.host.id)
        self.world.write_event(code, refs, user, **words)

    def _write_tag(self, code: int, tag: Tag, user: User | None) -> None:
        self.world.write_event(code, {}, user, tag=tag.name, vm=self.name)
