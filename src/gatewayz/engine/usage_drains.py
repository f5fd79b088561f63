"""Usage drains: calls whose client has left while their provider bills on, read to the end to learn
what they cost.

Each goes on in the task of its request, for a bounded time; so many at once; a server that stops
ends them all.
"""

import asyncio
from typing import Any

from gatewayz.engine.call_state import CallState

MAX_DRAINS = 500
MAX_DRAIN_S = 30.0


class UsageDrains:
    """The drains of a process."""

    def __init__(self, max_drain_s: float = MAX_DRAIN_S, max_drains: int = MAX_DRAINS) -> None:
        self._max_drain_s = max_drain_s
        self._max_drains = max_drains
        self._running: dict[str, tuple[asyncio.Task[Any], asyncio.TimerHandle]] = {}
        self._closed = False

    def start(self, state: CallState, task: "asyncio.Task[Any]") -> bool:
        """Whether `task` may go on for a while; otherwise it is to be cancelled."""
        if self._closed or len(self._running) >= self._max_drains or not _keeps_billing(state):
            return False
        timer = asyncio.get_running_loop().call_later(self._max_drain_s, task.cancel)
        self._running[state.call.id] = task, timer
        return True

    def finish(self, call_id: str) -> None:
        """The call has ended."""
        drain = self._running.pop(call_id, None)
        if drain is not None:
            _, timer = drain
            timer.cancel()

    def stop(self) -> None:
        """Ends all of them, and lets none begin any more."""
        self._closed = True
        for task, _ in self._running.values():
            task.cancel()

    def __len__(self) -> int:
        return len(self._running)


def _keeps_billing(state: CallState) -> bool:
    """Whether the provider that is answering bills for what nobody reads."""
    candidate = state.progress.current_candidate
    if candidate is None or state.meter.finished or candidate.provider.quirks.cancel_stops_billing:
        return False
    return candidate.offer.price is None or not candidate.offer.price.free
