"""The page that Prometheus reads, from what was counted."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gatewayz import __version__
from gatewayz.observe.counts import Counts, Labels
from gatewayz.observe.metrics import BOUNDS_S, FAMILIES

BUILD: dict[str, dict[Labels, float]] = {"gatewayz_build": {(__version__,): 1.0}}


class _Shown(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        for name, (kind, text, labels) in FAMILIES.items():
            if kind == "counter":
                yield self._counter(name, text, labels)
            elif kind == "histogram":
                yield self._histogram(name, text, labels)
            else:
                yield self._gauge(name, text, labels)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in self._counts.counters.get(name, {}).items():
            family.add_metric(values, count)
        return family

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, (counts, total) in self._counts.histograms.get(name, {}).items():
            running, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                running += count
                buckets.append((bound, running))
            family.add_metric(values, buckets, total)
        return family

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=labels)
        tables: dict[str, Mapping[Labels, float]] = {
            **self._counts.gauges,
            **self._counts.levels,
            **BUILD,
        }
        for values, number in tables.get(name, {}).items():
            family.add_metric(values, number)
        return family


def exposition(counts: Counts) -> bytes:
    """The page, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(counts))
    return generate_latest(registry)
