"""`gatewayz migrate`: the database's schema, brought up to date."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gatewayz.cli.location import database_location
from gatewayz.settings import load_settings
from gatewayz.store.sql.database import location_from_url
from gatewayz.store.sql.migrate import migrate as migrate_location


def migrate(config: str, flags: Mapping[str, Any], url: str, *, pooler: bool) -> None:
    """Migrates the database at `url`, or else the settings' own, and says from where to where.

    Faults: `bad_request`, `unavailable`.
    """
    location = (
        location_from_url(url, "", pooler=pooler)
        if url
        else database_location(load_settings(config, flags))
    )
    before, after = asyncio.run(migrate_location(location))
    change = "is up to date" if before == after else f"went from {before or 'nothing'} to {after}"
    print(f"{location.shown}: the schema {change}.")
