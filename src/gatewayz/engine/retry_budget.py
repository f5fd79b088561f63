"""The retry budget: failovers beyond a call's first come out of a share of all calls, so that an
outage is no storm.
"""

from collections import deque

from gatewayz.core.clock import Clock

WINDOW_S = 10.0
MAX_COUNTED_CALLS = 20_000
"""Calls of the window that are counted; with more of them the budget is large enough."""


class RetryBudget:
    """The budget of this process: a `share` of the calls of the last seconds, and never less than
    `floor_per_s`.
    """

    def __init__(self, share: float, floor_per_s: float, clock: Clock) -> None:
        self._share = share
        self._floor = floor_per_s * WINDOW_S
        self._clock = clock
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def count_call(self) -> None:
        """Counts a call, which adds to the budget."""
        now = self._clock.now()
        if len(self._calls) >= MAX_COUNTED_CALLS:
            if self._calls[0] >= now - WINDOW_S:
                return
            self._calls.popleft()
        self._calls.append(now)

    def spend(self, failovers: int) -> bool:
        """Whether a call may fail over that has done so `failovers` times: the first time always,
        then on budget.
        """
        if failovers < 1:
            return True
        now = self._clock.now()
        for moments in (self._calls, self._retries):
            while moments and moments[0] < now - WINDOW_S:
                moments.popleft()
        if len(self._retries) >= max(self._floor, self._share * len(self._calls)):
            return False
        self._retries.append(now)
        return True
