"""The part of the configuration file that gives nodes labels and taints by their VM.

A module of its own, as what a rule may write is a matter of its own.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from provider.scalars import LabelKey, LabelValue, TagName, TaintText, split_taint
from provider.section import Section

# Domains below kubernetes.io that Kubernetes leaves to administrators: all others have a meaning
# of their own, which somebody else writes. The taints of node.kubernetes.io are its own too.
_FREE_FOR_TAINTS = ("node-restriction.kubernetes.io", "node-role.kubernetes.io")
_FREE_FOR_LABELS = ("node.kubernetes.io", *_FREE_FOR_TAINTS)
_KUBERNETES = ("kubernetes.io", "k8s.io")
_OURS = ("ccm.ovirt.org",)
_WRITTEN_ALREADY = frozenset({"node.kubernetes.io/instance-type"})


def may_label(key: str) -> bool:
    """Whether a rule may write this label: no other program gives it a meaning."""
    return not _objection(key, _FREE_FOR_LABELS)


def may_taint(key: str) -> bool:
    """Whether a rule may write taints with this key: no other program gives it a meaning."""
    return not _objection(key, _FREE_FOR_TAINTS)


def _objection(key: str, free: tuple[str, ...]) -> str:
    """Why no rule may write it; empty when one may."""
    domain = key.rpartition("/")[0]
    if _is_below(domain, _OURS) or key in _WRITTEN_ALREADY:
        return f"{key!r} is written by this program itself: use a domain of your own"
    if _is_below(domain, _KUBERNETES) and not _is_below(domain, free):
        return (
            f"{key!r} belongs to Kubernetes: use a domain of your own, such as example.com, or"
            f" one of {', '.join(free)}"
        )
    return ""


def _is_below(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _free_label(key: str) -> str:
    if objection := _objection(key, _FREE_FOR_LABELS):
        raise ValueError(objection)
    return key


def _free_taint(text: str) -> str:
    if objection := _objection(split_taint(text)[0], _FREE_FOR_TAINTS):
        raise ValueError(objection)
    return text


FreeLabel = Annotated[LabelKey, AfterValidator(_free_label)]
FreeTaint = Annotated[TaintText, AfterValidator(_free_taint)]


class Rule(Section):
    """Labels and taints for the nodes of some VMs."""

    tag: TagName | None = None
    """The rule is for VMs that carry this tag or one below it."""
    custom_property: str | None = Field(None, min_length=1)
    """Instead of `tag`: the rule is for VMs with this custom property, unless it is empty."""
    value: str | None = None
    """Only where the custom property has this value."""
    label: FreeLabel | None = None
    """Label that takes the value of the custom property."""
    labels: dict[FreeLabel, LabelValue] = Field({})
    """Labels of the nodes of these VMs."""
    taints: tuple[FreeTaint, ...] = ()
    """Taints of the nodes of these VMs, as `key=value:NoSchedule`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.tag is None) == (self.custom_property is None):
            raise ValueError("a rule has either tag or custom_property: give it one of them")
        if self.tag is not None and not (self.value is None and self.label is None):
            raise ValueError("value and label go with custom_property: a tag has no value")
        if not (self.label or self.labels or self.taints):
            raise ValueError("it does nothing: give it labels, taints or label")
        return self

    @property
    def parsed_taints(self) -> tuple[tuple[str, str | None, str], ...]:
        """Key, value (None without `=`) and effect of each taint."""
        return tuple(split_taint(taint) for taint in self.taints)

    def __str__(self) -> str:
        if self.tag is not None:
            return f"tag {self.tag}"
        value = "" if self.value is None else f"={self.value}"
        return f"custom property {self.custom_property}{value}"
