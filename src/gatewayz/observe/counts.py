"""What was counted, as a value: the numbers of a process, and the sum over processes that live or have died.

Law: a counter of the sum never goes back. What a process counted last stays in the sum when it dies; gauges do not.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

Labels = tuple[str, ...]
Histogram = tuple[list[int], float]
"""How many fell into each bucket, and the sum of them all."""
T = TypeVar("T")
Table = Mapping[str, Mapping[Labels, T]]


class Counts(Struct, frozen=True):
    """Numbers by family and labels; of `levels` every process has its own view, and the largest holds."""

    counters: Table[float] = {}
    histograms: Table[Histogram] = {}
    gauges: Table[float] = {}
    levels: Table[float] = {}


def added(one: Counts, other: Counts) -> Counts:
    """Both together."""
    return Counts(
        counters=_numbers(one.counters, other.counters),
        histograms=_histograms(one.histograms, other.histograms),
        gauges=_numbers(one.gauges, other.gauges),
        levels=_largest(one.levels, other.levels),
    )


def _numbers(one: Table[float], other: Table[float]) -> dict[str, dict[Labels, float]]:
    sums = {name: dict(table) for name, table in one.items()}
    for name, table in other.items():
        mine = sums.setdefault(name, {})
        for labels, number in table.items():
            mine[labels] = mine.get(labels, 0.0) + number
    return sums


def _largest(one: Table[float], other: Table[float]) -> dict[str, dict[Labels, float]]:
    largest = {name: dict(table) for name, table in one.items()}
    for name, table in other.items():
        mine = largest.setdefault(name, {})
        for labels, number in table.items():
            mine[labels] = max(mine.get(labels, number), number)
    return largest


def _histograms(
    one: Table[Histogram], other: Table[Histogram]
) -> dict[str, dict[Labels, Histogram]]:
    sums = {name: dict(table) for name, table in one.items()}
    for name, table in other.items():
        mine = sums.setdefault(name, {})
        for labels, (counts, total) in table.items():
            before, sum_before = mine.get(labels, ([0] * len(counts), 0.0))
            mine[labels] = (
                [a + b for a, b in zip(before, counts, strict=True)],
                sum_before + total,
            )
    return sums


class Sums:
    """The sum over the processes of a gateway, by what each told last."""

    def __init__(self) -> None:
        self._ended = Counts()
        self._live: dict[str, Counts] = {}

    def told(self, worker: str, counts: Counts) -> None:
        self._live[worker] = counts

    def ended(self, worker: str) -> None:
        """Keeps what the process counted; what it measured of itself is over."""
        last = self._live.pop(worker, Counts())
        self._ended = added(self._ended, Counts(last.counters, last.histograms))

    def total(self) -> Counts:
        total = self._ended
        for counts in self._live.values():
            total = added(total, counts)
        return total
