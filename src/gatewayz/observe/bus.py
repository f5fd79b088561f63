"""The bus: facts go to their subscribers in batches, later, and never to the cost of a call.

Bounded: when it is full a fact is dropped and counted. A subscriber that raises is contained and
counted.
"""

import asyncio
from collections.abc import Callable, Sequence

from gatewayz.core.facts import Fact

MAX_FACTS = 100_000
BATCH_S = 0.05
"""Facts of this long are handed on together."""

Subscriber = Callable[[Sequence[Fact]], None]


class FactBus:
    """Takes facts; hands them to every subscriber in the order in which they came."""

    def __init__(self, subscribers: Sequence[Subscriber], max_facts: int = MAX_FACTS) -> None:
        self._subscribers = tuple(subscribers)
        self._max_facts = max_facts
        self._facts: list[Fact] = []
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.dropped = 0
        self.subscriber_errors = 0
        self.last_error = ""

    def emit(self, fact: Fact) -> None:
        if len(self._facts) >= self._max_facts:
            self.dropped += 1
            return
        self._facts.append(fact)
        if self._handle is None:
            self._handle = self._loop.call_later(BATCH_S, self.flush)

    def flush(self) -> None:
        """Hands on what has come in, now."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        facts, self._facts = self._facts, []
        for subscriber in self._subscribers if facts else ():
            self._notify(subscriber, facts)

    def _notify(self, subscriber: Subscriber, facts: Sequence[Fact]) -> None:
        try:
            subscriber(facts)
        except Exception as error:  # noqa: BLE001 - an observer must not end a call
            self.subscriber_errors += 1
            self.last_error = f"{type(error).__name__}: {error}"
