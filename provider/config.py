"""The one configuration file: its model, its reading, and its errors all at once.

Scalars can be overridden by environment variables: `OVIRT_CCM_INTERVALS__POLL=10s`. Secrets are
only ever named as files.
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from provider.rules import Rule
from provider.scalars import (
    BindAddress,
    Duration,
    EngineName,
    Interval,
    LabelKey,
    LabelValue,
    Network,
    Percentage,
    Share,
    TagName,
    TaintText,
    UserName,
    ZoneSource,
    format_duration,
    split_taint,
)
from provider.section import Section

DEFAULT_PATH = Path("/etc/ovirt-ccm/config.yaml")
ENV_PREFIX = "OVIRT_CCM_"


# ---- the sections ------------------------------------------------------------------------

# A VM that leaves the result because of its status looks like a deleted one; sorting and paging
# are the program's own; quotes, parentheses and semicolons make a search that finds nothing.
_SEARCH_REFUSED = re.compile(
    r"\b(status|sortby|page)\b|[()';]|\b(?!tag\b)(?i:tag)\s*!?=", re.ASCII
)


class Selection(Section):
    """Which VMs are Docker hosts."""

    tag: TagName = "docker-host"
    """VMs that carry this tag or one below it. One tag per Kubernetes cluster."""
    clusters: tuple[str, ...] = ()
    """Only VMs of these oVirt clusters; empty for all."""
    data_centers: tuple[str, ...] = ()
    """Only VMs of these data centres; empty for all."""
    search: str = ""
    """Further oVirt search text that narrows the selection, such as `name=prod-*`."""

    @field_validator("search")
    @classmethod
    def _search_can_only_narrow(cls, search: str) -> str:
        if refused := _SEARCH_REFUSED.search(search):
            raise ValueError(
                f"{refused.group().strip()!r} is not allowed here: write conditions on other"
                ' fields with "and" and "or", such as name=prod-* and os=rhel*; tag in lower case'
            )
        return search.strip()


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


class Engine(Section):
    """One oVirt engine, which is one region."""

    name: EngineName = "ovirt"
    """Its name in logs, metrics and messages; the region unless `region` is given."""
    url: str
    """Address of the engine, such as `https://engine.example.com/ovirt-engine`."""
    username: UserName
    """User and profile, such as `kubernetes@internal`."""
    password_file: Path
    """File that holds the password; read again at each log-in."""
    ca_file: Path | None = None
    """File with the engine's CA certificates (PEM); the system's when not given."""
    insecure: bool = False
    """Do not verify the certificate: anybody on the way can then read the password."""
    region: str = ""
    """Region of its nodes; its name when not given."""
    selection: Selection | None = None
    """A selection of its own, instead of the common one."""

    @field_validator("url")
    @classmethod
    def _url_is_an_engine(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as https://engine.example.com/ovirt-engine")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("http sends the password in clear text: use https")
        return url.rstrip("/").removesuffix("/api")

    @model_validator(mode="after")
    def _region_defaults_to_the_name(self) -> Self:
        if not self.region:
            object.__setattr__(self, "region", self.name)  # frozen for everybody else
        return self


class Identity(Section):
    """How a node is matched with a VM, beyond provider id, system UUID and name."""

    fqdn: bool = False
    """Also by the FQDN that the guest reports, as the last rule."""


class Registration(Section):
    """How Nodes come into being."""

    mode: Literal["create", "adopt"] = "create"
    """`create` registers a Node for a VM whose kubelet is late, and which then adds no labels and
    taints of its own; `adopt` only initialises."""
    delay: Duration = timedelta(seconds=60)
    """How long a VM must be up before a Node is registered for it: its kubelet comes first."""
    labels: dict[LabelKey, LabelValue] = Field({})
    """Labels of the Nodes that are registered."""
    taints: tuple[TaintText, ...] = ()
    """Taints of the Nodes that are registered, as `key=value:NoSchedule`."""

    @property
    def parsed_taints(self) -> tuple[tuple[str, str | None, str], ...]:
        """Key, value (None without `=`) and effect of each taint."""
        return tuple(split_taint(taint) for taint in self.taints)


class Topology(Section):
    """Where zone and region come from."""

    zone: ZoneSource = "cluster"
    """`cluster`, `data_center`, `host`, or `tag:<parent>`: the VM's tag right below that tag."""
    region: Literal["engine", "data_center"] = "engine"
    """`engine` (its `region`) or `data_center`."""


class Addresses(Section):
    """Which of a VM's addresses become addresses of its node."""

    families: tuple[Literal["ipv4", "ipv6"], ...] = Field(("ipv4", "ipv6"), min_length=1)
    """Address families in order of preference; one that is not listed is dropped."""
    external: tuple[Network, ...] = ()
    """Addresses in these networks (CIDR) are ExternalIP, all others InternalIP."""
    exclude: tuple[Network, ...] = ()
    """Addresses in these networks (CIDR) are dropped: pods, services, virtual addresses."""
    networks: tuple[Network, ...] = ()
    """Preferred networks (CIDR): their addresses come first, in this order."""
    agent_grace: Duration = timedelta(minutes=3)
    """How long a guest agent may be silent before the kubelet's own address is taken."""


