from __future__ import annotations

import pytest

from provider.config import Selection
from provider.model import Cluster, Tag
from provider.ovirt.selection import is_selected, search_one, search_text
from tests.builders import instance, uuid_of


def test_the_search_has_a_star_a_direction_and_a_page() -> None:
    text = search_text(Selection(tag="docker-host"), 3)

    assert text == "tag=docker-host and name=* sortby name asc page 3"


def test_the_configured_search_is_joined_by_a_blank() -> None:
    text = search_text(Selection(search="name=a* or os=rhel*"), 1)

    assert text == "tag=docker-host and name=* name=a* or os=rhel* sortby name asc page 1"


def test_the_search_for_one_vm_only_narrows() -> None:
    vm_id = uuid_of("w1")

    text = search_one(Selection(search="os=rhel*"), vm_id)

    assert text == f"id={vm_id} and tag=docker-host and name=* os=rhel*"


def test_a_tag_below_the_selected_one_counts() -> None:
    gpu = instance(tags=frozenset({Tag("gpu", "docker-host"), Tag("docker-host")}))

    assert is_selected(gpu, Selection(tag="docker-host"))


def test_a_tag_above_the_selected_one_does_not_count() -> None:
    parent = instance(tags=frozenset({Tag("docker-host")}))

    assert not is_selected(parent, Selection(tag="gpu"))


@pytest.mark.parametrize(
    ("selection", "is_in"),
    [
        ({"clusters": ["blue"]}, True),
        ({"clusters": ["red", "blue"], "data_centers": ["paris"]}, True),
        ({"clusters": ["red"]}, False),
        ({"data_centers": ["rome"]}, False),
        ({"clusters": ["blue"], "data_centers": ["rome"]}, False),
    ],
)
def test_cluster_and_data_centre_narrow(selection: dict[str, list[str]], is_in: bool) -> None:  # noqa: FBT001
    vm = instance(cluster=Cluster("blue", "paris"))

    assert is_selected(vm, Selection(**selection)) is is_in


def test_a_vm_without_cluster_is_in_none() -> None:
    assert not is_selected(instance(cluster=None), Selection(clusters=("blue",)))
    assert not is_selected(instance(cluster=None), Selection(data_centers=("paris",)))
