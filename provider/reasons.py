"""The reasons of all Events, and what each means to whoever reads it.

They are an interface: alerts and scripts of users look for them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason(StrEnum):
    """The `reason` of an Event; what each means is in `MEANINGS`."""

    SYNCED = "Synced"
    REGISTERED = "Registered"
    NODE_SUPERSEDED = "NodeSuperseded"
    ADDRESSES_CHANGED = "NodeAddressesChanged"
    HOST_CHANGED = "NodeHostChanged"
    ZONE_CHANGED = "NodeZoneChanged"
    REGION_CHANGED = "NodeRegionChanged"
    INSTANCE_TYPE_CHANGED = "NodeInstanceTypeChanged"
    CLUSTER_CHANGED = "NodeClusterChanged"
    DATA_CENTER_CHANGED = "NodeDataCenterChanged"
    ENGINE_RECORDED = "NodeEngineChanged"
    PROVIDER_ID_WRITTEN = "NodeProviderIDChanged"
    LABEL_VALUE_CHANGED = "LabelValueChanged"
    RULES_APPLIED = "NodeRulesApplied"
    RULE_CONFLICT = "NodeRuleConflict"
    NODE_NAME_SANITISED = "NodeNameSanitised"
    IDENTITY_AMBIGUOUS = "IdentityAmbiguous"
    INSTANCE_NOT_FOUND = "InstanceNotFound"
    INSTANCE_NOT_SELECTED = "InstanceNotSelected"
    INSTANCE_UNREADABLE = "InstanceUnreadable"
    ENGINE_CHANGED = "EngineChanged"
    NO_GUEST_AGENT = "NoGuestAgent"
    ADDRESS_MISMATCH = "NodeAddressMismatch"
    PROVIDED_NODE_IP_INVALID = "ProvidedNodeIPInvalid"
    ZONE_UNKNOWN = "ZoneUnknown"
    WRITE_REFUSED = "WriteRefused"
    NODE_NAME_CLASH = "NodeNameClash"
    NODE_NAME_TAKEN = "NodeNameTaken"
    NODE_NAME_UNUSABLE = "NodeNameUnusable"
    NODE_NEVER_JOINED = "NodeNeverJoined"
    ENGINE_UNREACHABLE = "EngineUnreachable"
    ENGINE_REACHABLE = "EngineReachable"
    ENGINE_UNTRUSTED = "EngineUntrusted"
    LOGIN_REFUSED = "LoginRefused"
    PERMISSION_MISSING = "PermissionMissing"
    SELECTION_INVALID = "SelectionInvalid"
    ENGINE_REPLY_UNUSABLE = "EngineReplyUnusable"
    LISTING_IMPLAUSIBLE = "ListingImplausible"
    CONFIG_INVALID = "ConfigInvalid"
    FILE_UNUSABLE = "FileUnusable"
    RBAC_MISSING = "RBACMissing"
    LEADER_ELECTION = "LeaderElection"
    INSTANCE_SHUTDOWN = "InstanceShutdown"
    NODE_OUT_OF_SERVICE = "NodeOutOfService"
    NODE_UNMARKED = "NodeUnmarked"
    DELETING_NODE = "DeletingNode"
    DELETING_NODE_FAILED = "DeletingNodeFailed"
    DELETION_HELD = "DeletionHeld"
    DELETION_DRY_RUN = "DeletionDryRun"
    DELETIONS_RESUMED = "DeletionsResumed"
    # These two are never sent: `explain` shows them.
    FOREIGN_PROVIDER_ID = "ForeignProviderID"
    NO_INTERNAL_IP = "NoInternalIP"


MEANINGS: Mapping[Reason, str] = {
    Reason.SYNCED: "The node is initialised.",
    Reason.REGISTERED: "A Node was made for a VM whose kubelet had not come.",
    Reason.NODE_SUPERSEDED: (
        "A kubelet registered the VM under another name; the registered Node that no kubelet ever"
        " used is removed."
    ),
    Reason.ADDRESSES_CHANGED: "The addresses followed the VM's.",
    Reason.HOST_CHANGED: "The VM runs on another hypervisor.",
    Reason.ZONE_CHANGED: "The zone labels followed the VM: volumes bound to the old zone may not.",
    Reason.REGION_CHANGED: "The region labels followed the configuration or the VM.",
    Reason.INSTANCE_TYPE_CHANGED: "The VM's size or instance type changed.",
    Reason.CLUSTER_CHANGED: "The VM is in another oVirt cluster, or the cluster was renamed.",
    Reason.DATA_CENTER_CHANGED: "The VM's data centre changed or was renamed.",
    Reason.ENGINE_RECORDED: "The node now records its engine, as every initialised node does.",
    Reason.PROVIDER_ID_WRITTEN: "The providerID was missing and has been written.",
    Reason.LABEL_VALUE_CHANGED: "A name in oVirt is no label value; the message has its new form.",
    Reason.RULES_APPLIED: "Labels or taints followed the VM's tags and properties (`rules`).",
    Reason.RULE_CONFLICT: (
        "A rule wants another value for a label or taint that somebody else has set: it stays as"
        " it is. Remove it from the node, or change the rule."
    ),
    Reason.NODE_NAME_SANITISED: "A VM's name is no node name; the message says what it became.",
    Reason.IDENTITY_AMBIGUOUS: (
        "More than one VM fits, or two rules disagree. Nothing is written until one is right:"
        " compare providerID, system UUID and name in the message."
    ),
    Reason.INSTANCE_NOT_FOUND: (
        "No selected VM is this node. Tag the VM (`ovirt-ccm tag`), or look at the selection."
    ),
    Reason.INSTANCE_NOT_SELECTED: (
        "The node's VM was removed or is no longer selected. A removed VM's node is deleted, on"
        " proof, when it is not ready; a node whose VM only lost the tag is left as it is."
    ),
    Reason.INSTANCE_UNREADABLE: (
        "The engine's answer about the VM cannot be understood; nothing is written meanwhile."
        " Please report it."
    ),
    Reason.ENGINE_CHANGED: (
        "The engine that the node has recorded is not configured, or another one has its VM now."
    ),
    Reason.NO_GUEST_AGENT: (
        "The guest reports no addresses; the kubelet's own is taken. Install qemu-guest-agent."
    ),
    Reason.ADDRESS_MISMATCH: (
        "The kubelet's --node-ip is none of the addresses that the guest reports; the message"
        " names both."
    ),
    Reason.PROVIDED_NODE_IP_INVALID: (
        "The kubelet's --node-ip is neither one IP nor one of each family."
    ),
    Reason.ZONE_UNKNOWN: "topology.zone is tag:<parent>, and the VM has none or several below it.",
    Reason.WRITE_REFUSED: "The API server refuses a write: RBAC or an admission webhook.",
    Reason.NODE_NAME_CLASH: "Several VMs would be the same node: none is registered. Rename one.",
    Reason.NODE_NAME_TAKEN: "A node of another cloud provider has the name of a VM.",
    Reason.NODE_NAME_UNUSABLE: "No node name can be made of a VM's name. Rename the VM.",
    Reason.NODE_NEVER_JOINED: "A registered Node is an hour old and no kubelet has used it.",
    Reason.ENGINE_UNREACHABLE: (
        "The engine gives no usable answer, and a node may wait for it. The message says why: an"
        " outage passes, a refused password or a missing tag must be mended."
    ),
    Reason.ENGINE_REACHABLE: "The engine answers again.",
    Reason.ENGINE_UNTRUSTED: "The engine's certificate is not trusted: see `ca_file`.",
    Reason.LOGIN_REFUSED: (
        "The engine refuses user or password. A changed password file is tried at once, the same"
        " password seldom, so that the account is not locked."
    ),
    Reason.PERMISSION_MISSING: "The account needs the role ReadOnlyAdmin on the system.",
    Reason.SELECTION_INVALID: "The tag does not exist, or the engine refuses the search.",
    Reason.ENGINE_REPLY_UNUSABLE: "An answer of the engine cannot be understood.",
    Reason.LISTING_IMPLAUSIBLE: "A listing contradicts itself and was not taken for the truth.",
    Reason.CONFIG_INVALID: (
        "The changed configuration file cannot be used: the one before stays at work until it is"
        " mended. The message names every fault."
    ),
    Reason.FILE_UNUSABLE: (
        "A CA, certificate, token or password file, or the kubeconfig, has changed and cannot be"
        " used: what it held before stays at work."
    ),
    Reason.RBAC_MISSING: (
        "The API server would refuse what the message names: grant what `manifests/rbac.yaml`"
        " grants. All else goes on."
    ),
    Reason.LEADER_ELECTION: "A replica has taken the Lease or given it up; it is on the Lease.",
    Reason.INSTANCE_SHUTDOWN: (
        "The VM is stopped and the node not ready: nothing more is scheduled on it until it is."
    ),
    Reason.NODE_OUT_OF_SERVICE: (
        "The VM is proven down: the node's pods are removed and their volumes detached, so that"
        " they start elsewhere (`out_of_service`)."
    ),
    Reason.NODE_UNMARKED: "Taints that said the VM was stopped are gone again.",
    Reason.DELETING_NODE: "The VM does not exist any more, on proof: its Node is deleted.",
    Reason.DELETING_NODE_FAILED: "Deleting the Node failed; it is tried again.",
    Reason.DELETION_HELD: (
        "A Node whose VM is gone is not deleted: an annotation holds it, the budget of the hour is"
        " exceeded, or the record of deletions cannot be read. Look at `ovirt-ccm deletions`."
    ),
    Reason.DELETION_DRY_RUN: "The Node would be deleted; `deletion.mode` is dry-run.",
    Reason.DELETIONS_RESUMED: "The VMs have returned: Nodes may be deleted again.",
    Reason.FOREIGN_PROVIDER_ID: "The node belongs to another cloud provider.",
    Reason.NO_INTERNAL_IP: "The node waits for an address.",
}
