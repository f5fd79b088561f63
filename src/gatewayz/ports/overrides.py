"""The port to what operators set by API: models, offers, prices and keys of providers, over every
list and under the file.
"""

from typing import Protocol

from gatewayz.catalog.sources import Overrides


class CatalogOverrides(Protocol):
    """Read by every process; each change makes `revision` another one."""

    async def revision(self) -> int:
        """A number that differs after every change. Faults: `unavailable`."""
        ...

    async def read(self, now_ms: int) -> Overrides:
        """Everything that is set and holds at `now_ms`. Faults: `unavailable`."""
        ...
