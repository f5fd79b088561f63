"""The one place where objects are wired."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.merge import Lists, Own, merged
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Outcome
from gatewayz.core.clock import Clock, SystemClock
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.dialects.registry import CLIENTS
from gatewayz.engine.attempt import Asker
from gatewayz.engine.attempts import Attempts
from gatewayz.engine.gate import Gate
from gatewayz.engine.gateway import Gateway
from gatewayz.engine.health import Health
from gatewayz.engine.notices import Notices
from gatewayz.engine.sync import Sync
from gatewayz.observe.bus import FactBus, Subscriber
from gatewayz.observe.exposition import exposition
from gatewayz.observe.log import opened_log
from gatewayz.observe.metrics import Metrics
from gatewayz.observe.peers import Alone, Peers
from gatewayz.ports.keys import Keys
from gatewayz.ports.replays import Replays
from gatewayz.providers.listings import formats
from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import Provider
from gatewayz.routing.plan import Planner
from gatewayz.settings import Loaded, Settings, lists_from
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import FileListings
from gatewayz.store.memory.books import MemoryBooks
from gatewayz.store.memory.keys import BootstrapKeys
from gatewayz.store.memory.limiter import MemoryLimiter
from gatewayz.store.memory.replays import MemoryReplays
from gatewayz.store.secret import peppers
from gatewayz.store.sql.books import StoreBooks
from gatewayz.store.sql.catalog import SqlCatalog
from gatewayz.store.sql.database import located
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.idempotency import SqlClaims, SqlReplays
from gatewayz.store.sql.keys import make_bootstrap
from gatewayz.store.sql.known_keys import SqlKeys
from gatewayz.store.sql.opening import Store, opened
from gatewayz.store.sql.outbox import SqlOutbox
from gatewayz.upstream.google_tokens import GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.web.api.control import Control
from gatewayz.web.api.visit import Office
from gatewayz.web.app import App
from gatewayz.web.cors import Cors
from gatewayz.web.guard import LOCAL_HOSTS, GuardRules
from gatewayz.web.inference import Inference, InferenceRules
from gatewayz.web.models import ModelPages
from gatewayz.web.pages import Pages
from gatewayz.web.server import Server

SIMULATOR = "simulator"
SHOWN_SCENES = ("echo", "hello", "tools", "reasoning", "json", "vision", "long", "slow")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
NOT_CONFIGURED = "127.0.0.1:0"


class Built(Struct, frozen=True):
    """A gateway, ready to serve."""

    server: Server
    app: App
    gateway: Gateway
    providers: dict[str, Provider]
    shelf: Shelf
    books: MemoryBooks | StoreBooks
    store: Store | None
    desk: Desk | None
    first_key: str
    transport: HttpTransport
    asker: Asker
    bus: FactBus
    metrics: Metrics
    sync: Sync
    simulator: Simulator | None
    notices: Notices | None = None

    def last_outcome(self) -> Outcome:
        """What came of the last call, where the books are in memory."""
        if not isinstance(self.books, MemoryBooks):
            raise TypeError(type(self.books))
        return self.books.records[-1].outcome


@asynccontextmanager
async def assembled(loaded: Loaded, peers: Peers | None = None) -> AsyncIterator[Built]:
    """Everything, opened in order and closed in reverse. Faults: `bad_request`, `unavailable`, in plain words."""
    async with AsyncExitStack() as stack:
        yield await _assembled(loaded, peers or Alone(), stack)


async def _assembled(loaded: Loaded, peers: Peers, stack: AsyncExitStack) -> Built:
    settings, clock, dice = loaded.settings, SystemClock(), random.random
    rules = settings.routing
    providers, simulator = await _providers(loaded, stack)
    lists = lists_from(settings, FileListings(Path(settings.data_dir)).load())
    lists = lists._replace(own=(*_simulated(providers), *lists.own))
    shelf = Shelf(merged(lists, providers), providers, rules.shut_out)

    metrics = Metrics()
    bus = FactBus([metrics.take, *_subscribed(settings.observe.log, peers, stack)])
    stack.callback(bus.flush)

    transport = HttpTransport(rules.deadlines)
    stack.push_async_callback(transport.close)
    asker = Asker(transport, GoogleTokens(transport, clock), rules.deadlines, clock)
    stack.push_async_callback(asker.endings.finished)
    health = Health(rules, clock, bus.emit, dice)
    store = await _store(loaded, clock, bus, stack)
    books = store.books if store is not None else MemoryBooks()
    desk = _desk(loaded, store, clock)
    keys, first_key = await _keys(loaded, desk, stack)
    gateway = Gateway(
        gate=Gate(keys),
        limiter=MemoryLimiter(settings.limits, clock, peers.workers),
        planner=Planner(shelf, rules, dice),
        books=books,
        replays=_replays(store, desk, books),
        attempts=Attempts(asker, health, rules, clock, bus),
        health=health,
        clock=clock,
        bus=bus,
    )
    stack.push_async_callback(gateway.finished)

    sync = sync_of(settings.data_dir, transport, lists, shelf, bus, store)
    await sync.look()
    sync.start(settings.catalog.sync_every_s)
    stack.push_async_callback(sync.stop)

    notices = _notices(loaded, store, desk, transport, bus, stack)
    metrics.gauge(
        "gatewayz_notices_waiting",
        lambda: {(): float(notices.waiting)} if notices is not None else {},
    )

    draining = asyncio.Event()
    pages = Pages(
        models=ModelPages(shelf, health.breakers),
        providers=lambda: providers,
        breakers=health.breakers,
        metrics=lambda: _page(bus, metrics, peers),
        draining=draining.is_set,
        process=f"{peers.worker} of {peers.workers}",
    )
    web, inference = settings.web, Inference(gateway, _inference_rules(settings), clock, bus)
    _read_gauges(metrics, peers, inference, bus, health, sync)
    control = _control(
        desk, store, shelf, lists, sync, health, private=settings.notices.private_addresses
    )
    cors = Cors(web.cors_origins)
    app = App(
        clients=CLIENTS,
        pages=pages,
        inference=inference,
        gateway=gateway,
        cors=cors,
        bus=bus,
        control=control,
    )
    hosts = frozenset({*LOCAL_HOSTS, *web.hosts}) if web.host in LOOPBACK else frozenset(web.hosts)
    server = Server(app, GuardRules(hosts=hosts), web.grace_s, draining.set)
    more = (desk, first_key, transport, asker, bus, metrics, sync, simulator, notices)
    return Built(server, app, gateway, providers, shelf, books, store, *more)


def _inference_rules(settings: Settings) -> InferenceRules:
    rules, proxies = settings.routing, settings.web.trusted_proxies
    return InferenceRules(
        deadlines=rules.deadlines, default_models=rules.default_models, trusted_proxies=proxies
    )


def _read_gauges(
    metrics: Metrics, peers: Peers, inference: Inference, bus: FactBus, health: Health, sync: Sync
) -> None:
    """Where the numbers come from that are read when somebody looks."""
    worker, started_s = (str(peers.worker),), SystemClock().wall_ms() / 1000
    metrics.gauge("gatewayz_calls_running", lambda: {(): float(len(inference.running))})
    metrics.gauge("gatewayz_worker_up", lambda: {worker: 1.0})
    metrics.gauge("gatewayz_worker_started_seconds", lambda: {worker: started_s})
    metrics.gauge("gatewayz_facts_dropped", lambda: {(): float(bus.dropped)})
    metrics.gauge("gatewayz_breaker_open", lambda: _open_breakers(health))
    metrics.gauge("gatewayz_listing_age_seconds", sync.ages_s)
    metrics.gauge("gatewayz_prices_quarantined", sync.quarantined)


def sync_of(
    data_dir: str,
    transport: HttpTransport,
    lists: Lists,
    shelf: Shelf,
    bus: FactBus,
    store: Store | None = None,
) -> Sync:
    """What reads the providers' own lists for this shelf, and what operators set in the store."""
    return Sync(
        transport=transport,
        formats=formats(),
        lists=lists,
        shelf=shelf,
        kept=FileListings(Path(data_dir)),
        clock=SystemClock(),
        bus=bus,
        dice=random.random,
        catalog=SqlCatalog(store.database) if store is not None else None,
    )


