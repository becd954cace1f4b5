from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from provider.config import Config
from provider.decisions.identity import Directory, directory
from provider.decisions.registration import (
    JOIN_PATIENCE,
    Patience,
    Refusal,
    never_joined,
    prospects,
    superseded,
)
from provider.model import (
    ANNOTATION_ENGINE,
    ANNOTATION_HOLD,
    ANNOTATION_REGISTERED,
    Cluster,
    Instance,
    InstanceStatus,
    Level,
    NewNode,
    Node,
    Snapshot,
    Taint,
    Unreadable,
)
from tests.builders import (
    ENGINE_ID,
    NOW,
    address,
    config,
    instance,
    internal,
    node,
    snapshot,
    uuid_of,
)


def known(*snapshots: Snapshot, match_fqdn: bool = False) -> Directory:
    return directory(snapshots, {one.engine: "" for one in snapshots}, match_fqdn=match_fqdn)


def by_name(*nodes: Node) -> dict[str, Node]:
    return {one.name: one for one in nodes}


def registrations(
    directory: Directory, nodes: Mapping[str, Node], config: Config
) -> Iterator[NewNode | Refusal]:
    found = prospects(directory, nodes, config)
    return (one for one in found if not isinstance(one, Patience))


def outcomes(
    *instances: Instance, nodes: tuple[Node, ...] = (), **registration: Any
) -> tuple[NewNode | Refusal, ...]:
    directory = known(snapshot(*instances))
    return tuple(registrations(directory, by_name(*nodes), config(registration=registration)))


def names(found: tuple[NewNode | Refusal, ...]) -> list[str]:
    return [one.name for one in found if isinstance(one, NewNode)]


def refusals(found: tuple[NewNode | Refusal, ...]) -> list[tuple[str, str]]:
    return [(one.instance.name, one.notice.reason) for one in found if isinstance(one, Refusal)]


# ---- who gets a node -------------------------------------------------------------------------


def test_an_instance_without_a_node_gets_one_that_needs_nothing_more() -> None:
    found = outcomes(
        instance("worker-1", ips=["10.0.0.1"]),
        labels={"pool": "blue", "topology.kubernetes.io/zone": "mine"},
        taints=["dedicated=db:NoSchedule"],
    )
    [new] = found
    assert isinstance(new, NewNode)
    assert new.name == "worker-1"
    assert new.provider_id == f"ovirt://{uuid_of('worker-1')}"
    assert new.labels["pool"] == "blue"
    assert new.labels["topology.kubernetes.io/zone"] == "blue"
    assert new.annotations == {ANNOTATION_ENGINE: ENGINE_ID, ANNOTATION_REGISTERED: "true"}
    assert new.taints == (Taint("dedicated", "NoSchedule", "db"),)
    assert new.addresses == (*internal("10.0.0.1"), address("hostname", "worker-1"))
    assert [notice.reason for notice in new.notices] == ["Registered"]


def test_nothing_is_registered_in_the_mode_adopt() -> None:
    assert outcomes(instance(), mode="adopt") == ()


@pytest.mark.parametrize(
    "facts",
    [
        {"status": InstanceStatus.DOWN},
        {"status": InstanceStatus.UNKNOWN},
        {"status": None},
        {"started": None},
        {"started": NOW - timedelta(seconds=59)},
        {"interfaces": ()},
    ],
)
def test_an_instance_waits_until_it_is_up_for_the_delay_and_has_an_address(
    facts: dict[str, Any],
) -> None:
    assert outcomes(instance(**facts), delay="60s") == ()


def test_an_instance_is_due_after_the_delay() -> None:
    assert names(outcomes(instance(started=NOW - timedelta(seconds=60)), delay="60s"))


VM = instance("vm-1", fqdn="guest.example.com")


@pytest.mark.parametrize(
    "facts",
    [
        {"provider_id": f"ovirt:///{VM.id.upper()}"},
        {"system_uuid": VM.id.upper()},
        {"name": "vm-1"},
        {"name": "guest.example.com"},
        {"name": "vm-1", "provider_id": f"ovirt://{uuid_of('gone')}"},
        {"system_uuid": VM.id, "provider_id": f"ovirt://{uuid_of('gone')}"},
        {"system_uuid": VM.id, "provider_id": "aws:///i-1"},
        {"name": "vm-1", "annotations": {ANNOTATION_ENGINE: "gone"}},
    ],
)
def test_no_node_is_registered_when_one_could_be_the_instance_by_any_rule(
    facts: dict[str, Any],
) -> None:
    one = node(**({"name": "n", "system_uuid": ""} | facts))
    everything = known(snapshot(VM), match_fqdn=True)
    assert not list(registrations(everything, by_name(one), config()))


def test_nothing_is_registered_while_an_engine_that_may_have_the_name_is_being_asked() -> None:
    engines = {"east": "", "west": ""}
    asked = directory([snapshot(VM)], engines, match_fqdn=False)
    away = directory([snapshot(VM)], engines | {"west": "no route to host"}, match_fqdn=False)

    assert not list(registrations(asked, {}, config()))
    assert names(tuple(registrations(away, {}, config()))) == [VM.name]


