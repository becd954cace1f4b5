"""README.md says what the code says."""

import re

from provider.metrics import Metrics
from provider.reasons import MEANINGS, Reason
from tests.readme import README, render


def test_the_tables_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")

    assert render(text) == text, "run `python -m tests.readme`"


def test_the_table_of_metrics_lacks_no_series_of_ours() -> None:
    text = README.read_text("utf-8")
    exposition = Metrics().render().decode()
    series = re.findall(
        r"^# TYPE ((?:ovirt_ccm|leader_election)_\w+?)(?<!_created) ", exposition, re.M
    )

    assert "ovirt_ccm_build_info" in series
    assert [name for name in series if f"`{name}`" not in text] == []


def test_each_reason_has_a_meaning_and_is_used() -> None:
    sources = [path.read_text("utf-8") for path in README.parent.glob("provider/*/*.py")]

    assert set(MEANINGS) == set(Reason)
    used = {name for source in sources for name in re.findall(r"Reason\.([A-Z_]+)", source)}
    assert used == {reason.name for reason in Reason}
