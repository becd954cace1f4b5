import pytest

from provider.decisions.identity import (
    Absent,
    Ambiguous,
    Directory,
    Foreign,
    Found,
    Match,
    NodeName,
    Rule,
    Unknown,
    claimed_ids,
    directory,
    find_instance,
    instance_id_of,
    node_name,
    parse_provider_id,
    plausible_fqdn,
    provider_id,
)
from provider.model import ANNOTATION_ENGINE, Instance, Node, Snapshot, Unreadable
from provider.reasons import Reason
from tests.builders import ENGINE_ID, instance, node, snapshot, uuid_of

UUID = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
SWAPPED = "3d2c1b0a-5f4e-6b4a-8c7d-9e0f1a2b3c4d"


def known(*snapshots: Snapshot, match_fqdn: bool = False, engines: str = "") -> Directory:
    names = engines.split() or [one.engine for one in snapshots]
    return directory(snapshots, dict.fromkeys(names, ""), match_fqdn=match_fqdn)


def of(*instances: Instance) -> Directory:
    return known(snapshot(*instances))


def stranger(name: str = "somebody", **facts: object) -> Node:
    """A node that nothing points from to an instance but what `facts` say."""
    return node(name, **({"system_uuid": "", "annotations": {}} | facts))


# ---- provider ids ----------------------------------------------------------------------------


def test_a_provider_id_is_written_in_lower_case() -> None:
    assert provider_id(UUID.upper()) == f"ovirt://{UUID}"


@pytest.mark.parametrize(
    "text",
    [
        f"ovirt://{UUID}",
        f"ovirt:///{UUID}",
        f"ovirt-cloud-provider://{UUID}",
        UUID,
        f"OVIRT://{UUID.upper()}",
        UUID.replace("-", ""),
    ],
)
def test_each_form_of_any_ovirt_provider_is_read(text: str) -> None:
    assert parse_provider_id(text) == UUID


@pytest.mark.parametrize(
    "text",
    [
        "aws:///eu-west-1a/i-0123456789abcdef0",
        f"vsphere://{UUID}",
        f"ovirt:////{UUID}",
        f"ovirt:/{UUID}",
        f"ov\u0131rt://{UUID}",
        f"ovirt://{UUID}0",
        f"ovirt://{UUID}\n",
        "ovirt://worker-1",
        "",
    ],
)
def test_everything_else_is_foreign(text: str) -> None:
    assert parse_provider_id(text) is None


# ---- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vm", ["worker-1", "worker-1.example.com", "a" * 64])
def test_a_node_is_called_as_its_vm(vm: str) -> None:
    assert node_name(instance(vm)) == NodeName(vm, is_sanitised=False)


@pytest.mark.parametrize(
    ("vm", "name"),
    [
        ("Worker_1", "worker-1"),
        ("nœud_été", "n-ud-ete"),
        ("-a..b-.c.", "a.b.c"),
        ("узел-1", "1"),
        ("узел", None),
    ],
)
def test_a_vm_name_that_no_node_can_have_is_sanitised(vm: str, name: str | None) -> None:
    assert node_name(instance(vm)) == NodeName(name, is_sanitised=True)


