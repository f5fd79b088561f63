"""Syncing over real sockets: whatever one provider lists, its last good list holds and the others are read."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from gatewayz.assemble import assemble
from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.clock import SystemClock
from gatewayz.core.secrets import Secret
from gatewayz.observe.metrics import Metrics
from gatewayz.providers.listing_formats import listing_formats
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Credential
from gatewayz.settings import load_settings
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import MAX_FILE_BYTES, FileListings
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.workers.catalog_sync import MAX_CONCURRENT_READS, CatalogSync, listing_headers
from tests.support.running_gateway import PATIENT, wait_until

NAMES = ("openrouter", "vercel-ai-gateway", "together")


class RecordingBus:
    """Remembers facts."""

    def __init__(self):
        self.facts = []

    def emit(self, fact):
        self.facts.append(fact)


class SyncSetup:
    """A sync whose providers are all played by one simulator."""

    def __init__(self, upstream, transport, folder):
        self.upstream = upstream
        self.bus = RecordingBus()
        table = providers_from(provider_rows(), {}, {})
        credentials = (Credential(id="key#1", key=Secret("sk-canary")),)
        self.providers = table | {
            name: replace(
                table[name], base_url=f"{upstream.url}/{name}/v1", credentials=credentials, off=""
            )
            for name in NAMES
        }
        self.saved_listings = FileListings(folder)
        self.sources = CatalogSources(seed_files(), self.saved_listings.load(), ())
        models = merge_catalog(self.sources, self.providers, SystemClock().wall_ms())
        self.catalog = Catalog(models, self.providers)
        self.sync = CatalogSync(
            transport=transport,
            formats=listing_formats(),
            sources=self.sources,
            catalog=self.catalog,
            saved_listings=self.saved_listings,
            clock=SystemClock(),
            bus=self.bus,
            rng=lambda: 0.5,
        )
        # Generous: a busy machine is no provider that hangs.
        self.sync.read_s = 300.0

    def play(self, name, *outcomes):
        self.upstream.script(f"/{name}/v1/models", list(outcomes))

    def offer(self, model, provider):
        return next(
            offer for offer in self.catalog.models[model].offers if offer.provider == provider
        )


@pytest.fixture
async def sync_setup(tmp_path):
    async with Simulator() as upstream:
        transport = HttpTransport(PATIENT)
        yield SyncSetup(upstream, transport, tmp_path)
        await transport.close()


async def test_listings_are_read_checked_saved_and_put_into_the_catalog(sync_setup):
    sync_setup.play("openrouter", "listing-openrouter")
    sync_setup.play("vercel-ai-gateway", "listing-vercel")
    sync_setup.play("together", "listing-together")
    before = sync_setup.catalog.index.version
    facts = {fact.provider: fact for fact in await sync_setup.sync.read_listings()}
    assert {name: (fact.models, fact.quarantined, fact.fault) for name, fact in facts.items()} == {
        "openrouter": (3, 1, ""),
        "vercel-ai-gateway": (2, 0, ""),
        "together": (1, 0, ""),
    }
    assert sync_setup.catalog.index.version == before + 1
    assert (
        sync_setup.catalog.models["anthropic/claude-sonnet-4.5"].name
        == "Anthropic: Claude Sonnet 4.5"
    )
    assert (
        sync_setup.offer("anthropic/claude-sonnet-4.5", "openrouter").parameters[0] == "max_tokens"
    )
    assert sync_setup.offer("openrouter/auto", "openrouter").quarantine_reason
    assert set(sync_setup.saved_listings.load()) == set(NAMES)
    assert sync_setup.bus.facts == list(facts.values())
    metrics = Metrics()
    metrics.on_facts(sync_setup.bus.facts)


@pytest.mark.parametrize("name", ["openrouter", "vercel-ai-gateway", "deepinfra", "together"])
def test_a_list_that_is_open_to_everybody_is_asked_for_without_a_key(name):
    form = listing_formats()[name]
    key = {provider_rows()[name].key_env[0]: "sk-canary"}
    provider = providers_from(provider_rows(), key, {})[name]
    sent = {header.lower() for header, _ in listing_headers(provider, form)}
    assert ("authorization" in sent) is form.auth


async def test_where_an_operator_says_that_a_provider_is_its_list_is_asked_for_with_the_key(
    sync_setup,
):
    for name in NAMES:
        sync_setup.play(name, "hostile-good" if name != "together" else "listing-together")
    await sync_setup.sync.read_listings()
    sent = {
        request.path.split("/")[1]: request.headers.get("authorization")
        for request in sync_setup.upstream.requests
    }
    assert sent == dict.fromkeys(NAMES, "Bearer sk-canary")


@pytest.mark.parametrize(
    "outcome",
    [
        "hostile-huge",
        "hostile-half",
        "hostile-deep",
        "hostile-empty",
        "hostile-no-rows",
        "fault-html-200",
        "fault-null-200",
        "fault-empty-200",
        "fault-rst-before",
        "fault-close-before",
        "fault-no-http",
        "fault-redirect",
        "fault-gzip-bomb",
        "fault-gzip-truncated",
        "fault-500",
        "fault-401",
        "fault-wrong-length",
        "fault-chunk-overflow",
    ],
)
async def test_whatever_a_list_is_the_last_good_one_holds(sync_setup, outcome):
    sync_setup.play("openrouter", "listing-openrouter", outcome)
    sync_setup.play("together", "listing-together")
    await sync_setup.sync.read_listings(["openrouter"])
    good = sync_setup.sync.listings["openrouter"]
    facts = {
        fact.provider: fact
        for fact in await sync_setup.sync.read_listings(["openrouter", "together"])
    }
    assert facts["openrouter"].fault
    assert facts["together"].fault == ""
    assert sync_setup.sync.listings["openrouter"] is good
    assert sync_setup.saved_listings.load()["openrouter"] == good
    assert (
        sync_setup.catalog.models["anthropic/claude-sonnet-4.5"].name
        == "Anthropic: Claude Sonnet 4.5"
    )


@pytest.mark.parametrize(
    "outcome", ["hostile-million-times", "hostile-wrong-types", "hostile-again-500", "hostile-many"]
)
async def test_a_list_full_of_nonsense_changes_no_price(sync_setup, outcome):
    known = {key: offer.price for key, offer in sync_setup.catalog.index.offers_by_key.items()}
    sync_setup.play("openrouter", outcome)
    (fact,) = await sync_setup.sync.read_listings(["openrouter"])
    assert fact.fault == ""
    moved = [
        key
        for key, price in known.items()
        if price is not None
        and sync_setup.catalog.index.offers_by_key[key].price.output > 5 * price.output > 0
    ]
    assert moved == []
    if outcome == "hostile-million-times":
        assert fact.quarantined == 14
        assert {
            key: offer.price
            for key, offer in sync_setup.catalog.index.offers_by_key.items()
            if key in known
        } == known


@pytest.mark.parametrize("outcome", ["fault-hang-before", "fault-hang-headers", "hostile-drip"])
async def test_a_list_that_hangs_is_given_up_in_time_and_holds_nobody_up(
    sync_setup, outcome, tmp_path
):
    sync_setup.play("openrouter", outcome)
    sync_setup.play("together", "listing-together")
    sync_setup.sync.read_s = 2.0
    facts = {
        fact.provider: fact
        for fact in await sync_setup.sync.read_listings(["openrouter", "together"])
    }
    assert facts["openrouter"].fault == "upstream_timeout"
    assert facts["together"].models == 1
    await wait_until(lambda: not sync_setup.upstream.open_streams)
    assert sync_setup.upstream.open_streams == 0


async def test_only_so_many_lists_are_read_at_once(sync_setup):
    sync_setup.sync.read_s = 1.0
    many = {
        f"p{number}": replace(
            sync_setup.providers["openrouter"],
            id=f"p{number}",
            base_url=f"{sync_setup.upstream.url}/p{number}/v1",
        )
        for number in range(12)
    }
    sync_setup.catalog.providers = sync_setup.providers | many
    sync_setup.sync.formats = dict.fromkeys(many, listing_formats()["openrouter"])
    for name in many:
        sync_setup.play(name, "fault-hang-before")
    reading = asyncio.get_running_loop().create_task(sync_setup.sync.read_listings())
    most = 0
    while not reading.done():
        most = max(most, sync_setup.upstream.open_streams)
        await asyncio.sleep(0.01)
    assert most == MAX_CONCURRENT_READS
    assert {fact.fault for fact in await reading} == {"upstream_timeout"}


async def test_listings_are_there_again_after_a_restart(sync_setup, tmp_path):
    sync_setup.play("openrouter", "listing-openrouter")
    await sync_setup.sync.read_listings(["openrouter"])
    sources = CatalogSources(seed_files(), FileListings(tmp_path).load(), ())
    models = merge_catalog(sources, sync_setup.providers, SystemClock().wall_ms())
    again = Catalog(models, sync_setup.providers)
    assert again.models == sync_setup.catalog.models


async def test_a_list_that_is_wrong_after_a_restart_is_compared_with_the_last_good_price(
    sync_setup, tmp_path
):
    sync_setup.play("openrouter", "hostile-good", "hostile-million-times", "hostile-million-times")
    await sync_setup.sync.read_listings(["openrouter"])
    good = sync_setup.offer("somebody/model-0", "openrouter").price
    assert (good.input, good.output) == (400_000, 1_100_000)
    for _ in range(2):
        again = SyncSetup(sync_setup.upstream, sync_setup.sync._transport, tmp_path)
        again.upstream.script(
            "/openrouter/v1/models", ["hostile-million-times", "hostile-million-times"]
        )
        (fact,) = await again.sync.read_listings(["openrouter"])
        assert fact.quarantined
        assert again.offer("somebody/model-0", "openrouter").price == good


class BrokenOverrides:
    """Fails in a way that nobody expected."""

    async def revision(self):
        raise RuntimeError("nobody expected this")

    async def read(self, now_ms):
        raise AssertionError("not reached")


async def test_a_worker_that_meets_an_error_reports_it_and_goes_on(sync_setup):
    sync_setup.sync._overrides = BrokenOverrides()
    sync_setup.sync.poll_every_s = 0.0
    sync_setup.sync.start(0)
    await wait_until(lambda: sync_setup.bus.facts)
    (fact,) = sync_setup.bus.facts
    assert (fact.subject, fact.message) == (
        "background",
        "catalog: RuntimeError: nobody expected this (it goes on)",
    )
    await sync_setup.sync.stop()


def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(tmp_path):
    saved = FileListings(tmp_path)
    assert saved.load() == {}
    saved.save(Listing(provider="good", read_s=1, offers=()))
    folder = tmp_path / "listings"
    (folder / "half.json").write_bytes(
        msgspec.json.encode(Listing(provider="half", read_s=1, offers=()))[:-4]
    )
    (folder / "other.json").write_bytes(
        msgspec.json.encode(Listing(provider="else", read_s=1, offers=()))
    )
    with (folder / "big.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert set(saved.load()) == {"good"}
    (folder / "good.json").unlink()
    (folder / "good.json").mkdir()
    saved.save(Listing(provider="good", read_s=2, offers=()))
    assert saved.load() == {}


async def test_a_running_gateway_reads_lists_by_itself_and_not_again_when_they_are_fresh(tmp_path):
    async with Simulator() as upstream:
        upstream.script("/openrouter/v1/models", ["listing-openrouter"])
        settings = {
            "data_dir": str(tmp_path),
            "observe": {"log": "off"},
            "database": {"url": "memory:"},
            "providers": {
                "openrouter": {"base_url": f"{upstream.url}/openrouter/v1", "key": "sk-x"}
            },
        }
        async with assemble(
            load_settings("", settings | {"catalog": {"sync_every_s": 0}})
        ) as built:
            built.sync.first_after_s = 0.0
            built.sync.start(3_600)
            await wait_until(lambda: "openrouter/auto" in built.catalog.models)
            assert built.catalog.resolve("openrouter/auto").offers
        count = len(upstream.requests)
        async with assemble(
            load_settings("", settings | {"catalog": {"sync_every_s": 0}})
        ) as built:
            assert "openrouter/auto" in built.catalog.models
            built.sync.first_after_s = 0.0
            built.sync.start(3_600)
            await asyncio.sleep(0.2)
        assert len(upstream.requests) == count
