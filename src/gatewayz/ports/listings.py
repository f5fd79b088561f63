"""The port to the listings that were read before: the last good one of every provider."""

from typing import Protocol

from gatewayz.catalog.merge import Listing


class Listings(Protocol):
    """Keeps listings over restarts. Neither method raises: what cannot be kept is read again."""

    def load(self) -> dict[str, Listing]:
        """The last good listing of every provider, by its id."""
        ...

    def keep(self, listing: Listing) -> None:
        """Takes the place of what was kept for this provider."""
        ...
