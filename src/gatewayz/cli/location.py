"""Where an installation's database is, by its settings."""

from gatewayz.settings import LoadedSettings
from gatewayz.store.sql.database import Location, location_from_url


def database_location(loaded: LoadedSettings) -> Location:
    """The location of the database that these settings name. Faults: `bad_request`."""
    database = loaded.settings.database
    return location_from_url(
        database.url, loaded.settings.data_dir, pooler=database.transaction_pooler
    )
