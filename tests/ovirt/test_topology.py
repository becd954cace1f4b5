from __future__ import annotations

import pytest

from provider.errors import ReplyUnusable
from provider.model import Cluster, Tag
from provider.ovirt.topology import ROOT_TAG, join_clusters, join_tags
from provider.ovirt.wire import Named, Ref, WireCluster, WireTag

ROOT = WireTag(ROOT_TAG, "root")


def cluster(name: str, center: str | None) -> WireCluster:
    return WireCluster(f"{center}/{name}", name, Ref(center) if center else None)


def clusters(*found: WireCluster) -> dict[str, Cluster]:
    return join_clusters(list(found), [Named("p", "paris"), Named("r", "rome")])


def test_equal_names_in_two_data_centres_are_ambiguous_for_both() -> None:
    found = clusters(cluster("blue", "p"), cluster("blue", "r"), cluster("red", "p"))

    assert found == {
        "p/blue": Cluster("blue", "paris", has_unique_name=False),
        "r/blue": Cluster("blue", "rome", has_unique_name=False),
        "p/red": Cluster("red", "paris"),
    }


def test_a_name_that_looks_like_the_long_name_of_another_is_ambiguous() -> None:
    found = clusters(cluster("blue", "p"), cluster("paris.blue", "r"))

    assert not any(one.has_unique_name for one in found.values())


def test_a_cluster_may_have_lost_its_data_centre() -> None:
    assert clusters(cluster("blue", None)) == {"None/blue": Cluster("blue")}


def test_a_tag_comes_with_its_ancestors_but_the_root() -> None:
    tags = [
        WireTag("3", "a100", Ref("2")),
        ROOT,
        WireTag("2", "gpu", Ref("1")),
        WireTag("1", "docker-host", Ref(ROOT_TAG)),
    ]

    found = join_tags("east", tags)

    assert found["3"] == {Tag("a100", "gpu"), Tag("gpu", "docker-host"), Tag("docker-host")}
    assert found["1"] == {Tag("docker-host")}
    assert ROOT_TAG not in found


def test_tags_that_are_each_others_parents_end() -> None:
    tags = [WireTag("1", "egg", Ref("2")), WireTag("2", "hen", Ref("1"))]

    assert join_tags("east", tags)["1"] == {Tag("egg", "hen"), Tag("hen", "egg")}


def test_a_tag_whose_parent_is_not_listed_stands_on_top() -> None:
    assert join_tags("east", [WireTag("1", "gpu", Ref("9"))])["1"] == {Tag("gpu")}


def test_a_tag_without_parent_makes_the_tags_unusable() -> None:
    with pytest.raises(ReplyUnusable, match="gpu has no parent"):
        join_tags("east", [ROOT, WireTag("1", "gpu")])
