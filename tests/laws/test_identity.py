import re

from hypothesis import given
from hypothesis import strategies as st

from provider.config import Config
from provider.decisions.decision import decide
from provider.decisions.identity import (
    Absent,
    Directory,
    Found,
    directory,
    find_instance,
    node_name,
    parse_provider_id,
    provider_id,
    renewed,
)
from provider.decisions.plan import apply
from provider.model import ANNOTATION_ENGINE, Node, Unreadable
from tests.builders import config, instance
from tests.laws.strategies import close_directories, configs, directories, nodes, pointing_nodes

DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@given(st.uuids(), st.sampled_from(["ovirt://", "ovirt:///", "ovirt-cloud-provider://", ""]))
def test_ids_round_trip_in_every_form_and_case(uuid: object, form: str) -> None:
    text = f"{form}{uuid}"
    assert parse_provider_id(text) == parse_provider_id(text.upper()) == str(uuid)
    assert parse_provider_id(provider_id(str(uuid).upper())) == str(uuid)


@given(st.text())
def test_whatever_is_read_as_an_id_is_written_and_read_the_same(text: str) -> None:
    read = parse_provider_id(text)
    assert read is None or parse_provider_id(provider_id(read)) == read


@given(st.text(max_size=64))
def test_every_node_name_is_one_and_stays_itself(name: str) -> None:
    given_name = node_name(instance(name)).name
    if given_name is not None:
        assert DNS_1123.fullmatch(given_name)
        assert len(given_name) <= 253
        assert node_name(instance(given_name)).name == given_name


@given(before=directories(), now=directories(), match_fqdn=st.booleans())
def test_a_renewed_directory_is_what_one_built_anew_would_be(
    before: Directory, now: Directory, *, match_fqdn: bool
) -> None:
    engines = {"east": "", "west": "down"}
    ids = before.by_id.keys() | now.by_id.keys()
    changed = [one for one in ids if before.by_id.get(one) != now.by_id.get(one)]
    told = now.snapshots.values(), engines
    old = directory(before.snapshots.values(), engines, match_fqdn=match_fqdn)
    anew = directory(*told, match_fqdn=match_fqdn)

    assert renewed(old, *told, changed, match_fqdn=match_fqdn) == anew


@given(nodes, directories(), configs())
def test_only_a_node_with_one_certain_instance_is_ever_planned_for(
    node: Node, directory: Directory, config: Config
) -> None:
    decision = decide(node, directory, config)
    assert isinstance(decision.match, Found) or decision.plan.patch is None


@given(nodes, directories())
def test_an_unreadable_instance_or_a_silent_engine_never_makes_a_node_absent(
    node: Node, directory: Directory
) -> None:
    if isinstance(find_instance(node, directory), Absent):
        recorded = node.annotations.get(ANNOTATION_ENGINE)
        assert recorded in directory.engine_ids or not directory.silent
        claimed = parse_provider_id(node.provider_id) or node.system_uuid.lower()
        known = directory.by_id.get(claimed, ())
        assert not any(isinstance(one, Unreadable) for one in known)


@given(pointing_nodes, close_directories)
def test_a_found_instance_fits_every_rule_that_fits_any(node: Node, directory: Directory) -> None:
    match = find_instance(node, directory)
    if isinstance(match, Found):
        fitting = (
            directory.by_id.get(node.provider_id, ()),
            directory.by_id.get(node.system_uuid, ()),
            directory.by_name.get(node.name, ()),
        )
        assert all(match.instance in candidates for candidates in fitting if candidates)


@given(nodes, directories())
def test_a_match_outlives_the_writing_of_the_provider_id(node: Node, directory: Directory) -> None:
    before = decide(node, directory, config())
    if isinstance(before.match, Found) and before.plan.patch:
        after = decide(apply(node, before.plan.patch), directory, config())
        assert isinstance(after.match, Found)
        assert after.match.instance is before.match.instance
        assert after.plan.patch is None
