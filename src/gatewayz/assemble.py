"""The one place where objects are wired."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.sources import CatalogSources
from gatewayz.control.context import ControlContext
from gatewayz.control.idempotency import SqlClaims, SqlReplays
from gatewayz.control.open import Store, open_keys, open_peppers, open_store
from gatewayz.control.outbox import SqlOutbox
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.clock import Clock, SystemClock
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.redaction import Redactor
from gatewayz.dialects.registry import CLIENTS
from gatewayz.engine.attempts import Attempts, UpstreamClient
from gatewayz.engine.authenticator import Authenticator
from gatewayz.engine.background import LoopGroup, ShieldedTasks
from gatewayz.engine.gateway import Gateway
from gatewayz.engine.health import Health
from gatewayz.observe.bus import FactBus, Subscriber
from gatewayz.observe.exposition import render_metrics
from gatewayz.observe.log import open_log
from gatewayz.observe.metrics import Metrics
from gatewayz.observe.worker_group import SingleProcess, WorkerGroup
from gatewayz.ports.keys import Keys
from gatewayz.ports.replays import Replays
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Provider
from gatewayz.routing.default_models import default_model
from gatewayz.routing.plan import Planner
from gatewayz.settings import LoadedSettings, Settings, catalog_sources_from_settings
from gatewayz.simulator.builtin import (
    SIMULATOR,
    is_configured_elsewhere,
    simulator_models,
    start_builtin_simulator,
)
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import FileListings
from gatewayz.store.memory.books import MemoryBooks
from gatewayz.store.memory.keys import BootstrapKeys
from gatewayz.store.memory.limiter import MemoryLimiter
from gatewayz.store.memory.replays import MemoryReplays
from gatewayz.store.sql.database import location_from_url
from gatewayz.store.sql.ledger.books import StoreBooks
from gatewayz.upstream.google_tokens import GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.web.api.control_plane import ControlPlane
from gatewayz.web.app import App
from gatewayz.web.cors import Cors
from gatewayz.web.guard import LOCAL_HOSTS, GuardRules
from gatewayz.web.inference import Inference, InferenceRules
from gatewayz.web.models import ModelHandlers
from gatewayz.web.server import Server
from gatewayz.web.status import StatusHandlers
from gatewayz.web.tls import open_listener_tls
from gatewayz.workers.catalog_sync import CatalogSync, ProviderBuilder, create_catalog_sync
from gatewayz.workers.notifications import Notifications
from gatewayz.workers.provider_changes import provider_builder
from gatewayz.workers.retention import Retention

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Assembly(Struct, frozen=True, kw_only=True):
    """A gateway, ready to serve. `store` is `None` where nothing is stored (`memory:`).

    `first_key` is the operator's key that was made at this start; empty when there was one before.
    """

    server: Server
    app: App
    gateway: Gateway
    catalog: Catalog
    books: MemoryBooks | StoreBooks
    store: Store | None
    control_transaction: ControlTransaction | None
    first_key: str
    transport: HttpTransport
    upstream: UpstreamClient
    bus: FactBus
    metrics: Metrics
    sync: CatalogSync
    simulator: Simulator | None
    notifications: Notifications | None


class _Base(NamedTuple):
    """What everything else is made with."""

    loaded: LoadedSettings
    clock: Clock
    bus: FactBus
    transport: HttpTransport
    store: Store | None
    transaction: ControlTransaction | None
    books: MemoryBooks | StoreBooks
    redactor: Redactor


@asynccontextmanager
async def assemble(
    loaded: LoadedSettings, group: WorkerGroup | None = None
) -> AsyncIterator[Assembly]:
    """Everything, opened in order and closed in reverse. Faults: `bad_request`, `unavailable`."""
    async with AsyncExitStack() as stack:
        yield await _assemble(loaded, group or SingleProcess(), stack)


async def _assemble(loaded: LoadedSettings, group: WorkerGroup, stack: AsyncExitStack) -> Assembly:
    settings, clock = loaded.settings, SystemClock()
    providers, simulator = await _load_providers(loaded, stack)
    sources, catalog = _build_catalog(settings, providers, clock)

    metrics = Metrics()
    redactor = Redactor(loaded.every_secret(providers.values()))
    base = await _open_base(loaded, redactor, metrics, group, stack)
    bus, transport, store = base.bus, base.transport, base.store
    keys, first_key = await _open_keys(base, stack)
    gateway, upstream, health = _build_engine(base, keys, catalog, group, stack)
    build = _provider_builder(base, providers[SIMULATOR])
    database = store.database if store is not None else None
    sync = create_catalog_sync(settings.data_dir, transport, sources, catalog, bus, database, build)
    await sync.poll_overrides()
    sync.start(settings.catalog.sync_every_s)
    stack.push_async_callback(sync.stop)
    _start_retention(base, stack)
    notifications = _start_notifications(base, stack)

    draining = asyncio.Event()
    loops = LoopGroup(keys, sync, notifications, store and store.upkeep)
    status = StatusHandlers(
        models=ModelHandlers(catalog, health.breaker_states),
        providers=lambda: catalog.providers,
        breakers=health.operator_breaker_states,
        metrics=lambda: _render_metrics(bus, metrics, group),
        draining=draining.is_set,
        background=loops.state,
        can_book=lambda: store is None or store.upkeep is None or store.upkeep.can_book,
        process=f"{group.worker} of {group.workers}",
    )
    app = App(
        clients=CLIENTS,
        status=status,
        inference=Inference(gateway, _inference_rules(settings, catalog), clock, bus),
        gateway=gateway,
        cors=Cors(settings.web.cors_origins),
        bus=bus,
        control_plane=_create_control_plane(base, catalog, sources, sync, health),
    )
    assembly = Assembly(
        server=_create_server(app, settings, bus, draining.set),
        app=app,
        gateway=gateway,
        catalog=catalog,
        books=base.books,
        store=store,
        control_transaction=base.transaction,
        first_key=first_key,
        transport=transport,
        upstream=upstream,
        bus=bus,
        metrics=metrics,
        sync=sync,
        simulator=simulator,
        notifications=notifications,
    )
    metrics.register_gauge("gatewayz_background_age_seconds", loops.ages_by_label)
    return _register_gauges(assembly, group, health)


async def _open_base(
    loaded: LoadedSettings,
    redactor: Redactor,
    metrics: Metrics,
    group: WorkerGroup,
    stack: AsyncExitStack,
) -> _Base:
    settings, clock = loaded.settings, SystemClock()
    log = _log_subscribers(settings.observe.log, group, stack, redactor)
    bus = FactBus([metrics.on_facts, *log])
    stack.callback(bus.flush)
    transport = HttpTransport(settings.routing.deadlines, loaded.open_network())
    stack.push_async_callback(transport.close)
    store = await _open_store(loaded, clock, bus, stack)
    if store is None:
        return _Base(loaded, clock, bus, transport, None, None, MemoryBooks(), redactor)

    data_dir = Path(settings.data_dir)
    secrets_here = (loaded.secret_key, loaded.old_secret_keys)
    peppers = await open_peppers(store.database, data_dir, *secrets_here)
    redactor.learn(pepper.secret.reveal() for pepper in peppers.all)
    transaction = ControlTransaction(store.database, clock, peppers, "gateway")
    return _Base(loaded, clock, bus, transport, store, transaction, store.books, redactor)


def _build_catalog(
    settings: Settings, providers: dict[str, Provider], clock: Clock
) -> tuple[CatalogSources, Catalog]:
    """The catalog of the package, the saved listings and the settings; and these, its sources."""
    saved = FileListings(Path(settings.data_dir)).load()
    sources = catalog_sources_from_settings(settings, saved)
    operator_models = (*simulator_models(providers[SIMULATOR]), *sources.operator_models)
    sources = sources._replace(operator_models=operator_models)
    models = merge_catalog(sources, providers, clock.wall_ms())
    rules = settings.routing
    return sources, Catalog(models, providers, rules.lockout_reason, rules.rank)


def _provider_builder(base: _Base, simulator: Provider) -> ProviderBuilder | None:
    """What makes the providers anew after operators have set something of them in the store."""
    if base.transaction is None:
        return None
    settings, peppers = base.loaded.settings.providers, base.transaction.peppers
    return provider_builder(base.loaded.environment, settings, peppers, base.redactor, simulator)


def _build_engine(
    base: _Base, keys: Keys, catalog: Catalog, group: WorkerGroup, stack: AsyncExitStack
) -> tuple[Gateway, UpstreamClient, Health]:
    settings, clock, bus = base.loaded.settings, base.clock, base.bus
    rules, rng, tasks = settings.routing, random.random, ShieldedTasks()
    tokens = GoogleTokens(base.transport, clock)
    upstream = UpstreamClient(base.transport, tokens, rules.deadlines, clock, tasks, base.redactor)
    health = Health(rules, clock, bus.emit, rng)
    gateway = Gateway(
        authenticator=Authenticator(keys),
        limiter=MemoryLimiter(settings.limits, clock, group.workers),
        planner=Planner(catalog, rules, rng),
        books=base.books,
        replays=_create_replays(base),
        attempts=Attempts(upstream, health, rules, clock, bus),
        health=health,
        clock=clock,
        bus=bus,
        tasks=tasks,
    )
    # Settlements under way need the store, and owed cancellations the transport: they end first.
    stack.push_async_callback(gateway.finish)
    return gateway, upstream, health


def _inference_rules(settings: Settings, catalog: Catalog) -> InferenceRules:
    return InferenceRules(
        body_values=settings.web.body_values,
        deadlines=settings.routing.deadlines,
        default_model=partial(default_model, settings.routing.default_models, catalog),
        trusted_proxies=settings.web.trusted_proxies,
    )


def _create_server(app: App, settings: Settings, bus: FactBus, drain: Callable[[], None]) -> Server:
    """A request may name our hosts, and this machine where only it can reach us."""
    web, hosts = settings.web, frozenset(settings.web.hosts)
    rules = GuardRules(hosts=hosts | LOCAL_HOSTS if web.host in LOOPBACK else hosts)
    return Server(app, rules, web.grace_s, drain, open_listener_tls(web.tls, bus.emit))


def _register_gauges(assembly: Assembly, group: WorkerGroup, health: Health) -> Assembly:
    """Where the numbers come from that are read when somebody looks."""
    worker, started_s = (str(group.worker),), SystemClock().wall_ms() / 1000
    inference, bus = assembly.app.inference, assembly.bus
    sync, sender = assembly.sync, assembly.notifications
    gauges: dict[str, Callable[[], dict[tuple[str, ...], float]]] = {
        "gatewayz_calls_running": lambda: {(): float(len(inference.running))},
        "gatewayz_worker_up": lambda: {worker: 1.0},
        "gatewayz_worker_started_seconds": lambda: {worker: started_s},
        "gatewayz_facts_dropped": lambda: {(): float(bus.dropped)},
        "gatewayz_breaker_open": health.open_breaker_counts,
        "gatewayz_listing_age_seconds": sync.listing_ages_s,
        "gatewayz_seed_age_seconds": sync.seed_age_s,
        "gatewayz_prices_quarantined": sync.quarantine_counts,
        "gatewayz_notifications_waiting": lambda: {(): float(sender.pending)} if sender else {},
    }
    for name, read in gauges.items():
        assembly.metrics.register_gauge(name, read)
    return assembly


async def _open_store(
    loaded: LoadedSettings, clock: Clock, bus: FactBus, stack: AsyncExitStack
) -> Store | None:
    """The database's store; nothing for `memory:`, which keeps nothing."""
    settings = loaded.settings
    location = location_from_url(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )
    if location.kind == "memory":
        return None
    return await open_store(location, Path(settings.data_dir), clock, bus.emit, stack, serving=True)


