from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from provider.decisions.metadata import describe, freshness, zone_of
from provider.model import (
    LABEL_CLUSTER,
    LABEL_DATA_CENTER,
    LABEL_HOST,
    LABEL_INSTANCE_TYPE,
    LABEL_INSTANCE_TYPE_BETA,
    LABEL_REGION,
    LABEL_REGION_BETA,
    LABEL_ZONE,
    LABEL_ZONE_BETA,
    Cluster,
    Freshness,
    Instance,
    InstanceMetadata,
    InstanceStatus,
    Level,
    Tag,
)
from tests.builders import (
    ENGINE_ID,
    NOW,
    address,
    config,
    engine,
    instance,
    internal,
    snapshot,
    uuid_of,
)


def described(vm: Instance, **sections: Any) -> InstanceMetadata:
    return describe(vm, snapshot(vm), config(**sections))


def zone(vm: Instance, source: str) -> str | None:
    return described(vm, topology={"zone": source}).zone


# ---- type, zone, region ----------------------------------------------------------------------


def test_an_instance_is_described_whole() -> None:
    vm = instance("worker-1", ips=["10.0.0.1"])
    assert described(vm) == InstanceMetadata(
        provider_id=f"ovirt://{uuid_of('worker-1')}",
        engine_id=ENGINE_ID,
        instance_type="4cpu-8gb",
        zone="blue",
        region="east",
        addresses=internal("10.0.0.1"),
        freshness=Freshness.LIVE,
        labels={
            LABEL_INSTANCE_TYPE: "4cpu-8gb",
            LABEL_INSTANCE_TYPE_BETA: "4cpu-8gb",
            LABEL_ZONE: "blue",
            LABEL_ZONE_BETA: "blue",
            LABEL_REGION: "east",
            LABEL_REGION_BETA: "east",
            LABEL_HOST: "hv-1",
            LABEL_CLUSTER: "blue",
            LABEL_DATA_CENTER: "paris",
        },
    )


def test_what_is_not_known_has_no_label() -> None:
    vm = instance(cluster=None, host=None, cpus=0)
    assert set(described(vm).labels) == {LABEL_REGION, LABEL_REGION_BETA}


@pytest.mark.parametrize(
    ("facts", "instance_type"),
    [
        ({"instance_type": "Large"}, "Large"),
        ({"cpus": 2, "memory": 1536 << 20}, "2cpu-1.5gb"),
        ({"cpus": 64, "memory": 2048 << 30}, "64cpu-2048gb"),
        ({"memory": 0}, None),
    ],
)
def test_the_instance_type_is_the_engines_or_made_of_the_size(
    facts: dict[str, Any], instance_type: str | None
) -> None:
    assert described(instance(**facts)).instance_type == instance_type


@pytest.mark.parametrize(
    ("source", "expected"),
    [("cluster", "blue"), ("data_center", "paris"), ("host", "hv-1"), ("tag:rack", "rack-7")],
)
def test_the_zone_comes_from_where_the_configuration_says(source: str, expected: str) -> None:
    tags = frozenset({Tag("docker-host"), Tag("rack"), Tag("rack-7", parent="rack")})
    assert zone(instance(tags=tags), source) == expected


def test_equal_cluster_names_get_their_data_centre_in_the_zone_only() -> None:
    found = described(instance(cluster=Cluster("blue", "paris", has_unique_name=False)))
    assert found.zone == "paris.blue"
    assert found.labels[LABEL_CLUSTER] == "blue"


@pytest.mark.parametrize(
    ("cluster", "expected"), [(Cluster("blue", None, has_unique_name=False), "blue"), (None, None)]
)
def test_a_cluster_without_data_centre_is_its_own_zone(
    cluster: Cluster | None, expected: str | None
) -> None:
    assert zone(instance(cluster=cluster), "cluster") == expected


