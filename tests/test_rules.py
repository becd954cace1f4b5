"""Rules in the configuration file: their forms, and what their errors say."""

from typing import Any

import pytest
from pydantic import ValidationError

from provider.rules import Rule, may_label, may_taint


def problem(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Rule(**keys)
    return " ".join(error["msg"] for error in caught.value.errors())


def test_a_rule_of_a_tag_gives_labels_and_taints() -> None:
    rule = Rule(tag="gpu", labels={"example.com/gpu": "yes"}, taints=("gpu=yes:NoSchedule",))

    assert rule.labels == {"example.com/gpu": "yes"}
    assert rule.parsed_taints == (("gpu", "yes", "NoSchedule"),)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (Rule(tag="gpu", labels={"gpu": "yes"}), "tag gpu"),
        (Rule(custom_property="rack", label="rack"), "custom property rack"),
        (
            Rule(custom_property="disk", value="ssd", taints=("ssd:NoExecute",)),
            "custom property disk=ssd",
        ),
    ],
)
def test_a_rule_is_named_by_what_it_looks_at(rule: Rule, name: str) -> None:
    assert str(rule) == name


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"labels": {"a": "b"}}, "give it one of them"),
        ({"tag": "t", "custom_property": "p", "labels": {"a": "b"}}, "give it one of them"),
        ({"tag": "t", "label": "a"}, "a tag has no value"),
        ({"tag": "t", "value": "v", "labels": {"a": "b"}}, "a tag has no value"),
        ({"tag": "t"}, "it does nothing: give it labels, taints or label"),
        ({"custom_property": "", "label": "a"}, "at least 1 character"),
        ({"tag": "t", "taints": ["a=b"]}, "write key=value:Effect"),
        ({"tag": "t", "labels": {"a b": "c"}}, "no valid label key"),
        ({"tag": "t", "labels": {"a": "c d"}}, "no valid label value"),
    ],
)
def test_a_rule_that_is_none_says_what_is_missing(keys: dict[str, Any], said: str) -> None:
    assert said in problem(**keys)


@pytest.mark.parametrize(
    "key",
    ["gpu", "example.com/gpu", "mykubernetes.io/x", "node-role.kubernetes.io/worker"],
)
def test_a_key_that_nobody_else_writes_is_free(key: str) -> None:
    Rule(tag="t", labels={key: "a"}, taints=(f"{key}:NoSchedule",))
    Rule(custom_property="p", label=key)


@pytest.mark.parametrize(
    "key",
    [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "beta.kubernetes.io/arch",
        "node.cloudprovider.kubernetes.io/shutdown",
        "x.k8s.io/y",
    ],
)
def test_a_key_of_kubernetes_is_refused_and_the_remedy_said(key: str) -> None:
    for keys in ({"labels": {key: "a"}}, {"taints": [f"{key}:NoSchedule"]}):
        assert "belongs to Kubernetes: use a domain of your own" in problem(tag="t", **keys)
    assert "belongs to Kubernetes" in problem(custom_property="p", label=key)


@pytest.mark.parametrize("key", ["ccm.ovirt.org/host", "node.kubernetes.io/instance-type"])
def test_a_key_that_the_program_writes_is_refused(key: str) -> None:
    assert "written by this program itself" in problem(tag="t", labels={key: "a"})


def test_of_node_kubernetes_io_the_labels_are_free_and_the_taints_are_not() -> None:
    assert may_label("node.kubernetes.io/exclude-from-external-load-balancers")
    assert not may_taint("node.kubernetes.io/out-of-service")
