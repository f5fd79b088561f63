"""The port to the listings that were read before: the last good one of every provider."""

from typing import Protocol

from gatewayz.catalog.sources import Listing


class SavedListings(Protocol):
    """Keeps listings over restarts. Neither method raises: what cannot be saved is read again."""

    def load(self) -> dict[str, Listing]:
        """The last good listing of every provider, by its id."""
        ...

    def save(self, listing: Listing) -> None:
        """Saves the listing in the place of this provider's last one."""
        ...
