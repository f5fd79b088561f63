"""The port to what operators set by API: models, offers and prices, over every list and under the file."""

from typing import Protocol

from gatewayz.catalog.merge import Overrides


class Catalog(Protocol):
    """Read by every process; whoever changes something makes `number` another one."""

    async def number(self) -> int:
        """The revision. Faults: `unavailable`."""
        ...

    async def read(self, now_ms: int) -> Overrides:
        """Everything that is set and holds now. Faults: `unavailable`."""
        ...
