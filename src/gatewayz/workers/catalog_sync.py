"""Catalog sync: a worker that reads the providers' own listings, checks and saves them, and updates
the catalog.

Every reading is bounded in bytes, time and number at once; whatever goes wrong with one provider's
list, its last good one holds, and the others are read all the same.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.listing_prices import ListingBaseline, baseline_from_models
from gatewayz.catalog.listing_reader import listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.seed import next_change_ms
from gatewayz.catalog.seed_update import newer_than_package, seed_read_s
from gatewayz.catalog.sources import CatalogSources, Listing, OfferKey, Overrides
from gatewayz.control.overrides import SqlCatalogOverrides
from gatewayz.core.calls import HttpRequest
from gatewayz.core.clock import Clock, SystemClock
from gatewayz.core.facts import ListingRead
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.engine.background import MAX_MESSAGE_CHARS, WorkerTasks
from gatewayz.ports.facts import Bus
from gatewayz.ports.listings import SavedListings, SavedSeedUpdate
from gatewayz.ports.overrides import CatalogOverrides
from gatewayz.ports.transport import Exchange, Transport
from gatewayz.providers.headers import USER_AGENT, auth_headers
from gatewayz.providers.listing_formats import (
    ListingFormat,
    is_moved,
    listing_formats,
    listing_url,
    own_server_format,
)
from gatewayz.providers.spec import Provider
from gatewayz.store.files.listings import FileListings, FileSeedUpdate
from gatewayz.store.sql.database import Database
from gatewayz.upstream.http1 import HttpTransport

MAX_LISTING_BYTES = 16 * 2**20
READ_S = 30.0
"""The longest that one list may take, from connecting to its last byte."""
MAX_CONCURRENT_READS = 4
FIRST_AFTER_S = 5.0
"""How long after the start the first reading begins: calls come first."""
POLL_EVERY_S = 1.0
"""How often the store is asked whether an operator has set something: one number is read."""
JITTER = 0.1
"""Share by which the time between readings varies, so that replicas do not ask together."""
MIN_AGE_SHARE = 0.5
"""A list younger than this share of the time between readings is not read again."""
START_MS = 60_000
"""The longest that a start takes, from the first catalogue to its worker."""


ProviderBuilder = Callable[[Overrides], Mapping[str, Provider]]
"""What operators set → the providers with it, the same ones as before."""


class CatalogSync:
    """Reads listings and replaces the catalog's models.

    `sources` are the seed and the operator's own models.
    """

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        transport: Transport,
        formats: Mapping[str, ListingFormat],
        sources: CatalogSources,
        catalog: Catalog,
        saved_listings: SavedListings,
        clock: Clock,
        bus: Bus,
        rng: Callable[[], float],
        overrides: CatalogOverrides | None = None,
        build_providers: ProviderBuilder | None = None,
        seed_update: SavedSeedUpdate | None = None,
    ) -> None:
        self._transport = transport
        self.formats = formats
        self.read_s = READ_S
        self.first_after_s = FIRST_AFTER_S
        self.poll_every_s = POLL_EVERY_S
        self._sources = sources
        self._catalog = catalog
        self._saved_listings = saved_listings
        self._clock = clock
        self._bus = bus
        self._rng = rng
        self._overrides = overrides
        self._build_providers = build_providers
        self._seed_update = seed_update
        self._update_revision = seed_update.revision() if seed_update is not None else 0
        self._provider_switched_on = asyncio.Event()
        self._sync_wait_s = 0.0
        self._read_lock = asyncio.Lock()
        self._replace_lock = asyncio.Lock()
        self.tasks = WorkerTasks(bus.emit)
        self.listings: dict[str, Listing] = dict(sources.listings)
        # The catalogue was made a moment ago: a price that has begun since is taken over too.
        self._seed_change_ms = next_change_ms(sources.seed, clock.wall_ms() - START_MS)

    def readable_providers(self) -> list[str]:
        """The providers whose listings can be read now."""
        return [
            name
            for name, provider in self._providers.items()
            if not provider.off and self._format(provider) is not None
        ]

    def _format(self, provider: Provider) -> ListingFormat | None:
        return self.formats.get(provider.id) or own_server_format(provider)

    @property
    def _providers(self) -> Mapping[str, Provider]:
        return self._catalog.providers

    async def read_listings(self, names: Iterable[str] | None = None) -> list[ListingRead]:
        """Reads the listings of these providers, or of all that are on, and updates the catalog."""
        async with self._read_lock:
            baseline = await self._baseline()
            slots = asyncio.Semaphore(MAX_CONCURRENT_READS)

            async def read_listing(name: str) -> ListingRead:
                async with slots:
                    return await self._read_listing(name, baseline)

            chosen = self.readable_providers() if names is None else list(names)
            facts = list(await asyncio.gather(*map(read_listing, chosen)))
            if any(not fact.fault for fact in facts):
                await self._replace_catalog()
            for fact in facts:
                self._bus.emit(fact)
            return facts

    async def _baseline(self) -> ListingBaseline:
        """What is known of models and prices already, by which a listing is checked."""
        # What operators set says nothing about what providers ask.
        sources = self._sources._replace(
            listings=self.listings, operator_models=(), overrides=Overrides()
        )
        confirmed = self._sources.overrides.prices
        return await asyncio.to_thread(
            _build_baseline, sources, confirmed, self._providers, self._clock.wall_ms()
        )

    async def _read_listing(self, name: str, baseline: ListingBaseline) -> ListingRead:
        """Reads, checks and saves one provider's listing; what came of it."""
        provider = self._providers[name]
        form = self._format(provider)
        if form is None:
            return ListingRead(provider=name, fault="bad_request", message=f"{name} has no list")
        try:
            body = await self._fetch(provider, form)
            now_s = self._clock.wall_ms() // 1000
            listing = await asyncio.to_thread(
                listing_from_body, body, provider, form, baseline, now_s, self.listings.get(name)
            )
        except Fault as fault:
            message = fault.message[:MAX_MESSAGE_CHARS]
            return ListingRead(provider=name, fault=fault.kind, message=message)
        self.listings[name] = listing
        await asyncio.to_thread(self._saved_listings.save, listing)
        return _listing_read_fact(listing)

    async def _replace_catalog(self) -> None:
        async with self._replace_lock:
            sources = self._sources._replace(listings=self.listings)
            now_ms = self._clock.wall_ms()
            was_on = set(self.readable_providers())
            # In a thread, the last step too: calls under way notice only that the index is another
            # one.
            await asyncio.to_thread(self._replace_models, sources, now_ms)
            if not was_on.issuperset(self.readable_providers()):
                self._provider_switched_on.set()
            self._seed_change_ms = next_change_ms(sources.seed, now_ms)

    def _replace_models(self, sources: CatalogSources, now_ms: int) -> None:
        build, providers = self._build_providers, self._providers
        if build is not None and sources.overrides.revision:
            providers = build(sources.overrides)
        self._catalog.replace(merge_catalog(sources, providers, now_ms), providers)

    async def poll_overrides(self) -> None:
        """Takes over what operators have set by API since, and every price that has begun to hold.

        Faults: `unavailable`; then what is known of the store holds.
        """
        now_ms = self._clock.wall_ms()
        changed = self._seed_change_ms is not None and self._seed_change_ms <= now_ms
        try:
            changed |= await self._take_seed_update()
            changed |= await self._read_overrides(now_ms)
        finally:
            # A store that is away keeps no price of the seed from beginning.
            if changed:
                await self._replace_catalog()

    async def _read_overrides(self, now_ms: int) -> bool:
        """Whether operators have set something since, or a price that they set begins to hold."""
        if self._overrides is None:
            return False
        known = self._sources.overrides
        due = known.next_ms is not None and known.next_ms <= now_ms
        if not due and await self._overrides.revision() == known.revision:
            return False
        self._sources = self._sources._replace(overrides=await self._overrides.read(now_ms))
        return True

    async def _take_seed_update(self) -> bool:
        """Whether an operator has had newer prices read than the package's since."""
        revision = self._seed_update.revision() if self._seed_update is not None else 0
        if self._seed_update is None or revision == self._update_revision:
            return False
        self._update_revision = revision
        update = await asyncio.to_thread(self._seed_update.load)
        newer = newer_than_package(update, self._sources.seed) if update is not None else None
        self._sources = self._sources._replace(update=newer)
        return True

    async def _fetch(self, provider: Provider, form: ListingFormat) -> bytes:
        headers = listing_headers(provider, form)
        url = listing_url(provider, form)
        request = HttpRequest("GET", url, headers, proxy=provider.proxy)
        try:
            async with (
                asyncio.timeout(self.read_s),
                self._transport.send(request) as exchange,
            ):
                return await _read_body(exchange, provider)
        except TimeoutError:
            raise Fault(
                "upstream_timeout", f"{provider.id}'s list took longer than {self.read_s:g} s"
            ) from None

    def listing_ages_s(self) -> dict[tuple[str, ...], float]:
        """How old the listing of each provider is, in seconds."""
        now_s = self._clock.wall_ms() / 1000
        return {
            (name,): max(now_s - listing.read_s, 0.0) for name, listing in self.listings.items()
        }

    def seed_age_s(self) -> dict[tuple[str, ...], float]:
        """How old the prices are that are known before a provider is asked, in seconds."""
        read_s = seed_read_s(self._sources.seed, self._sources.update)
        return {(): max(self._clock.wall_ms() / 1000 - read_s, 0.0)} if read_s else {}

    def quarantine_counts(self) -> dict[tuple[str, ...], float]:
        """How many listed prices of each provider are not believed."""
        return {(name,): float(len(listing.quarantined)) for name, listing in self.listings.items()}

    def start(self, every_s: float) -> None:
        """Reads listings now and then, and what was set by API every second, until `stop`."""
        # What was on when the gateway started is read after it: calls come first.
        self._provider_switched_on.clear()
        if every_s > 0:
            self._sync_wait_s = self.first_after_s * (1 + self._rng())
            # A provider that was switched on just now has its list read at once.
            self.tasks.repeat(
                "sync",
                partial(self._read_due_listings, every_s),
                lambda: self._sync_wait_s,
                wake=self._provider_switched_on,
            )
        if self._overrides or self._seed_update or self._seed_change_ms is not None:
            # A store that is away is reported by those who need it more: what is known of it holds.
            self.tasks.repeat("catalog", self.poll_overrides, lambda: self.poll_every_s)

    async def _read_due_listings(self, every_s: float) -> None:
        self._sync_wait_s = every_s * (1 + JITTER * (2 * self._rng() - 1))
        await self._load_saved_listings()
        ages = self.listing_ages_s()
        await self.read_listings(
            [
                name
                for name in self.readable_providers()
                if ages.get((name,), every_s) >= every_s * MIN_AGE_SHARE
            ]
        )

    async def _load_saved_listings(self) -> None:
        """What another process has read since, or this one before it was started again."""
        saved = await asyncio.to_thread(self._saved_listings.load)
        newer = {
            name: listing
            for name, listing in saved.items()
            if name not in self.listings or listing.read_s > self.listings[name].read_s
        }
        if newer:
            self.listings |= newer
            await self._replace_catalog()

    async def stop(self) -> None:
        """Ends the loops; a reading under way is given up."""
        await self.tasks.stop()