async def _store(loaded: Loaded, clock: Clock, bus: FactBus, stack: AsyncExitStack) -> Store | None:
    """The database's store; nothing for `memory:`, which keeps nothing."""
    settings = loaded.settings
    location = located(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )
    if location.kind == "memory":
        return None
    return await opened(location, Path(settings.data_dir), clock, bus.emit, stack, serving=True)


def _replays(store: Store | None, desk: Desk | None, books: MemoryBooks | StoreBooks) -> Replays:
    """Who keeps idempotent answers: the database, or memory where there is none."""
    if store is not None and desk is not None:
        return SqlReplays(_claims(store, desk), desk.clock)
    return books.replays if isinstance(books, MemoryBooks) else MemoryReplays()


def _claims(store: Store, desk: Desk) -> SqlClaims:
    return SqlClaims(store.database, desk.peppers, desk.clock, store.books.owner)


def _desk(loaded: Loaded, store: Store | None, clock: Clock) -> Desk | None:
    if store is None:
        return None
    found = peppers(Path(loaded.settings.data_dir), loaded.secret_key, loaded.old_secret_keys)
    return Desk(store.database, clock, found, "gateway")


def _notices(
    found: Loaded,
    store: Store | None,
    desk: Desk | None,
    transport: HttpTransport,
    bus: FactBus,
    stack: AsyncExitStack,
) -> Notices | None:
    """The worker that sends notices, where there is a store to find them in."""
    if store is None or desk is None:
        return None
    outbox = SqlOutbox(
        store.database, desk.peppers, desk.clock, store.books.owner, store.books.used_up
    )
    notices = Notices(
        outbox, transport, desk.clock, bus, private=found.settings.notices.private_addresses
    )
    notices.start()
    stack.push_async_callback(notices.stop)
    return notices


