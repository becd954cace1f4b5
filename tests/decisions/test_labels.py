import pytest

from provider.decisions.labels import LabelValue, label_value


@pytest.mark.parametrize(
    "parts",
    [("blue",), ("Prod_2.east",), ("a",), ("x" * 63,), ("paris", "blue"), ("made-facades",)],
)
def test_a_valid_name_is_its_own_value(parts: tuple[str, ...]) -> None:
    assert label_value(*parts) == LabelValue(".".join(parts), is_changed=False)


@pytest.mark.parametrize(
    ("parts", "stem"),
    [
        (("Rechenzentrum Süd",), "Rechenzentrum-S-d"),
        (("_blue_",), "blue"),
        (("x" * 64,), "x" * 56),
        (("x" * 55 + "-" + "y" * 9,), "x" * 55),
        (("узел",), "x"),
        (("",), "x"),
        (("paris.1", "blue"), "paris.1.blue"),
        (("paris", "1.blue"), "paris.1.blue"),
        (("blue-0a1b2c",), "blue-0a1b2c"),
    ],
)
def test_any_other_name_gets_a_hash(parts: tuple[str, ...], stem: str) -> None:
    value = label_value(*parts)
    assert value.is_changed
    assert value.text[:-7] == stem
    assert value.text[-7] == "-"
    assert int(value.text[-6:], 16) >= 0


def test_the_same_name_has_the_same_value_in_every_release() -> None:
    assert label_value("Rechenzentrum Süd").text == "Rechenzentrum-S-d-f646ec"


def test_joined_parts_that_read_alike_have_different_values() -> None:
    assert label_value("a.b", "c") != label_value("a", "b.c")
