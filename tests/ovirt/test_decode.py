from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from provider.model import Cluster, Instance, InstanceStatus, Interface, Nic, Tag, Unreadable
from provider.ovirt import wire
from provider.ovirt.decode import Decoder, properties_of
from provider.ovirt.topology import Topology
from tests.builders import uuid_of
from tests.ovirt.recordings import FOLLOWED_LIST, body, decoder, topology


def recorded() -> dict[str, Instance]:
    one = decoder()
    found = [one.instance(vm) for vm in wire.read_page("east", body(FOLLOWED_LIST))]
    return {instance.name: instance for instance in found if isinstance(instance, Instance)}


def decode(**members: Any) -> Instance | Unreadable:
    whole = {"id": uuid_of("w1"), "name": "w1", "nics": {}, "tags": {}, "reported_devices": {}}
    text = msgspec.json.encode(whole | members)
    return decoder().instance(wire.read_vm("east", text))


def decoded(**members: Any) -> Instance:
    instance = decode(**members)
    assert isinstance(instance, Instance)
    return instance


def bare(name: str, **members: Any) -> wire.Vm:
    empty = {"nics": wire.Nics(), "tags": wire.Tags(), "reported_devices": wire.Devices()}
    return wire.Vm(id=uuid_of(name), name=name, **(empty | members))


def test_a_recorded_vm_is_joined_with_its_surroundings() -> None:
    vm = recorded()["st-emptyprofile"]

    assert vm == Instance(
        id="a422a339-00cc-4f66-8230-d92aba80751b",
        name="st-emptyprofile",
        engine="east",
        engine_id="the-engine",
        status=InstanceStatus.UNKNOWN,
        cluster=Cluster("workers", "Default"),
        host="hv-a1",
        tags=frozenset({Tag("docker-host")}),
        cpus=2,
        memory=2147483648,
        fqdn="st-emptyprofile.example.com",
        started=datetime(2026, 11, 20, 8, tzinfo=UTC),
        nics=(Nic("nic1", "56:6f:1a:1a:00:50"),),
        interfaces=(
            Interface(
                "eth0",
                "56:6f:1a:1a:00:50",
                (
                    ip_address("10.8.0.69"),
                    ip_address("2001:db8:8::45"),
                    ip_address("fe80::546f:1aff:fe1a:50"),
                ),
            ),
        ),
    )


def test_a_recorded_vm_with_an_illegal_image_has_no_status() -> None:
    assert recorded()["st-illegal"].status is None


def test_a_recorded_vm_that_is_down_has_no_host_and_no_addresses() -> None:
    vm = recorded()["st-down"]

    assert (vm.status, vm.host, vm.started, vm.interfaces) == (
        InstanceStatus.DOWN,
        None,
        None,
        (),
    )
    assert vm.nics == (Nic("nic1", "56:6f:1a:1a:00:34"),)


def test_a_recorded_custom_property_is_read_and_without_any_there_are_none() -> None:
    page = wire.read_page("east", body("025-vms-search-tag.json"))
    properties = {
        vm.name: properties_of(vm.custom_properties) for vm in page if isinstance(vm, wire.Vm)
    }

    assert properties["master-1"] == (("hugepages", "2048"),)
    assert properties["master-0"] == ()


def test_custom_properties_are_in_the_order_of_their_names() -> None:
    pairs = [{"name": "b", "value": "1", "regexp": ".*"}, {"name": "a"}]
    vm = decoded(custom_properties={"custom_property": pairs})

    assert vm.properties == (("a", ""), ("b", "1"))
    assert decoded(custom_properties={}).properties == ()


def test_an_id_is_read_in_lower_case() -> None:
    assert decoded(id=uuid_of("w1").upper()).id == uuid_of("w1")


def test_a_status_that_is_not_known_here_is_undecidable() -> None:
    assert decoded(status="hibernating").status is None


@pytest.mark.parametrize(
    "value", [1795161600000, "1795161600000", "2026-11-20T08:00:00.000Z", "2026-11-20T08:00:00"]
)
def test_a_start_is_read_from_milliseconds_and_from_text(value: int | str) -> None:
    assert decoded(start_time=value).started == datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize("value", ["yesterday", 10**20, "²"])
def test_a_start_that_is_none_makes_the_vm_unreadable(value: int | str) -> None:
    vm = decode(start_time=value)

    assert isinstance(vm, Unreadable)
    assert vm.name == "w1"


@pytest.mark.parametrize("member", ["name", "nics", "tags", "reported_devices"])
def test_what_was_not_sent_is_not_taken_for_nothing(member: str) -> None:
    vm = decode(**{member: None}) if member != "name" else decode(name="")

    assert isinstance(vm, Unreadable)
    assert "comes without" in vm.reason