def test_a_node_of_the_fqdn_is_none_of_ours_when_that_rule_is_off() -> None:
    assert names(outcomes(VM, nodes=(node("guest.example.com", system_uuid=""),))) == ["vm-1"]


# ---- who does not, and is told ---------------------------------------------------------------


def test_equal_names_register_neither_and_both_are_told() -> None:
    one = instance("web", id=uuid_of("a"))
    two = instance("web", id=uuid_of("b"), cluster=Cluster("blue", "rome"))
    assert refusals(outcomes(one, two)) == [("web", "NodeNameClash")] * 2


def test_a_clash_with_an_instance_that_is_down_counts_too() -> None:
    found = outcomes(instance("Web"), instance("web", status=InstanceStatus.DOWN))
    assert refusals(found) == [("Web", "NodeNameClash")]
    assert names(found) == []


def test_a_clash_with_an_unreadable_instance_counts_too() -> None:
    odd = Unreadable(uuid_of("odd"), "web", "odd")
    found = tuple(registrations(known(snapshot(instance("web"), unreadable=[odd])), {}, config()))
    assert refusals(found) == [("web", "NodeNameClash")]


def test_a_name_that_leaves_nothing_is_told() -> None:
    assert refusals(outcomes(instance("узел"))) == [("узел", "NodeNameUnusable")]


def test_an_id_of_two_engines_is_told() -> None:
    east, west = instance("a"), instance("b", id=uuid_of("a"), engine="west", engine_id="w")
    both = known(snapshot(east), snapshot(west, engine="west", engine_id="w"))
    assert refusals(tuple(registrations(both, {}, config()))) == [
        ("a", "IdentityAmbiguous"),
        ("b", "IdentityAmbiguous"),
    ]


def test_a_name_that_another_providers_node_has_is_told() -> None:
    foreign = node("worker-1", system_uuid="", provider_id="aws:///i-1")
    found = outcomes(instance("worker-1"), nodes=(foreign,))
    assert refusals(found) == [("worker-1", "NodeNameTaken")]


def test_a_changed_name_and_changed_label_values_are_said_on_the_new_node() -> None:
    [new] = outcomes(instance("Worker_1", cluster=Cluster("Süd 1", "paris")))
    assert isinstance(new, NewNode)
    assert new.name == "worker-1"
    assert [notice.reason for notice in new.notices] == [
        "Registered",
        "NodeNameSanitised",
        "LabelValueChanged",
        "LabelValueChanged",
    ]


# ---- Nodes that no kubelet uses --------------------------------------------------------------


def registered(name: str = "worker-1", **facts: Any) -> Node:
    """A Node that was registered an hour ago and that no kubelet has used."""
    annotations = {ANNOTATION_ENGINE: ENGINE_ID, ANNOTATION_REGISTERED: "true"}
    defaults: dict[str, Any] = {
        "provider_id": f"ovirt://{uuid_of(name)}",
        "annotations": annotations | facts.pop("annotations", {}),
        "taints": (),
        "system_uuid": "",
        "kubelet_version": "",
        "created": NOW - JOIN_PATIENCE,
    }
    return node(name, **(defaults | facts))


KUBELETS = node("guest-1", system_uuid=uuid_of("worker-1"))


def test_our_unused_node_gives_way_to_the_one_that_a_kubelet_registered() -> None:
    unused = registered("worker-1")
    [given] = superseded(by_name(unused, KUBELETS), known(snapshot(instance("worker-1"))))
    assert given.node == unused
    assert (given.notice.level, given.notice.reason) == (Level.NORMAL, "NodeSuperseded")
    assert "guest-1" in given.notice.message


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (registered(kubelet_version="v1.37.2"), KUBELETS),
        (registered(annotations={ANNOTATION_HOLD: "true"}), KUBELETS),
        (registered(), node("guest-1", system_uuid=uuid_of("worker-2"))),
        (registered(), node("guest-1", system_uuid=uuid_of("worker-1"), kubelet_version="")),
        (registered(provider_id="aws:///i-1"), KUBELETS),
        (node("worker-1", kubelet_version=""), KUBELETS),
    ],
)
def test_no_other_node_gives_way(ours: Node, other: Node) -> None:
    instances = known(snapshot(instance("worker-1"), instance("worker-2")))
    assert superseded(by_name(ours, other), instances) == ()


def test_a_node_that_no_kubelet_joins_for_an_hour_is_warned_about() -> None:
    notice = never_joined(registered(), NOW)
    assert notice is not None
    assert (notice.level, notice.reason) == (Level.WARNING, "NodeNeverJoined")


@pytest.mark.parametrize(
    "one",
    [
        registered(created=NOW - JOIN_PATIENCE + timedelta(seconds=1)),
        registered(created=None),
        registered(kubelet_version="v1.37.2"),
        node(created=NOW - JOIN_PATIENCE, kubelet_version=""),
    ],
)
def test_no_other_node_is_warned_about(one: Node) -> None:
    assert never_joined(one, NOW) is None
