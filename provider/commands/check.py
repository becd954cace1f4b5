"""`check`: what is wrong, which VMs would become which nodes, which nodes are not ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from provider.commands import options, terminal
from provider.commands.check_report import Report, as_json, print_report
from provider.commands.cluster_checks import check_cluster
from provider.commands.engine_checks import EngineReport, check_engine, name_unselected
from provider.commands.findings import Finding, Result
from provider.commands.gather import Listings, configuration
from provider.decisions.identity import Absent, instance_id_of
from provider.decisions.outcomes import Fate, instance_outcomes, strangers, unjoined

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from provider.config import Config
    from provider.decisions.identity import Directory
    from provider.decisions.outcomes import Outcome, Stranger

_SUBJECT = "VMs and nodes"
# Nodes whose VM is asked for alone: a cluster with more of them has another trouble.
_LOOKED_UP = 50
_NAMED = 5
_NO_VM = "if it is no oVirt VM at all, start its kubelet without --cloud-provider=external"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The form of the result."""
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 when something is wrong. Nothing is written anywhere."""
    terminal.log_warnings()
    config = configuration(arguments)
    with terminal.progress("asking the engines and the cluster"):
        report = asyncio.run(_check(config, arguments.config, arguments.kubeconfig))
    if arguments.output == "json":
        terminal.print_json(as_json(report))
    else:
        print_report(report)
    return 0 if report.is_fine else 1


async def _check(config: Config, file: Path, kubeconfig: Path | None) -> Report:
    asking = asyncio.create_task(check_cluster(config, kubeconfig))
    engines = await asyncio.gather(*(check_engine(config, one) for one in config.engines))
    cluster = await asking
    snapshots = tuple(one.snapshot for one in engines if one.snapshot)
    errors = tuple(one.error for one in engines if one.error)
    directory = Listings(snapshots, errors).directory(config)
    outcomes = instance_outcomes(directory, cluster.nodes or {}, config)
    unmanaged = strangers(directory, cluster.nodes or {}, config)
    findings = [_valid(config, file)]
    for engine in engines:
        findings += engine.findings
    findings += cluster.findings
    findings += _matched(outcomes, unmanaged)
    if cluster.nodes is not None:
        findings += _hints(unjoined(outcomes, cluster.nodes, directory, datetime.now(UTC)))
    return Report(
        findings=tuple(findings),
        outcomes=outcomes,
        excluded=tuple(one for engine in engines for one in engine.excluded),
        strangers=unmanaged,
        hints=await _remedies(config, unmanaged, directory, engines),
        has_nodes=cluster.nodes is not None,
    )


def _valid(config: Config, file: Path) -> Finding:
    names = terminal.words(engine.name for engine in config.engines)
    return Finding("configuration", Result.OK, f"{file} is valid; engines: {names}")


# ---- VMs and nodes ---------------------------------------------------------------------------


def _matched(outcomes: Iterable[Outcome], unmanaged: Iterable[Stranger]) -> Iterator[Finding]:
    refused = [one for one in outcomes if one.fate is Fate.REFUSED]
    if refused:
        names = _some(one.candidate.name or one.candidate.id for one in refused)
        remedy = "The table below says why each of them is refused."
        yield Finding(_SUBJECT, Result.FAILED, f"no node can be made of {names}.", remedy)
    waiting = [one for one in unmanaged if one.is_waiting]
    if waiting:
        names = _some(one.node.name for one in waiting)
        message = f"nodes that wait to be initialised, and in vain: {names}."
        yield Finding(_SUBJECT, Result.FAILED, message, "The list below says why.")


def _hints(names: tuple[str, ...]) -> Iterator[Finding]:
    if names:
        message = f"up for over an hour, and no kubelet of this cluster uses them: {_some(names)}."
        remedy = (
            "If they are another Kubernetes cluster's, give each cluster a tag of its own"
            " (selection.tag): two that share one register each other's hosts."
        )
        yield Finding(_SUBJECT, Result.WARNING, message, remedy)


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return terminal.words(found[:_NAMED]) + more


async def _remedies(
    config: Config,
    unmanaged: Iterable[Stranger],
    directory: Directory,
    engines: Iterable[EngineReport],
) -> Mapping[str, str]:
    """By node without a selected VM: which VM it is after all, and what to do."""
    lost = [one for one in unmanaged if isinstance(one.match, Absent)]
    names = {i: one.node.name for one in lost if (i := instance_id_of(one.node))}
    hints = {one.node.name: _NO_VM for one in lost if one.is_waiting}
    for engine in config.engines:
        if names and engine.name in directory.snapshots:
            found = await name_unselected(config, engine, tuple(names)[:_LOOKED_UP])
            tag = config.selection_of(engine).tag
            hints |= {names[i]: _untagged(vm, engine.name, tag) for i, vm in found.items()}
    for vm, why in (one for engine in engines for one in engine.excluded):
        if vm.id in names:
            hints[names[vm.id]] = f"it is VM {vm.name} of engine {vm.engine}, but {why}"
    return hints


def _untagged(vm: str, engine: str, tag: str) -> str:
    return f"it is VM {vm} of engine {engine}, without the tag {tag}: ovirt-ccm tag {vm}"
