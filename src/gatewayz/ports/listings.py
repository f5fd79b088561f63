"""The ports to what was read before: every provider's last good listing, and newer prices than the
package's.
"""

from typing import Protocol

from gatewayz.catalog.sources import Listing, SeedUpdate


class SavedListings(Protocol):
    """Keeps listings over restarts. Neither method raises: what cannot be saved is read again."""

    def load(self) -> dict[str, Listing]:
        """The last good listing of every provider, by its id."""
        ...

    def save(self, listing: Listing) -> None:
        """Saves the listing in the place of this provider's last one."""
        ...


class SavedSeedUpdate(Protocol):
    """The prices that an operator had read, newer than the package's. Neither method raises."""

    def load(self) -> SeedUpdate | None:
        """The update; nothing where there is none."""
        ...

    def revision(self) -> int:
        """Another number for another update."""
        ...
