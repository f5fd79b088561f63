"""What Prometheus reads, from a snapshot of the metrics."""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gatewayz import __version__
from gatewayz.observe.metrics import BUCKET_BOUNDS_S, FAMILIES, MetricFamily
from gatewayz.observe.metrics_snapshot import Labels, MetricsSnapshot

BUILD_INFO: dict[str, dict[Labels, float]] = {"gatewayz_build": {(__version__,): 1.0}}


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        for name, family in FAMILIES.items():
            if family.kind == "counter":
                yield self._counter(name, family)
            elif family.kind == "histogram":
                yield self._histogram(name, family)
            else:
                yield self._gauge(name, family)

    def _counter(self, name: str, family: MetricFamily) -> Metric:
        metric = CounterMetricFamily(name, family.help, labels=family.labels)
        for labels, count in self._snapshot.counters.get(name, {}).items():
            metric.add_metric(labels, count)
        return metric

    def _histogram(self, name: str, family: MetricFamily) -> Metric:
        """Prometheus wants each bucket to hold those below it as well."""
        metric = HistogramMetricFamily(name, family.help, labels=family.labels)
        bounds = (*map(str, BUCKET_BOUNDS_S), "+Inf")
        for labels, (counts, total) in self._snapshot.histograms.get(name, {}).items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            metric.add_metric(labels, buckets, total)
        return metric

    def _gauge(self, name: str, family: MetricFamily) -> Metric:
        metric = GaugeMetricFamily(name, family.help, labels=family.labels)
        snapshot = self._snapshot
        tables: dict[str, Mapping[Labels, float]] = {
            **snapshot.gauges,
            **snapshot.levels,
            **BUILD_INFO,
        }
        for labels, number in tables.get(name, {}).items():
            metric.add_metric(labels, number)
        return metric


def render_metrics(snapshot: MetricsSnapshot) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry)
