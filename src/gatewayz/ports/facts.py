"""The port to the observers: a fact is emitted and forgotten, never waited for."""

from typing import Protocol

from gatewayz.core.facts import Fact


class Bus(Protocol):
    """Takes facts; never blocks and never raises."""

    def emit(self, fact: Fact) -> None:
        """Takes a fact; observers see it a little later."""
        ...