@pytest.mark.parametrize("source", ["cluster", "data_center", "host", "tag:rack"])
@pytest.mark.parametrize("status", [InstanceStatus.UP, InstanceStatus.MIGRATING])
def test_the_zone_alone_is_the_zone_of_the_description(
    source: str, status: InstanceStatus
) -> None:
    vm = instance(status=status, cluster=Cluster("Süd 1", "paris", has_unique_name=False))
    assert zone_of(vm, config(topology={"zone": source})) == zone(vm, source)


@pytest.mark.parametrize("names", [[], ["rack-7", "rack-8"]])
def test_a_zone_that_the_tags_do_not_tell_is_said(names: list[str]) -> None:
    vm = instance(tags=frozenset(Tag(name, parent="rack") for name in names))
    found = described(vm, topology={"zone": "tag:rack"})
    assert found.zone is None
    assert LABEL_ZONE not in found.labels
    [notice] = found.notices
    assert (notice.level, notice.reason) == (Level.WARNING, "ZoneUnknown")


@pytest.mark.parametrize(
    ("vm", "source", "region"),
    [
        (instance(engine="west"), "engine", "the-west"),
        (instance(engine="north"), "engine", None),
        (instance(), "data_center", "paris"),
        (instance(cluster=None), "data_center", None),
    ],
)
def test_the_region_is_the_engines_or_the_data_centre(
    vm: Instance, source: str, region: str | None
) -> None:
    engines = [engine("east"), engine("west", region="the-west")]
    assert described(vm, engines=engines, topology={"region": source}).region == region


def test_a_changed_value_is_said_for_each_label_that_carries_it() -> None:
    found = described(instance(cluster=Cluster("Süd 1", "paris")))
    assert found.label_notices.keys() == {LABEL_ZONE, LABEL_ZONE_BETA, LABEL_CLUSTER}
    notice = found.label_notices[LABEL_ZONE]
    assert (notice.level, notice.reason) == (Level.NORMAL, "LabelValueChanged")
    assert "'Süd 1'" in notice.message
    assert repr(found.zone) in notice.message


def test_the_host_is_left_as_it_is_while_the_instance_migrates() -> None:
    vm = instance(status=InstanceStatus.MIGRATING)
    found = described(vm, topology={"zone": "host"})
    assert found.is_migrating
    assert found.zone is None
    assert not found.labels.keys() & {LABEL_HOST, LABEL_ZONE}


def test_addresses_follow_the_configuration_and_the_snapshot() -> None:
    vm = instance(ips=["10.0.0.1", "10.0.0.9", "203.0.113.7"])
    shared = frozenset(ip for ip in vm.interfaces[0].addresses if str(ip) == "10.0.0.9")
    policy = config(addresses={"external": ["203.0.113.0/24"]})
    found = describe(vm, snapshot(vm, shared_addresses=shared), policy)
    assert found.addresses == (*internal("10.0.0.1"), address("external", "203.0.113.7"))


# ---- freshness -------------------------------------------------------------------------------

GRACE = timedelta(minutes=3)
MUTE = instance(interfaces=())


@pytest.mark.parametrize(
    ("vm", "expected"),
    [
        (instance(), Freshness.LIVE),
        (replace(MUTE, fqdn="worker-1"), Freshness.LIVE),
        (replace(MUTE, started=NOW - GRACE), Freshness.OVERDUE),
        (replace(MUTE, started=NOW - GRACE + timedelta(seconds=1)), Freshness.SILENT),
        (replace(MUTE, started=None), Freshness.SILENT),
        (replace(MUTE, status=InstanceStatus.POWERING_UP), Freshness.SILENT),
        (instance(status=InstanceStatus.REBOOT_IN_PROGRESS), Freshness.STALE),
        (instance(status=InstanceStatus.UNKNOWN), Freshness.STALE),
        (instance(status=InstanceStatus.MIGRATING), Freshness.STALE),
        (replace(MUTE, status=InstanceStatus.DOWN), Freshness.STALE),
        (instance(status=None), Freshness.STALE),
    ],
)
def test_addresses_are_trusted_as_far_as_the_guest_can_be_asked(
    vm: Instance, expected: Freshness
) -> None:
    assert freshness(vm, NOW, GRACE) is expected