def _control(  # noqa: PLR0913 - it is wired once, here
    desk: Desk | None,
    store: Store | None,
    shelf: Shelf,
    lists: Lists,
    sync: Sync,
    health: Health,
    *,
    private: bool,
) -> Control | None:
    """The control plane, where there is a store to control."""
    if desk is None or store is None:
        return None
    office = Office(
        desk=desk,
        commits=store.books.commits,
        claims=_claims(store, desk),
        shelf=shelf,
        lists=lists,
        listings=lambda: sync.listings,
        breakers=health.breakers,
        look=sync.look,
        private_webhooks=private,
    )
    return Control(office)


async def _keys(loaded: Loaded, desk: Desk | None, stack: AsyncExitStack) -> tuple[Keys, str]:
    """The keys, and the operator's one that was made at this start if it was."""
    if desk is None:
        made = "" if loaded.bootstrap_key else key_from(secrets.token_bytes(RANDOM_BYTES))
        return BootstrapKeys(loaded.bootstrap_key.reveal() or made), made
    made = "" if loaded.bootstrap_key else await make_bootstrap(desk, only_first=True)
    keys = SqlKeys(desk.database, desk.peppers, desk.clock, loaded.bootstrap_key)
    await keys.start()
    stack.push_async_callback(keys.close)
    return keys, made


async def _providers(
    loaded: Loaded, stack: AsyncExitStack
) -> tuple[dict[str, Provider], Simulator | None]:
    """The providers; the built-in simulator is started here unless it is configured elsewhere."""
    providers = providers_from(rows(), loaded.environment, loaded.settings.providers)
    own = providers[SIMULATOR]
    if own.off or NOT_CONFIGURED not in own.base_url:
        return providers, None
    simulator = Simulator()
    stack.push_async_callback(simulator.close)
    url = await simulator.start()
    return {**providers, SIMULATOR: replace(own, base_url=f"{url}/v1")}, simulator


async def _page(bus: FactBus, metrics: Metrics, peers: Peers) -> bytes:
    """The metrics of all processes as of now: facts that still wait are told first."""
    bus.flush()
    return exposition(await peers.together(metrics.counts()))


def _simulated(providers: dict[str, Provider]) -> tuple[Own, ...]:
    """A few scenes of the simulator as models, so that a fresh installation has something to list."""
    if providers[SIMULATOR].off:
        return ()
    return tuple(
        Own(
            model=Model(
                id=f"{SIMULATOR}/{scene}",
                name=f"Simulator: {scene}",
                offers=(
                    Offer(model=f"{SIMULATOR}/{scene}", provider=SIMULATOR, upstream_id=scene),
                ),
            )
        )
        for scene in SHOWN_SCENES
    )


def _subscribed(target: str, peers: Peers, stack: AsyncExitStack) -> list[Subscriber]:
    """The log's subscriber, if there is a log."""
    many = peers.workers > 1
    writer = opened_log(target, stack, shared=many, worker=peers.worker if many else 0)
    return [writer.take] if writer is not None else []


def _open_breakers(health: Health) -> dict[tuple[str, ...], float]:
    count: dict[tuple[str, ...], float] = {}
    for (provider, _), state in health.breakers().items():
        if state != "closed":
            count[(provider,)] = count.get((provider,), 0.0) + 1.0
    return count
