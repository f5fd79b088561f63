"""Syncing: the providers' own listings are read, gated, kept, and put on the shelf.

Every reading is bounded in bytes, time and number at once; whatever goes wrong with one provider's list, its last good
one holds, and the others are read all the same.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from gatewayz.catalog.listing import known_from, listing_from
from gatewayz.catalog.merge import Listing, Lists, Overrides, merged
from gatewayz.catalog.naming import Shelf
from gatewayz.core.calls import Wire
from gatewayz.core.clock import Clock
from gatewayz.core.facts import ListingRead, Warned
from gatewayz.core.faults import Fault
from gatewayz.ports.catalog import Catalog
from gatewayz.ports.facts import Bus
from gatewayz.ports.listings import Listings
from gatewayz.ports.transport import Exchange, Transport
from gatewayz.providers.asking import USER_AGENT, auth_headers
from gatewayz.providers.listings import Format, address
from gatewayz.providers.spec import Provider

MAX_LISTING_BYTES = 16 * 2**20
READ_S = 30.0
"""The longest that one list may take, from connecting to its last byte."""
AT_ONCE = 4
FIRST_AFTER_S = 5.0
"""How long after the start the first reading begins: calls come first."""
LOOK_EVERY_S = 1.0
"""How often the store is asked whether an operator has set something: one number is read."""
JITTER = 0.1
"""Share by which the time between readings varies, so that replicas do not ask together."""
FRESH = 0.5
"""A list younger than this share of the time between readings is not read again."""
SHOWN_MESSAGE = 300


class Sync:
    """Reads listings and restocks the shelf. `lists` are the seed and the operator's own models."""

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        transport: Transport,
        formats: Mapping[str, Format],
        lists: Lists,
        shelf: Shelf,
        kept: Listings,
        clock: Clock,
        bus: Bus,
        dice: Callable[[], float],
        catalog: Catalog | None = None,
    ) -> None:
        self._transport = transport
        self.formats = formats
        self.read_s = READ_S
        self.first_after_s = FIRST_AFTER_S
        self.look_every_s = LOOK_EVERY_S
        self._lists = lists
        self._shelf = shelf
        self._kept = kept
        self._clock = clock
        self._bus = bus
        self._dice = dice
        self._catalog = catalog
        self._reading = asyncio.Lock()
        self._stocking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.listings: dict[str, Listing] = dict(lists.listings)

    def names(self) -> list[str]:
        """The providers whose listings can be read now."""
        return [
            name
            for name in self.formats
            if name in self._providers and not self._providers[name].off
        ]

    @property
    def _providers(self) -> Mapping[str, Provider]:
        return self._shelf.providers

    async def run(self, names: Iterable[str] | None = None) -> list[ListingRead]:
        """Reads the listings of these providers, or of all that are on, and restocks the shelf once."""
        async with self._reading:
            gate = asyncio.Semaphore(AT_ONCE)
            # What operators set says nothing about what providers ask.
            lists = self._lists._replace(listings=self.listings, own=(), overrides=Overrides())
            known = known_from(
                {
                    model.id: model
                    for model in await asyncio.to_thread(merged, lists, self._providers)
                }
            )

            async def one(name: str) -> ListingRead:
                async with gate:
                    provider, form = self._providers[name], self.formats[name]
                    try:
                        body = await self._fetched(provider, form)
                        now_s = self._clock.wall_ms() // 1000
                        listing = await asyncio.to_thread(
                            listing_from, body, provider, form, known, now_s
                        )
                    except Fault as fault:
                        return ListingRead(
                            provider=name, fault=fault.kind, message=fault.message[:SHOWN_MESSAGE]
                        )
                    self.listings[name] = listing
                    await asyncio.to_thread(self._kept.keep, listing)
                    return _fact(listing)

            chosen = self.names() if names is None else list(names)
            facts = list(await asyncio.gather(*map(one, chosen)))
            if any(not fact.fault for fact in facts):
                await self._restock()
            for fact in facts:
                self._bus.emit(fact)
            return facts

    async def _restock(self) -> None:
        async with self._stocking:
            lists = self._lists._replace(listings=self.listings)
            # In a thread, the last step too: calls under way notice only that the stock is another one.
            await asyncio.to_thread(lambda: self._shelf.restock(merged(lists, self._providers)))

    async def look(self) -> None:
        """Takes over what operators have set by API since. Faults: `unavailable`; then what is known holds."""
        if self._catalog is None:
            return
        known, now_ms = self._lists.overrides, self._clock.wall_ms()
        due = known.next_ms is not None and known.next_ms <= now_ms
        if due or await self._catalog.number() != known.number:
            self._lists = self._lists._replace(overrides=await self._catalog.read(now_ms))
            await self._restock()

    async def _fetched(self, provider: Provider, form: Format) -> bytes:
        credential = provider.credentials[0] if form.auth and provider.credentials else None
        headers = [
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", USER_AGENT),
            *(auth_headers(provider, credential) if form.auth else ()),
            *(provider.headers if form.auth else ()),
            *form.headers.items(),
        ]
        try:
            async with (
                asyncio.timeout(self.read_s),
                self._transport.send(
                    Wire("GET", address(provider, form), tuple(headers))
                ) as exchange,
            ):
                return await _whole(exchange, provider)
        except TimeoutError:
            raise Fault(
                "upstream_timeout", f"{provider.id}'s list took longer than {self.read_s:g} s"
            ) from None

    def ages_s(self) -> dict[tuple[str, ...], float]:
        """How old the listing of each provider is, in seconds."""
        now_s = self._clock.wall_ms() / 1000
        return {
            (name,): max(now_s - listing.read_s, 0.0) for name, listing in self.listings.items()
        }

    def quarantined(self) -> dict[tuple[str, ...], float]:
        """How many listed prices of each provider are not believed."""
        return {(name,): float(len(listing.held)) for name, listing in self.listings.items()}

    def start(self, every_s: float) -> None:
        """Reads listings now and then, and looks for what was set by API all the time, until `stop`."""
        loop = asyncio.get_running_loop()
        if every_s > 0:
            self._tasks.append(loop.create_task(self._forever(every_s), name="sync"))
        if self._catalog is not None:
            self._tasks.append(loop.create_task(self._looking(), name="catalog"))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A worker that ends by itself has met something that it was not made for: somebody should know."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = f"{task.get_name()}: {type(error).__name__}: {error}"
            self._bus.emit(Warned(subject="worker_ended", message=message[:SHOWN_MESSAGE]))

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(self.look_every_s)
            with suppress(Fault):
                await self.look()

    async def _forever(self, every_s: float) -> None:
        wait_s = self.first_after_s * (1 + self._dice())
        while True:
            await asyncio.sleep(wait_s)
            await self._take_kept()
            ages = self.ages_s()
            await self.run(
                [name for name in self.names() if ages.get((name,), every_s) >= every_s * FRESH]
            )
            wait_s = every_s * (1 + JITTER * (2 * self._dice() - 1))

    async def _take_kept(self) -> None:
        """What another process has read since, or this one before it was started again."""
        kept = await asyncio.to_thread(self._kept.load)
        newer = {
            name: listing
            for name, listing in kept.items()
            if name not in self.listings or listing.read_s > self.listings[name].read_s
        }
        if newer:
            self.listings |= newer
            await self._restock()

    async def stop(self) -> None:
        """Ends the workers; a reading under way is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _whole(exchange: Exchange, provider: Provider) -> bytes:
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


def _fact(listing: Listing) -> ListingRead:
    return ListingRead(
        provider=listing.provider,
        models=len(listing.offers),
        prices=sum(1 for offer in listing.offers if offer.price is not None),
        quarantined=len(listing.held),
        doubted=listing.doubted,
    )
