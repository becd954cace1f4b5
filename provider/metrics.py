"""Every Prometheus series of the program, on one object that is passed in.

Names start with `ovirt_ccm_`, but for those that every controller of Kubernetes has. No label has
values without bound: no node, no VM, no path.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import defaultdict
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FROM_MEMORY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_MINUTES = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """All series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._engine_series()
        self._node_series()
        self._lifecycle_series()
        self._api_series()
        self._leader_series()
        self._server_series()
        self.reload_failing = self._gauge(
            "reload_failing",
            "Whether a changed file cannot be used and what it held before is at work; file is"
            " configuration, ca_file, password_file, kubernetes_access, kubernetes_token or"
            " serving_certificate.",
            "file",
            "engine",
        )
        self.build_info = self._gauge(
            "build_info", "Always 1; the versions as labels.", "version", "python"
        )
        self.build_info.labels(version("cloud-provider-ovirt"), platform.python_version()).set(1)

    def render(self) -> bytes:
        """The exposition text of all series, format 0.0.4."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ovirt_ccm_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"ovirt_ccm_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(
            f"ovirt_ccm_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def _engine_series(self) -> None:
        self.engine_requests = self._counter(
            "engine_requests_total",
            "Requests to an engine by verb (login, list_vms, read_vm, hosts, ...) and result.",
            "engine",
            "verb",
            "result",
        )
        self.engine_request_duration = self._histogram(
            "engine_request_duration_seconds",
            "Time until an engine's whole answer was there.",
            "engine",
            "verb",
        )
        self.engine_events = self._counter(
            "engine_events_total",
            "Events read from an engine's log, by what they concern: vm, new_vm, removed_vm, host,"
            " listing, nothing, unknown.",
            "engine",
            "concern",
        )
        self.engine_up = self._gauge(
            "engine_up", "Whether the last listing of an engine succeeded.", "engine"
        )
        self.snapshot_age = self._gauge(
            "snapshot_age_seconds", "Age of what is known of an engine.", "engine"
        )
        self.snapshot_duration = self._histogram(
            "snapshot_duration_seconds", "Time that a complete listing took.", "engine"
        )
        self.snapshots_rejected = self._counter(
            "snapshots_rejected_total",
            "Listings that were not published, by reason.",
            "engine",
            "reason",
        )
        self.instances = self._gauge(
            "instances", "Selected VMs by zone and status.", "engine", "zone", "status"
        )
        self.instances_unreadable = self._gauge(
            "instances_unreadable", "Selected VMs that could not be understood.", "engine"
        )

    def _node_series(self) -> None:
        self.nodes = self._gauge(
            "nodes", "Nodes by state: initialised, uninitialised, ambiguous, unmatched.", "state"
        )
        self.oldest_uninitialised = self._gauge(
            "oldest_uninitialised_node_seconds",
            "Age of the oldest Node that waits to be initialised; 0 when none does.",
        )
        self.reconciles = self._counter(
            "reconciles_total",
            "Nodes looked at, by result: unchanged, written, waiting, refused, conflict, error.",
            "result",
        )
        self.reconcile_duration = self._histogram(
            "reconcile_duration_seconds", "Time that looking at one node took, writes included."
        )
        self.queue_depth = self._gauge("queue_depth", "Nodes that wait to be looked at.")
        self.queue_delay = self._histogram(
            "queue_delay_seconds", "Time between a node being due and being looked at."
        )
        self.initialisation_delay = self._histogram(
            "node_initialisation_delay_seconds",
            "Time between the creation of a Node and the removal of its uninitialized taint.",
            buckets=_MINUTES,
        )
        self.registrations = self._counter(
            "registrations_total",
            "Nodes registered for VMs, by result: created, exists, refused, failed.",
            "result",
        )
        _begin(self.registrations, "created", "exists", "refused", "failed")
        self.events = self._counter(
            "events_total", "Events sent on nodes, by reason.", "type", "reason"
        )
        self.events_dropped = self._counter(
            "events_dropped_total",
            "Events that were never sent, by cause: queue_full, refused, unavailable.",
            "cause",
        )

    def _lifecycle_series(self) -> None:
        self.verdicts = self._gauge(
            "lifecycle_nodes",
            "Nodes that are not ready or marked so, by verdict: keep, wait, ask, hold, delete,"
            " mark, unmark.",
            "verdict",
        )
        self.marks = self._counter(
            "lifecycle_marks_total",
            "Taints written, by taint (shutdown, out-of-service) and action (add, remove).",
            "taint",
            "action",
        )
        self.deletions = self._counter(
            "deletions_total",
            "Nodes whose VM is gone, by result: deleted, dry_run, held, unproven, failed.",
            "result",
        )
        _begin(self.deletions, "deleted", "dry_run", "held", "unproven", "failed")
        self.deletions_latched = self._gauge(
            "deletions_latched", "Whether the budget is exceeded and nothing more is deleted."
        )

    def _api_series(self) -> None:
        self.api_requests = self._counter(
            "api_requests_total",
            "Requests to the API server; code is the HTTP status or `error`.",
            "verb",
            "resource",
            "code",
        )
        self.api_request_duration = self._histogram(
            "api_request_duration_seconds",
            "Time until the API server's whole answer was there; watches are not counted.",
            "verb",
            "resource",
        )
        self.rbac_missing = self._gauge(
            "rbac_missing",
            "Whether the API server would refuse a right that is needed.",
            "verb",
            "resource",
        )
        self.informer_restarts = self._counter(
            "informer_restarts_total",
            "Times that the watch on nodes ended, by reason: closed, expired, idle, error.",
            "reason",
        )

    def _leader_series(self) -> None:
        """Called as client-go calls them (component-base metrics/prometheus/clientgo)."""
        self.leader_status = Gauge(
            "leader_election_master_status",
            "Whether this replica leads: 1 or 0; name is the Lease.",
            ("name",),
            registry=self.registry,
        )
        self.leader_slow_path = Counter(
            "leader_election_slowpath_total",
            "Renewals for which the Lease had to be read first, as another had changed it.",
            ("name",),
            registry=self.registry,
        )

    def _server_series(self) -> None:
        self.http_requests = HttpRequests()
        self.registry.register(self.http_requests)
        self.http_connections = self._gauge(
            "http_connections", "Connections to the served port, in every state."
        )
        self.http_connections_cut = self._counter(
            "http_connections_cut_total",
            "Connections that were cut, by cause: handshake, head, idle, answer (each took too"
            " long), room (it gave way to another).",
            "cause",
        )
        self.reviews = self._counter(
            "reviews_total",
            "Questions to the API server about who asks here, by kind (token, access) and result"
            " (allowed, denied, error).",
            "kind",
            "result",
        )
        self.serving_certificate_expiry = self._gauge(
            "serving_certificate_expiry_timestamp_seconds",
            "When the certificate of the served port ends; 0 without TLS.",
        )


class HttpRequests(Collector):
    """Requests to the served port and how long they took.

    Plain numbers until they are scraped: the library's own series, with a lock and a check for
    each of their parts, take longer than finding the answer to a lookup.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)

    def count(self, route: str, code: int, seconds: float | None) -> None:
        """One more; `seconds` are None when the time says nothing."""
        self._counts[route, code] += 1
        if seconds is not None:
            durations = self._durations[route]
            durations.total += seconds
            durations.buckets[bisect_left(_FROM_MEMORY, seconds)] += 1

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """All of it, as it is scraped."""
        requests = CounterMetricFamily(
            "ovirt_ccm_http_requests_total",
            "Requests to the served port, by pattern of the path (`unknown`: no such path) and"
            " status.",
            labels=("route", "code"),
        )
        for (route, code), count in self._counts.items():
            requests.add_metric((route, str(code)), count)
        yield requests
        durations = HistogramMetricFamily(
            "ovirt_ccm_http_request_duration_seconds",
            "Time until an answer was ready, reviews included; streams are not counted.",
            labels=("route",),
        )
        for route, found in self._durations.items():
            up_to = accumulate(found.buckets)
            buckets = [(le, float(count)) for le, count in zip(_LE, up_to, strict=True)]
            durations.add_metric((route,), buckets, found.total)
        yield durations


_LE = [*(str(float(bound)) for bound in _FROM_MEMORY), "+Inf"]


class _Durations:
    """All seconds, and how many took at most as long as each bound and longer than the last."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.buckets = [0] * len(_LE)


def _begin(counter: Counter, *values: str) -> None:
    """Have a counter's series from the start: a rate sees no first increase of a new one."""
    for value in values:
        counter.labels(value)