def _create_replays(base: _Base) -> Replays:
    """Where idempotent answers are stored: in the database, or in memory where there is none."""
    store, transaction = base.store, base.transaction
    if store is not None and transaction is not None:
        return SqlReplays(_create_claims(store, transaction), transaction.clock)
    return base.books.replays if isinstance(base.books, MemoryBooks) else MemoryReplays()


def _create_claims(store: Store, transaction: ControlTransaction) -> SqlClaims:
    return SqlClaims(store.database, transaction.peppers, transaction.clock, store.books.owner)


def _start_retention(base: _Base, stack: AsyncExitStack) -> None:
    """The worker that deletes what is old, where there is a store that holds it."""
    if base.transaction is not None:
        settings = base.loaded.settings.database
        days = (settings.retention_days, settings.audit_retention_days)
        retention = Retention(base.transaction, base.bus.emit, *days)
        retention.start()
        stack.push_async_callback(retention.stop)


def _start_notifications(base: _Base, stack: AsyncExitStack) -> Notifications | None:
    """The worker that sends notifications, where there is a store to find them in."""
    store, transaction = base.store, base.transaction
    if store is None or transaction is None:
        return None
    peppers, books = transaction.peppers, store.books
    outbox = SqlOutbox(store.database, peppers, base.clock, books.owner, books.exhausted_budgets)
    private = base.loaded.settings.notifications.private_addresses
    # Connections and lookups of its own: what accounts name must hold up no call.
    transport = HttpTransport(base.loaded.settings.routing.deadlines, base.transport.network)
    stack.push_async_callback(transport.close)
    notifications = Notifications(outbox, transport, transaction.clock, base.bus, private=private)
    notifications.start()
    stack.push_async_callback(notifications.stop)
    return notifications


