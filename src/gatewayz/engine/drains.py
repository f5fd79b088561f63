"""Drains: calls whose client has left while their provider bills on, heard to the end to learn what they cost.

Each goes on in the task of its request, for so long; so many at a time; a server that stops ends them all.
"""

import asyncio
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.engine.tally import Tally

MAX_DRAINS = 500
DRAIN_S = 30.0


class Drains:
    """The drains of a process."""

    def __init__(self, longest_s: float = DRAIN_S, most: int = MAX_DRAINS) -> None:
        self._longest_s = longest_s
        self._most = most
        self._running: dict[str, tuple[asyncio.Task[Any], asyncio.TimerHandle]] = {}
        self._closed = False

    def begin(self, tally: Tally, task: "asyncio.Task[Any]") -> bool:
        """Whether `task` may go on for a while now that its client has left; otherwise it is to be cancelled."""
        if tally.fault is None and not tally.finished:
            tally.fault = Fault("client_gone", "The client left before the answer was complete.")
        if self._closed or len(self._running) >= self._most or not _bills_on(tally):
            return False
        tally.left = True
        timer = asyncio.get_running_loop().call_later(self._longest_s, task.cancel)
        self._running[tally.call.id] = task, timer
        return True

    def over(self, tally: Tally) -> None:
        """The call has ended."""
        found = self._running.pop(tally.call.id, None)
        if found is not None:
            found[1].cancel()

    def end(self) -> None:
        """Ends all of them, and lets none begin any more."""
        self._closed = True
        for task, _ in self._running.values():
            task.cancel()

    def __len__(self) -> int:
        return len(self._running)


def _bills_on(tally: Tally) -> bool:
    """Whether the provider that is answering bills for what nobody hears."""
    asked = tally.asked
    if asked is None or tally.finished or asked.provider.quirks.cancel_stops_billing:
        return False
    return asked.offer.price is None or not asked.offer.price.free
