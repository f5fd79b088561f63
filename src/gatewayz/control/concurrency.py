"""How much of something long runs at a time, in this process and for one account."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gatewayz.core.faults import Fault

RETRY_S = 10.0


class ConcurrencyLimit:
    """At most `max_total` at a time, of which `max_per_account` are one account's."""

    def __init__(self, *, max_total: int, max_per_account: int) -> None:
        self._max_total = max_total
        self._max_per_account = max_per_account
        self._in_use: Counter[str] = Counter()

    @property
    def in_use(self) -> int:
        return self._in_use.total()

    @contextmanager
    def slot(self, account: str) -> Iterator[None]:
        """A slot for as long as the block lasts. Faults: `rate_limited` if none is free."""
        if self._in_use[account] >= self._max_per_account or self.in_use >= self._max_total:
            message = (
                f"At most {self._max_per_account} of these may run at a time for one account, "
                f"and {self._max_total} for all; try again when one has ended."
            )
            raise Fault("rate_limited", message, retry_after_s=RETRY_S)

        self._in_use[account] += 1
        try:
            yield
        finally:
            self._in_use[account] -= 1
            # Accounts whose count is zero go, or the counter would grow with every account.
            self._in_use += Counter()