def create_catalog_sync(  # noqa: PLR0913 - it is wired once, in assemble
    data_dir: str,
    transport: HttpTransport,
    sources: CatalogSources,
    catalog: Catalog,
    bus: Bus,
    database: Database | None = None,
    build_providers: ProviderBuilder | None = None,
) -> CatalogSync:
    """What keeps this catalog up to date: providers' own listings, operators' overrides."""
    return CatalogSync(
        transport=transport,
        formats=listing_formats(),
        sources=sources,
        catalog=catalog,
        saved_listings=FileListings(Path(data_dir)),
        clock=SystemClock(),
        bus=bus,
        rng=random.random,
        overrides=SqlCatalogOverrides(database) if database is not None else None,
        build_providers=build_providers,
        seed_update=FileSeedUpdate(Path(data_dir)) if sources.seed else None,
    )


def _build_baseline(
    sources: CatalogSources,
    confirmed: Mapping[OfferKey, Price],
    providers: Mapping[str, Provider],
    now_ms: int,
) -> ListingBaseline:
    """What seed and lists say, and what the seed says alone."""
    models = merge_catalog(sources, providers, now_ms)
    package = merge_catalog(sources._replace(listings={}), providers, now_ms)
    return baseline_from_models(
        {model.id: model for model in models}, {model.id: model for model in package}, confirmed
    )


