"""Listings as files, one a provider, each replaced as a whole.

A file that cannot be read is as if it were not there: listings are read again anyway.
"""

import os
from pathlib import Path

import msgspec

from gatewayz.catalog.sources import Listing

FOLDER = "listings"
MAX_FILE_BYTES = 128 * 2**20
"""A file beyond this was not written here."""

_decode = msgspec.json.Decoder(Listing).decode


class FileListings:
    """The last good listing of every provider, under the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def load(self) -> dict[str, Listing]:
        listings = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            listing = _read(path)
            if listing is not None and listing.provider == path.stem:
                listings[listing.provider] = listing
        return listings

    def save(self, listing: Listing) -> None:
        path = self._folder / f"{listing.provider}.json"
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(msgspec.json.encode(listing))
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)


def _read(path: Path) -> Listing | None:
    try:
        return _decode(path.read_bytes()) if path.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, msgspec.DecodeError):
        return None
