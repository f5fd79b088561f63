"""`gatewayz models sync`: the providers' own lists, read now and kept; no gateway is started."""

from pathlib import Path

from gatewayz.assemble import sync_of
from gatewayz.catalog.merge import merged
from gatewayz.catalog.naming import Shelf
from gatewayz.core.facts import ListingRead
from gatewayz.core.faults import Fault
from gatewayz.engine.sync import Sync
from gatewayz.observe.bus import FactBus
from gatewayz.providers.registry import providers_from, rows
from gatewayz.settings import Loaded, lists_from
from gatewayz.store.files.listings import FileListings
from gatewayz.upstream.http1 import HttpTransport


async def synced(loaded: Loaded, names: tuple[str, ...]) -> list[ListingRead]:
    """Reads the lists of `names`, or of all that have one. Faults: `bad_request` for one that cannot be read."""
    settings = loaded.settings
    providers = providers_from(rows(), loaded.environment, settings.providers)
    lists = lists_from(settings, FileListings(Path(settings.data_dir)).load())
    transport = HttpTransport(settings.routing.deadlines)
    try:
        sync = sync_of(
            settings.data_dir,
            transport,
            lists,
            Shelf(merged(lists, providers), providers),
            FactBus([]),
        )
        return await sync.run(_chosen(sync, names))
    finally:
        await transport.close()


def _chosen(sync: Sync, names: tuple[str, ...]) -> list[str]:
    able = sync.names()
    for name in names:
        if name not in able:
            raise Fault(
                "bad_request",
                f"{name} has no list, or is off; to be read now: {', '.join(able) or 'none'}.",
            )
    return list(names) or able
