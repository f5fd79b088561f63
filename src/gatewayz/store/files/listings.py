"""Listings as files, one a provider, each replaced as a whole.

A file that cannot be read is as if it were not there: listings are read again anyway.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from gatewayz.catalog.sources import Listing, SeedUpdate
from gatewayz.core.faults import Fault

FOLDER = "listings"
UPDATE_FILE = "seed-update.json"
MAX_FILE_BYTES = 128 * 2**20
"""A file beyond this was not written here."""

_decode = msgspec.json.Decoder(Listing).decode
_decode_update = msgspec.json.Decoder(SeedUpdate).decode


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
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(path, msgspec.json.encode(listing))


class FileSeedUpdate:
    """The prices that are newer than the package's, under the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / UPDATE_FILE

    def load(self) -> SeedUpdate | None:
        """The last update; nothing where there is none, or none that can be read."""
        try:
            if self._path.stat().st_size > MAX_FILE_BYTES:
                return None
            return _decode_update(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def save(self, update: SeedUpdate) -> None:
        """Keeps the update in the place of the last one. Faults: `unavailable`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _write(self._path, msgspec.json.encode(update))
        except OSError as error:
            raise Fault(
                "unavailable", f"{self._path} could not be written: {error.strerror}"
            ) from None

    def revision(self) -> int:
        """Another number for another update; 0 where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


def _write(path: Path, content: bytes) -> None:
    """Replaces a file as a whole, or leaves it as it is."""
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _read(path: Path) -> Listing | None:
    try:
        return _decode(path.read_bytes()) if path.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, msgspec.DecodeError):
        return None