def _create_control_plane(
    base: _Base, catalog: Catalog, sources: CatalogSources, sync: CatalogSync, health: Health
) -> ControlPlane | None:
    """The control plane, where there is a store to control."""
    store, transaction = base.store, base.transaction
    if store is None or transaction is None:
        return None
    return ControlPlane(
        ControlContext(
            transaction=transaction,
            commits=store.books.commits,
            claims=_create_claims(store, transaction),
            catalog=catalog,
            lists=sources,
            listings=lambda: sync.listings,
            breakers=health.operator_breaker_states,
            refresh_catalog=sync.poll_overrides,
            allow_private_webhooks=base.loaded.settings.notifications.private_addresses,
        )
    )


async def _open_keys(base: _Base, stack: AsyncExitStack) -> tuple[Keys, str]:
    """The keys, and the operator's first one if it was made now; without a store the only one."""
    bootstrap_key = base.loaded.bootstrap_key
    if base.transaction is not None:
        return await open_keys(base.transaction, bootstrap_key, stack, base.bus.emit)
    first_key = "" if bootstrap_key else key_from_random(secrets.token_bytes(RANDOM_BYTES))
    return BootstrapKeys(bootstrap_key.reveal() or first_key), first_key


async def _load_providers(
    loaded: LoadedSettings, stack: AsyncExitStack
) -> tuple[dict[str, Provider], Simulator | None]:
    """The providers; the built-in simulator is started here unless it is configured elsewhere."""
    providers = providers_from(provider_rows(), loaded.environment, loaded.settings.providers)
    row = providers[SIMULATOR]
    if is_configured_elsewhere(row):
        return providers, None
    simulator = Simulator()
    stack.push_async_callback(simulator.close)
    return {**providers, SIMULATOR: await start_builtin_simulator(simulator, row)}, simulator


async def _render_metrics(bus: FactBus, metrics: Metrics, group: WorkerGroup) -> bytes:
    """The metrics of all processes as of now: facts that still wait are counted first."""
    bus.flush()
    return render_metrics(await group.total_metrics(metrics.snapshot()))


def _log_subscribers(
    target: str, group: WorkerGroup, stack: AsyncExitStack, redactor: Redactor
) -> list[Subscriber]:
    """The log's subscriber, if there is a log."""
    many = group.workers > 1
    worker = group.worker if many else 0
    writer = open_log(target, stack, shared=many, worker=worker, redactor=redactor)
    return [writer.on_facts] if writer is not None else []