def test_what_is_unreadable_stays_so() -> None:
    odd = Unreadable(uuid_of("odd"), "odd", "no reason")

    assert decoder().instance(odd) is odd


def test_devices_inside_of_cards_are_read_as_engines_before_4_4_2_send_them() -> None:
    mac = {"address": "00:1A:4A:16:01:0E"}
    device = {"name": "eth0", "mac": mac, "ips": {"ip": [{"address": "10.8.0.5"}]}}
    card = {"name": "nic3", "mac": mac, "reported_devices": {"reported_device": [device]}}

    vm = decoded(nics={"nic": [card]})

    assert vm.nics == (Nic("nic3", "00:1a:4a:16:01:0e"),)
    assert vm.interfaces == (Interface("eth0", "00:1a:4a:16:01:0e", (ip_address("10.8.0.5"),)),)


def test_nonsense_that_a_guest_reports_is_left_out() -> None:
    texts = ["10.0.0.1", "10.0.0.300", "", "fe80::1%eth0", "not::an::ip", "1.2"]
    device = {"name": "eth0", "ips": {"ip": [{"address": text} for text in texts]}}

    (interface,) = decoded(reported_devices={"reported_device": [device]}).interfaces

    assert interface == Interface("eth0", None, (ip_address("10.0.0.1"), ip_address("fe80::1")))


def test_the_tags_of_a_vm_come_with_all_tags_above_them() -> None:
    attached = {"id": "7567e011-34ba-441e-84d2-af063954328a", "name": "docker-host-gpu-a100"}
    other = {"id": "cadb9cb7-8e82-41ab-8183-fbba4063ecac", "name": "tag.dot"}

    tags = decoded(tags={"tag": [attached, other]}).tags

    assert {tag.name for tag in tags} == {
        "docker-host",
        "docker-host-gpu",
        "docker-host-gpu-a100",
        "tag.dot",
    }


def test_a_tag_newer_than_the_topology_hangs_below_its_parent() -> None:
    parent = {"id": "7567e011-34ba-441e-84d2-af063954328a"}
    attached = {"id": uuid_of("tag"), "name": "new", "parent": parent}

    tags = decoded(tags={"tag": [attached]}).tags

    assert Tag("new", "docker-host-gpu-a100") in tags
    assert Tag("docker-host") in tags


def test_references_that_are_not_known_are_none() -> None:
    vm = decoded(cluster={"id": "?"}, host={"id": "?"}, instance_type={"id": "?"}, cpu={}, fqdn="")

    assert (vm.cluster, vm.host, vm.instance_type, vm.cpus, vm.fqdn) == (None, None, None, 0, None)


def test_an_unchanged_vm_stays_the_same_object_and_a_changed_one_does_not() -> None:
    one = decoder()
    first = one.instance(bare("w1"))

    assert one.instance(bare("w1")) is first
    assert one.instance(bare("w1", fqdn="w1.example.com")) is not first


def test_another_order_keeps_the_same_object() -> None:
    devices = [wire.Device("eth0"), wire.Device("eth1")]
    one = decoder()
    first = one.instance(bare("w1", reported_devices=wire.Devices(devices)))

    assert one.instance(bare("w1", reported_devices=wire.Devices(devices[::-1]))) is first


def test_a_renamed_cluster_is_seen_on_vms_that_did_not_change() -> None:
    vm = bare("w1", cluster=wire.Ref("c"))
    one = Decoder("east")
    one.use("id", Topology(clusters={"c": Cluster("blue")}))
    one.instance(vm)

    one.use("id", Topology(clusters={"c": Cluster("green")}))
    after = one.instance(vm)

    assert isinstance(after, Instance)
    assert after.cluster == Cluster("green")


def test_another_order_of_interfaces_and_addresses_is_no_change() -> None:
    devices = [
        {"name": name, "ips": {"ip": [{"address": f"10.0.{n}.1"}, {"address": f"fd00::{n}"}]}}
        for n, name in enumerate(("eth0", "eth1"))
    ]
    turned = [{**device, "ips": {"ip": device["ips"]["ip"][::-1]}} for device in devices[::-1]]  # type: ignore[index]

    assert decoded(reported_devices={"reported_device": devices}) == decoded(
        reported_devices={"reported_device": turned}
    )


def test_it_forgets_what_is_no_longer_listed() -> None:
    one = decoder()
    for vm in wire.read_page("east", body(FOLLOWED_LIST)):
        one.instance(vm)

    one.keep({"a422a339-00cc-4f66-8230-d92aba80751b"})

    assert len(one._known) == 1


def test_the_recorded_topology_is_whole() -> None:
    assert len(topology().clusters) == 5
    assert topology().clusters["21b91b65-cdf8-402c-ac57-1feb293dc5d3"].data_center == "dc-east"
    assert "Small" in topology().instance_types.values()
