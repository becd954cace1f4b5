"""What is scraped is what was counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from provider.metrics import Metrics

DURATION = "ovirt_ccm_http_request_duration_seconds"
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(min_value=0, max_value=10)))
def test_durations_are_scraped_as_those_of_the_library_are(seconds: list[float]) -> None:
    ours, registry = Metrics(), CollectorRegistry()
    theirs = Histogram(DURATION, "", buckets=BOUNDS, registry=registry)

    for one in seconds:
        ours.http_requests.count("/a", 200, one)
        theirs.observe(one)

    for bound in (*map(float, BOUNDS), "+Inf"):
        name, bucket = f"{DURATION}_bucket", {"le": str(bound)}
        found = ours.registry.get_sample_value(name, {"route": "/a"} | bucket) or 0
        assert found == registry.get_sample_value(name, bucket)
    for name in (f"{DURATION}_sum", f"{DURATION}_count"):
        found = ours.registry.get_sample_value(name, {"route": "/a"}) or 0
        assert found == registry.get_sample_value(name)


def test_requests_are_counted_by_route_and_status_also_those_whose_time_says_nothing() -> None:
    metrics = Metrics()

    for code, seconds in ((200, 0.1), (200, None), (404, 0.1)):
        metrics.http_requests.count("/a", code, seconds)

    def count(code: str) -> float | None:
        labels = {"route": "/a", "code": code}
        return metrics.registry.get_sample_value("ovirt_ccm_http_requests_total", labels)

    assert (count("200"), count("404")) == (2, 1)
    assert metrics.registry.get_sample_value(f"{DURATION}_count", {"route": "/a"}) == 2
