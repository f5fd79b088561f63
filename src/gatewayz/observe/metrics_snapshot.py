"""Metrics as a value: the counts of a process, and the sum over processes that live or have died.

Law: a counter of the sum never goes back. What a process counted last stays in the sum when it
dies; its gauges do not.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

Labels = tuple[str, ...]
Histogram = tuple[list[int], float]
"""How many observations each bucket has, and the sum of all."""
T = TypeVar("T")
Table = Mapping[str, Mapping[Labels, T]]


class MetricsSnapshot(Struct, frozen=True):
    """Numbers by family and labels; of `levels` every process has its view, and the largest holds.

    Example: `MetricsSnapshot(counters={"gatewayz_attempts": {("chat", "groq", "none"): 3.0}})`
    """

    counters: Table[float] = {}
    histograms: Table[Histogram] = {}
    gauges: Table[float] = {}
    levels: Table[float] = {}


def merge_snapshots(left: MetricsSnapshot, right: MetricsSnapshot) -> MetricsSnapshot:
    """Both together."""
    return MetricsSnapshot(
        counters=_add_numbers(left.counters, right.counters),
        histograms=_add_histograms(left.histograms, right.histograms),
        gauges=_add_numbers(left.gauges, right.gauges),
        levels=_merge_largest(left.levels, right.levels),
    )


def _add_numbers(left: Table[float], right: Table[float]) -> dict[str, dict[Labels, float]]:
    sums = {name: dict(table) for name, table in left.items()}
    for name, table in right.items():
        mine = sums.setdefault(name, {})
        for labels, number in table.items():
            mine[labels] = mine.get(labels, 0.0) + number
    return sums


def _merge_largest(left: Table[float], right: Table[float]) -> dict[str, dict[Labels, float]]:
    largest = {name: dict(table) for name, table in left.items()}
    for name, table in right.items():
        mine = largest.setdefault(name, {})
        for labels, number in table.items():
            mine[labels] = max(mine.get(labels, number), number)
    return largest


def _add_histograms(
    left: Table[Histogram], right: Table[Histogram]
) -> dict[str, dict[Labels, Histogram]]:
    sums = {name: dict(table) for name, table in left.items()}
    for name, table in right.items():
        mine = sums.setdefault(name, {})
        for labels, (counts, total) in table.items():
            before, sum_before = mine.get(labels, ([0] * len(counts), 0.0))
            mine[labels] = (
                [a + b for a, b in zip(before, counts, strict=True)],
                sum_before + total,
            )
    return sums


class MetricsAggregator:
    """The sum over the processes of a gateway, by what each reported last."""

    def __init__(self) -> None:
        self._retired = MetricsSnapshot()
        self._live: dict[str, MetricsSnapshot] = {}

    def update(self, worker: str, counts: MetricsSnapshot) -> None:
        self._live[worker] = counts

    def retire(self, worker: str) -> None:
        """Keeps what the process counted; its gauges end with it."""
        last = self._live.pop(worker, MetricsSnapshot())
        self._retired = merge_snapshots(
            self._retired, MetricsSnapshot(last.counters, last.histograms)
        )

    def total(self) -> MetricsSnapshot:
        total = self._retired
        for counts in self._live.values():
            total = merge_snapshots(total, counts)
        return total