@pytest.mark.parametrize(
    ("reported", "fqdn"),
    [
        ("Worker-1.Example.com.", "worker-1.example.com"),
        ("worker-1", None),
        ("localhost.localdomain", None),
        ("localhost4.localdomain4", None),
        ("10.0.0.1", None),
        ("bad_name.example.com", None),
        (f"{'a.' * 127}com", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_plausible_fqdn_counts(reported: str | None, fqdn: str | None) -> None:
    assert plausible_fqdn(reported) == fqdn


# ---- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"provider_id": f"ovirt:///{UUID.upper()}"}, Rule.PROVIDER_ID),
        ({"system_uuid": UUID.upper()}, Rule.SYSTEM_UUID),
        ({"system_uuid": UUID.replace("-", "")}, Rule.SYSTEM_UUID),
        ({"system_uuid": SWAPPED}, Rule.SYSTEM_UUID_SWAPPED),
        ({"name": "vm-1"}, Rule.NAME),
        ({"name": "guest.example.com"}, Rule.FQDN),
    ],
)
def test_each_rule_alone_finds_the_instance(facts: dict[str, str], rule: Rule) -> None:
    vm = instance("VM_1", id=UUID, fqdn="guest.example.com")
    assert find_instance(stranger(**facts), known(snapshot(vm), match_fqdn=True)) == Found(
        vm, rule
    )


def test_the_strongest_rule_is_named_when_several_agree() -> None:
    vm = instance("worker-1")
    found = find_instance(node("worker-1", provider_id=f"ovirt://{vm.id}"), of(vm))
    assert found == Found(vm, Rule.PROVIDER_ID)


def test_the_fqdn_counts_only_when_it_is_asked_for() -> None:
    vm = instance("vm-1", fqdn="guest.example.com")
    assert find_instance(stranger("guest.example.com"), of(vm)) == Absent(None)


def test_a_straight_system_uuid_is_never_swapped() -> None:
    straight, swapped = instance("a", id=UUID), instance("b", id=SWAPPED)
    found = find_instance(stranger(system_uuid=UUID), of(straight, swapped))
    assert found == Found(straight, Rule.SYSTEM_UUID)


def test_a_system_uuid_that_is_none_does_not_count() -> None:
    assert find_instance(stranger(system_uuid="Not Settable"), of(instance())) == Absent(None)


def ambiguous(match: Match) -> Ambiguous:
    assert isinstance(match, Ambiguous)
    return match


def test_two_instances_of_one_name_are_ambiguous_and_both_are_named() -> None:
    one, two = instance("web", id=uuid_of("one")), instance("web", id=uuid_of("two"))
    match = ambiguous(find_instance(stranger("web"), of(one, two)))
    assert match.candidates == tuple(sorted((one, two), key=lambda vm: vm.id))
    assert one.id in match.reason
    assert two.id in match.reason


def test_two_names_that_are_sanitised_to_one_are_ambiguous() -> None:
    directory = of(instance("Web"), instance("web"))
    assert ambiguous(find_instance(stranger("web"), directory)).candidates


def test_two_rules_that_disagree_are_ambiguous() -> None:
    one, two = instance("worker-1"), instance("worker-2")
    match = ambiguous(find_instance(node("worker-1", system_uuid=two.id), of(one, two)))
    assert match.candidates == (two, one)


def test_a_weaker_rule_may_fit_others_too_when_it_fits_the_chosen_one() -> None:
    one, two = instance("web", id=uuid_of("one")), instance("web", id=uuid_of("two"))
    found = find_instance(stranger("web", system_uuid=one.id), of(one, two))
    assert found == Found(one, Rule.SYSTEM_UUID)


def test_an_id_that_two_engines_claim_is_ambiguous() -> None:
    east, west = instance("a", id=UUID), instance("b", id=UUID, engine="west", engine_id="w")
    both = known(snapshot(east), snapshot(west, engine="west", engine_id="w"))
    match = ambiguous(find_instance(stranger(provider_id=f"ovirt://{UUID}"), both))
    assert match.candidates == (east, west)


def test_a_provider_id_that_is_not_selected_is_absent() -> None:
    assert find_instance(stranger(provider_id=UUID.upper()), of(instance())) == Absent(UUID)


def test_a_provider_id_that_is_not_selected_while_a_weaker_rule_fits_is_ambiguous() -> None:
    vm = instance("worker-1")
    match = ambiguous(find_instance(stranger("worker-1", provider_id=UUID), of(vm)))
    assert match.candidates == (vm,)
    assert UUID in match.reason


def test_a_node_of_another_provider_is_foreign_whatever_else_fits() -> None:
    mine = node("worker-1", provider_id="aws:///i-1", annotations={ANNOTATION_ENGINE: "x"})
    assert find_instance(mine, of(instance("worker-1"))) == Foreign("aws:///i-1")


# ---- what is not known -----------------------------------------------------------------------


def cause(match: Match) -> Reason:
    assert isinstance(match, Unknown)
    assert match.reason
    return match.cause


def recorded(engine: str, name: str = "worker-1") -> Node:
    return node(name, annotations={ANNOTATION_ENGINE: engine})


@pytest.mark.parametrize("engine", [ENGINE_ID, "east"])
def test_the_recorded_engine_may_be_an_id_or_a_name(engine: str) -> None:
    vm = instance("worker-1")
    assert find_instance(recorded(engine), of(vm)) == Found(vm, Rule.SYSTEM_UUID)


def test_a_node_of_an_engine_that_is_not_configured_is_unknown() -> None:
    assert cause(find_instance(recorded("gone"), of(instance()))) is Reason.ENGINE_CHANGED


def test_a_node_of_an_engine_that_may_be_the_silent_one_is_unknown() -> None:
    partly = known(snapshot(instance()), engines="east west")
    assert cause(find_instance(recorded("w"), partly)) is Reason.ENGINE_UNREACHABLE


def test_a_node_that_is_found_in_another_engine_than_recorded_is_unknown() -> None:
    vm = instance("worker-1")
    both = known(snapshot(vm), snapshot(engine="west", engine_id="w"))
    assert cause(find_instance(recorded("w"), both)) is Reason.ENGINE_CHANGED


def test_an_unreadable_instance_is_never_absent() -> None:
    odd = Unreadable(UUID, "odd", "its memory is no number")
    directory = known(snapshot(unreadable=[odd]))
    for it in (stranger("odd"), stranger(provider_id=UUID), stranger(system_uuid=SWAPPED)):
        assert cause(find_instance(it, directory)) is Reason.INSTANCE_UNREADABLE


def test_an_unreadable_instance_without_a_name_is_known_by_its_id() -> None:
    directory = known(snapshot(unreadable=[Unreadable(UUID, None, "it has no name")]))
    assert (
        cause(find_instance(stranger(provider_id=UUID), directory)) is Reason.INSTANCE_UNREADABLE
    )


def test_an_unreadable_instance_can_contradict_another_rule() -> None:
    vm, odd = instance("vm-1"), Unreadable(UUID, "worker-1", "odd")
    directory = known(snapshot(vm, unreadable=[odd]), match_fqdn=True)
    match = ambiguous(find_instance(stranger("worker-1", system_uuid=vm.id), directory))
    assert match.candidates == (vm,)
    assert "unreadable" in match.reason


@pytest.mark.parametrize(
    "unmatched",
    [
        stranger(),
        stranger(provider_id=UUID),
        stranger("worker-1", provider_id=UUID),
        stranger("worker-1"),
    ],
)
def test_nothing_is_absent_and_no_name_certain_while_an_engine_is_silent(unmatched: Node) -> None:
    partly = known(snapshot(instance("worker-1")), engines="east west")
    assert cause(find_instance(unmatched, partly)) is Reason.ENGINE_UNREACHABLE


def test_an_instance_of_an_engine_that_has_answered_is_absent_whichever_other_is_silent() -> None:
    partly = known(snapshot(instance("other")), engines="east west")
    gone = stranger(provider_id=UUID, annotations={ANNOTATION_ENGINE: ENGINE_ID})
    assert find_instance(gone, partly) == Absent(UUID)


def test_an_id_is_certain_while_another_engine_is_silent() -> None:
    vm = instance("worker-1")
    partly = known(snapshot(vm), engines="east west")
    assert find_instance(node("worker-1"), partly) == Found(vm, Rule.SYSTEM_UUID)


def test_before_any_engine_answers_every_node_is_unknown() -> None:
    assert cause(find_instance(node(), known(engines="east"))) is Reason.ENGINE_UNREACHABLE


def test_claimed_ids_are_those_of_provider_ids_and_system_uuids() -> None:
    a, b, c = instance("a", id=UUID), instance("b"), instance("c")
    nodes = [stranger(system_uuid=SWAPPED), stranger(provider_id=f"ovirt:///{b.id}")]
    assert claimed_ids(nodes, of(a, b, c)) >= {a.id, b.id}
    assert c.id not in claimed_ids(nodes, of(a, b, c))


@pytest.mark.parametrize(
    ("facts", "instance_id"),
    [
        ({"provider_id": f"ovirt:///{UUID.upper()}", "system_uuid": SWAPPED}, UUID),
        ({"system_uuid": UUID.upper().replace("-", "")}, UUID),
        ({"system_uuid": UUID, "provider_id": "aws:///i-1"}, None),
        ({"system_uuid": "Not Settable"}, None),
    ],
)
def test_a_node_tells_its_instance_id_by_provider_id_or_else_system_uuid(
    facts: dict[str, str], instance_id: str | None
) -> None:
    assert instance_id_of(stranger(**facts)) == instance_id
