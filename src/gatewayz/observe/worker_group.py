"""The processes that serve one port, as one of them sees the others."""

from typing import Protocol

from gatewayz.observe.metrics_snapshot import MetricsSnapshot


class WorkerGroup(Protocol):
    """A process and its place among all `workers`; `worker` is its number, from 1."""

    worker: int
    workers: int

    async def total_metrics(self, own: MetricsSnapshot) -> MetricsSnapshot:
        """The metrics of all processes, this one's `own` among them. Faults: `unavailable`."""
        ...


class SingleProcess:
    """One process is the whole gateway."""

    worker = 1
    workers = 1

    async def total_metrics(self, own: MetricsSnapshot) -> MetricsSnapshot:
        return own
