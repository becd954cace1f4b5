"""The shipped RBAC grants what the program needs, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provider.kube.rights import NEEDED, Right

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE = Path(__file__).parents[2] / "manifests/rbac.yaml"
_NAME = "ovirt-cloud-controller-manager"
_OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(_FILE.read_text("utf-8")))


def one(kind: str) -> dict[str, Any]:
    """The only object of this kind."""
    (found,) = (item for item in _OBJECTS if item["kind"] == kind)
    return found


def granted(role: dict[str, Any]) -> Iterator[Right]:
    """Each right that a Role or ClusterRole grants."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    for verb in rule["verbs"]:
                        namespace = role["metadata"].get("namespace", "")
                        yield Right(verb, resource, group, namespace, name)


def test_every_right_is_granted_once_and_no_other() -> None:
    rights = [*granted(one("ClusterRole")), *granted(one("Role"))]

    assert len(rights) == len(set(rights))
    assert set(rights) == set(NEEDED)


def test_no_rule_has_a_wildcard_or_grants_anything_about_secrets() -> None:
    for role in (one("ClusterRole"), one("Role")):
        for rule in role["rules"]:
            assert rule.keys() <= {"apiGroups", "resources", "resourceNames", "verbs"}
            assert not {"*", "secrets"} & {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_a_role_is_bound_to_the_service_account_alone(kind: str) -> None:
    account, binding = one("ServiceAccount")["metadata"], one(f"{kind}Binding")

    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": kind,
        "name": one(kind)["metadata"]["name"],
    }
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]


def test_the_lease_is_in_kube_system_whatever_the_namespace_of_the_pods() -> None:
    namespaces = {one(kind)["metadata"]["namespace"] for kind in ("Role", "RoleBinding")}

    assert namespaces == {"kube-system"}
    assert {item["metadata"]["name"] for item in _OBJECTS} == {_NAME}
