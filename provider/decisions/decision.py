"""The whole decision about one node: match, description and plan in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from provider.decisions.identity import (
    Absent,
    Ambiguous,
    Foreign,
    Found,
    Match,
    Unknown,
    find_instance,
)
from provider.decisions.metadata import describe
from provider.decisions.plan import Plan, plan
from provider.model import Level, Notice
from provider.reasons import Reason

if TYPE_CHECKING:
    from provider.config import Config
    from provider.decisions.identity import Directory
    from provider.model import InstanceMetadata, Node


class Decision(Struct, frozen=True):
    """What a node was matched with, what it shall look like, and what is to be done."""

    match: Match
    metadata: InstanceMetadata | None
    plan: Plan


def decide(node: Node, directory: Directory, config: Config) -> Decision:
    """The decision about `node` from what the engines have told.

    Only a node whose instance is certain gets a patch. A node that is not the program's to change
    gets no notices either: `explain` shows its match.
    """
    match = find_instance(node, directory)
    if isinstance(match, Found):
        snapshot = directory.snapshots[match.instance.engine]
        metadata = describe(match.instance, snapshot, config)
        return Decision(match, metadata, plan(node, metadata))
    is_concerned = node.is_uninitialized or node.is_ours
    notices = (_unmatched(node, match, directory),) if is_concerned else ()
    return Decision(match, None, Plan(notices=notices))


def _unmatched(
    node: Node, match: Absent | Ambiguous | Foreign | Unknown, directory: Directory
) -> Notice:
    match match:
        case Ambiguous(reason=reason):
            return Notice(Level.WARNING, Reason.IDENTITY_AMBIGUOUS, reason)
        case Unknown(cause=cause, reason=reason):
            return Notice(_level(node, cause, directory), cause, reason)
        case Absent(instance_id=instance_id):
            return _absent(node, instance_id, directory)
    message = f"its providerID {match.provider_id} belongs to another cloud provider"
    return Notice(Level.WAITING, Reason.FOREIGN_PROVIDER_ID, message)


def _level(node: Node, cause: Reason, directory: Directory) -> Level:
    """An engine that is away is no event on each of its nodes: only where one waits for it.

    Nor is one that is being asked for the first time.
    """
    is_expected = not node.is_uninitialized or not any(directory.silent.values())
    is_quiet = cause is Reason.ENGINE_UNREACHABLE and is_expected
    return Level.WAITING if is_quiet else Level.WARNING


def _absent(node: Node, instance_id: str | None, directory: Directory) -> Notice:
    if not node.is_uninitialized:
        message = (
            f"no selected VM has the id {instance_id} any more: the VM was removed or has lost"
            " its tag; labels and addresses stay as they are"
        )
        return Notice(Level.WARNING, Reason.INSTANCE_NOT_SELECTED, message)
    message = (
        f"no selected VM has the providerID {node.provider_id or '(none)'}, the id"
        f" {node.system_uuid or '(none)'} (systemUUID) or the name {node.name}: does the VM carry"
        " the tag?"
    )
    level = Level.WAITING if _is_newer_than_known(node, directory) else Level.WARNING
    return Notice(level, Reason.INSTANCE_NOT_FOUND, message)


def _is_newer_than_known(node: Node, directory: Directory) -> bool:
    """Whether the Node came after a listing began: the next may have its VM."""
    taken = (snapshot.taken for snapshot in directory.snapshots.values())
    return node.created is not None and any(then <= node.created for then in taken)