def listing_headers(provider: Provider, form: ListingFormat) -> tuple[tuple[str, str], ...]:
    """The headers with which a list is asked for; the key is among them where it is needed."""
    # A list that is open to everybody may stand behind a server of the operator's that is not.
    auth = form.auth or is_moved(provider)
    credential = provider.credentials[0] if auth and provider.credentials else None
    return (
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        *(auth_headers(provider, credential) if auth else ()),
        *(provider.headers if auth else ()),
        *form.headers.items(),
    )


async def _read_body(exchange: Exchange, provider: Provider) -> bytes:
    if exchange.status != 200:
        raise Fault(
            "upstream_error", f"{provider.id} answered {exchange.status} instead of its list"
        )
    pieces: list[bytes] = []
    size = 0
    async for chunk in exchange.chunks():
        size += len(chunk)
        if size > MAX_LISTING_BYTES:
            raise Fault(
                "upstream_broken", f"{provider.id}'s list has more than {MAX_LISTING_BYTES} bytes"
            )
        pieces.append(chunk)
    return b"".join(pieces)


def _listing_read_fact(listing: Listing) -> ListingRead:
    return ListingRead(
        provider=listing.provider,
        models=len(listing.offers),
        prices=sum(1 for offer in listing.offers if offer.price is not None),
        quarantined=len(listing.quarantined),
        doubted=listing.doubt_reason,
        unread=tuple(listing.unread_fields),
    )