class Deletion(Section):
    """When the Node of a VM that no longer exists is deleted."""

    mode: Literal["enforce", "dry-run", "off"] = "enforce"
    """`enforce` deletes, `dry-run` only says what it would delete, `off` deletes no Node."""
    confirmations: int = Field(3, ge=1, le=20)
    """Complete listings in a row, at least half of `intervals.poll` apart, that must lack the VM
    before the engine is asked for it alone."""
    budget: Percentage = Share(10)
    """Share of the nodes, at least one, that may be deleted within an hour; more latches."""
    untagged: Literal["keep", "delete"] = "keep"
    """What becomes of the not ready Node of a VM that exists and is no longer selected."""

    @field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, mode: object) -> object:
        return "off" if mode is False else mode  # YAML 1.1 reads a bare `off` as false


class OutOfService(Section):
    """The taint with which Kubernetes takes the volumes from a node whose VM is down."""

    enabled: bool = False
    """Taint nodes whose VM is proven down, so that their pods start elsewhere within a minute."""
    grace: Interval = timedelta(seconds=30)
    """How long the node must have been not ready."""
    max_nodes: int = Field(1, ge=1)
    """Nodes that may carry the taint at the same time."""


class Intervals(Section):
    """How often things are looked at."""

    poll: Interval = timedelta(seconds=30)
    """Between two listings of an engine; longer when a listing takes longer than a tenth of it."""
    events: Interval = timedelta(seconds=1)
    """Between two looks into an engine's event log; what happened to a VM is read at once."""
    wanted: Interval = timedelta(seconds=2)
    """Between two readings of a single VM that something waits for."""
    resync: Interval = timedelta(minutes=5)
    """After this time every node is looked at again, changed or not."""


class LeaderElection(Section):
    """Which of several replicas works."""

    enabled: bool = True
    """Only the holder of the Lease `kube-system/ovirt-cloud-controller-manager` writes; without it
    no other replica may run."""


class Server(Section):
    """The port that serves probes, metrics and lookups."""

    bind: BindAddress = "[::]:10258"
    """Address and port, such as `127.0.0.1:10258`; `[::]` is every address of both families."""
    certificate_file: Path | None = None
    """File with the port's certificate (PEM), issuers after it; self-signed when not given."""
    key_file: Path | None = None
    """File with the certificate's private key (PEM, without a passphrase)."""
    connections: int = Field(256, ge=8)
    """Connections to the port at the same time, of some 300 KiB each; who is idle gives way."""

    @property
    def address(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach the port."""
        return _is_loopback(self.address[0])

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("give both certificate_file and key_file, or neither")
        return self


class Limits(Section):
    """Time-outs and limits."""

    workers: int = Field(32, ge=1, le=1000)
    """Nodes that are reconciled at the same time."""
    page_size: int = Field(500, ge=1, le=10_000)
    """VMs in one page of a listing."""
    engine_requests: int = Field(4, ge=1, le=16)
    """Requests to one engine at the same time."""
    engine_timeout: Interval = timedelta(seconds=60)
    """Until a listing's page must be there."""
    engine_read_timeout: Interval = timedelta(seconds=15)
    """Until any other answer of an engine must be there."""
    kube_timeout: Interval = timedelta(seconds=10)
    """Until any answer of the API server must be there; a watch has its own."""


class Logging(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for collectors."""


class Config(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    engines: tuple[Engine, ...] = Field(min_length=1)
    """The oVirt engines; each is one region."""
    selection: Selection = Selection()
    identity: Identity = Identity()
    registration: Registration = Registration()
    topology: Topology = Topology()
    rules: tuple[Rule, ...] = ()
    """Labels and taints by the VM's tags and custom properties; of two that disagree the first."""
    addresses: Addresses = Addresses()
    deletion: Deletion = Deletion()
    out_of_service: OutOfService = OutOfService()
    intervals: Intervals = Intervals()
    leader_election: LeaderElection = LeaderElection()
    server: Server = Server()
    limits: Limits = Limits()
    logging: Logging = Logging()

    @field_validator("engines")
    @classmethod
    def _engines_differ(cls, engines: tuple[Engine, ...]) -> tuple[Engine, ...]:
        for what in ("name", "region", "url"):
            values = [getattr(engine, what) for engine in engines]
            if twice := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"{what} {min(twice)!r} is used twice; give each its own")
        return engines

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file, and nothing else."""
        return env_settings, init_settings

    def selection_of(self, engine: Engine) -> Selection:
        """The selection that counts for `engine`."""
        return engine.selection or self.selection


class _Schema(GenerateJsonSchema):
    """Defaults in the form in which the file has them."""

    def encode_default(self, dft: Any) -> Any:
        """`dft` as the file would say it."""
        match dft:
            case timedelta():
                return format_duration(dft)
            case Share():
                return str(dft)
        return super().encode_default(dft)


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return Config.model_json_schema(schema_generator=_Schema)
