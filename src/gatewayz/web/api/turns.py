"""Turns: how much of something long is under way at a time, in this process and of one account."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gatewayz.core.faults import Fault

RETRY_S = 10.0


class Turns:
    """At most `most` at a time, and `of_one` of an account."""

    def __init__(self, most: int, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def taking(self, account: str) -> Iterator[None]:
        """A turn for as long as the block lasts. Faults: `rate_limited` when there is none left."""
        if self._taken[account] >= self._of_one or self.taken >= self._most:
            message = f"Too many of these are under way: {self._of_one} of an account at a time, {self._most} of all."
            raise Fault("rate_limited", message, retry_after_s=RETRY_S)
        self._taken[account] += 1
        try:
            yield
        finally:
            self._taken[account] -= 1
            self._taken += Counter()
