"""The checks of one engine, in the order in which each needs the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provider.commands.findings import Finding, Result, failure
from provider.commands.gather import client_of
from provider.config import Selection
from provider.errors import EngineError, EngineUnavailable, SelectionInvalid
from provider.ovirt.listing import Lister
from provider.ovirt.reads import Reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.config import Config, Engine
    from provider.model import Instance, Snapshot
    from provider.ovirt.client import EngineClient


@dataclass(slots=True)
class EngineReport:
    """What was found out about one engine; `snapshot` is None when it gave no listing.

    `error` is what ended the checks early. `excluded` are the VMs that carry the tag and are not
    selected, with the reason.
    """

    findings: list[Finding] = field(default_factory=list)
    snapshot: Snapshot | None = None
    error: EngineError | None = None
    excluded: tuple[tuple[Instance, str], ...] = ()


async def check_engine(config: Config, engine: Engine) -> EngineReport:
    """All that can be said about `engine`; its errors become findings."""
    report = EngineReport()
    subject = f"engine {engine.name}"
    if engine.insecure:
        report.findings.append(_insecure(subject))
    try:
        async with client_of(config, engine) as client:
            report.findings.append(await _log_in(client, subject))
            await _list(client, config.selection_of(engine), report, subject)
    except EngineError as error:
        report.error = error
        report.findings.append(failure(subject, error, _unavailable(engine, error)))
    return report


def _insecure(subject: str) -> Finding:
    message = "its certificate is not verified: anybody on the way can read the password."
    remedy = "Set ca_file to the engine's CA certificate and insecure to false."
    return Finding(subject, Result.WARNING, message, remedy)


def _unavailable(engine: Engine, error: EngineError) -> str:
    if not isinstance(error, EngineUnavailable):
        return ""
    return f"Is {engine.url} its address, is it up, and does a firewall let us through?"


async def _log_in(client: EngineClient, subject: str) -> Finding:
    engine = client.engine
    await client.access_token()
    product = await Reads(client, Selection()).product()
    version = product.version.full_version or f"{product.version.major}.{product.version.minor}"
    message = f"oVirt {version} at {engine.url} accepts the log-in of {engine.username}"
    return Finding(subject, Result.OK, message)


async def _list(
    client: EngineClient, selection: Selection, report: EngineReport, subject: str
) -> None:
    """Add the role, the tag and the search to the report."""
    try:
        snapshot = await Lister(client, selection).take(None)
    except SelectionInvalid:
        report.findings.append(_may_read(subject))
        raise
    report.snapshot = snapshot
    report.findings.append(_may_read(subject))
    report.findings.append(Finding(subject, Result.OK, f"the tag {selection.tag} exists"))
    wide = await _tagged(client, selection) or snapshot
    report.excluded = tuple(_excluded(wide, snapshot, selection))
    report.findings.append(_selected(subject, selection, snapshot, len(wide.instances)))


def _may_read(subject: str) -> Finding:
    return Finding(subject, Result.OK, "the account may read all VMs, hosts and tags")


async def _tagged(client: EngineClient, selection: Selection) -> Snapshot | None:
    """All that carry the tag; None when the selection is by the tag alone."""
    tag_alone = Selection(tag=selection.tag)
    if selection == tag_alone:
        return None
    return await Lister(client, tag_alone).take(None)


def _excluded(
    wide: Snapshot, snapshot: Snapshot, selection: Selection
) -> Iterator[tuple[Instance, str]]:
    for instance in wide.instances.values():
        if instance.id not in snapshot.instances:
            yield instance, _miss(instance, selection)


def _miss(instance: Instance, selection: Selection) -> str:
    cluster = instance.cluster.name if instance.cluster else None
    if selection.clusters and cluster not in selection.clusters:
        return f"its cluster {cluster} is not among selection.clusters"
    if selection.data_centers and instance.data_center not in selection.data_centers:
        return f"its data centre {instance.data_center} is not among selection.data_centers"
    return f"selection.search {selection.search!r} does not find it"


def _selected(subject: str, selection: Selection, snapshot: Snapshot, tagged: int) -> Finding:
    count = len(snapshot.instances) + len(snapshot.unreadable)
    if count:
        return Finding(subject, Result.OK, f"{count} VMs are selected")
    if tagged:
        message = f"no VM is selected, though {tagged} carry the tag {selection.tag}."
        remedy = "Look at clusters, data_centers and search of the selection."
    else:
        message = f"no VM carries the tag {selection.tag}."
        remedy = "Attach it to the Docker hosts: ovirt-ccm tag NAME…"
    return Finding(subject, Result.FAILED, message, remedy)


async def name_unselected(config: Config, engine: Engine, ids: tuple[str, ...]) -> dict[str, str]:
    """The names of those of the VMs `ids` that exist in `engine`, by id; they are not selected."""
    names: dict[str, str] = {}
    try:
        async with client_of(config, engine) as client:
            reads = Reads(client, config.selection_of(engine))
            for instance_id in ids:
                if vm := await reads.vm(instance_id):
                    names[instance_id] = vm.name or instance_id
    except EngineError:
        pass  # whether it can be asked is another check
    return names
