"""`gatewayz migrate`: the database, as the command line handles it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gatewayz.settings import loaded
from gatewayz.store.sql.database import Location, located
from gatewayz.store.sql.migrating import migrate as migrate_location


def location_of(config: str, flags: Mapping[str, Any]) -> Location:
    """Where this installation's database is. Faults: `bad_request`."""
    settings = loaded(config, flags).settings
    return located(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )


def migrate(config: str, flags: Mapping[str, Any], url: str, *, pooler: bool) -> None:
    """Says from where to where. Faults: `unavailable`."""
    location = located(url, "", pooler=pooler) if url else location_of(config, flags)
    before, after = asyncio.run(migrate_location(location))
    told = "is up to date" if before == after else f"went from {before or 'nothing'} to {after}"
    print(f"{location.shown}: the schema {told}.")
