"""Where an installation's database is, by its settings."""

from pathlib import Path

from gatewayz.core.faults import Fault
from gatewayz.settings import LoadedSettings
from gatewayz.store.sql.database import Location, location_from_url


def database_location(loaded: LoadedSettings) -> Location:
    """The location of the database that these settings name. Faults: `bad_request`."""
    database = loaded.settings.database
    return location_from_url(
        database.url, loaded.settings.data_dir, pooler=database.transaction_pooler
    )


def persistent_location(loaded: LoadedSettings) -> Location:
    """Where this installation's rows are, or are to be. Faults: `bad_request` for `memory:`."""
    location = database_location(loaded)
    if location.kind == "memory":
        raise Fault(
            "bad_request",
            "With database.url = memory: nothing is kept; there is nothing to show or to change.",
        )
    return location


def existing_location(loaded: LoadedSettings) -> Location:
    """Where this installation's rows are. Faults: `bad_request` where there is no database yet."""
    location = persistent_location(loaded)
    if location.kind == "sqlite" and not Path(location.path).is_file():
        raise Fault(
            "bad_request",
            f"There is no database {location.shown}. --data-dir or --config says where it is; "
            "`gatewayz serve` (or `gatewayz migrate`) makes a new one.",
        )
    return location
