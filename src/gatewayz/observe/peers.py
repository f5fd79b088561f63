"""The processes that serve one socket together, as one of them sees the others."""

from typing import Protocol

from gatewayz.observe.counts import Counts


class Peers(Protocol):
    """A process and its place among all `workers`; `worker` is its number, from 1."""

    worker: int
    workers: int

    async def together(self, own: Counts) -> Counts:
        """What all processes have counted, this one's `own` among it. Faults: `unavailable`."""
        ...


class Alone:
    """One process is the whole gateway."""

    worker = 1
    workers = 1

    async def together(self, own: Counts) -> Counts:
        return own
