import re

from hypothesis import assume, given
from hypothesis import strategies as st

from provider.config import Config
from provider.decisions.labels import label_value
from provider.decisions.metadata import describe
from provider.model import Instance
from tests.builders import snapshot
from tests.laws.strategies import configs, instances

VALID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NAMES = st.one_of(
    st.text(max_size=70),
    st.text("aB.-_ é0", max_size=8),
    st.builds("{}-{}".format, st.text("ab ", max_size=2), st.text("0123456789abcdef", max_size=7)),
)


@given(st.lists(NAMES, min_size=1, max_size=2))
def test_every_label_value_is_valid(parts: list[str]) -> None:
    assert VALID.fullmatch(label_value(*parts).text)


@given(NAMES, NAMES)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assume(one != other)
    assert label_value(one).text != label_value(other).text


@given(NAMES)
def test_no_name_becomes_what_another_was_changed_to(name: str) -> None:
    value = label_value(name)
    assume(value.is_changed)
    assert label_value(value.text).text != value.text


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_joins_never_become_one(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume(one != other)
    assert label_value(*one).text != label_value(*other).text


@given(st.lists(st.sampled_from("ab"), min_size=3, max_size=5), st.data())
def test_joins_that_read_alike_never_become_one(words: list[str], data: st.DataObject) -> None:
    cuts = st.integers(1, len(words) - 1)
    one, other = data.draw(cuts), data.draw(cuts)
    assume(one != other)
    joins = ((".".join(words[:cut]), ".".join(words[cut:])) for cut in (one, other))
    first, second = (label_value(*parts) for parts in joins)
    assert first.text != second.text


@given(NAMES)
def test_a_value_that_is_not_changed_is_the_name(name: str) -> None:
    value = label_value(name)
    assert value.is_changed == (value.text != name)


@given(instances, configs())
def test_every_label_of_every_instance_is_valid_and_a_change_is_said(
    instance: Instance, config: Config
) -> None:
    found = describe(instance, snapshot(instance), config)
    labels = {**found.labels, **found.wanted.labels}
    assert all(VALID.fullmatch(value) for value in labels.values())
    assert found.label_notices.keys() <= labels.keys()
