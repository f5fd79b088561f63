"""Syncing over real sockets: whatever one provider lists, its last good list holds and the others are read."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from gatewayz.assemble import assembled
from gatewayz.catalog.merge import Listing, Lists, merged
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.seed import seed
from gatewayz.core.clock import SystemClock
from gatewayz.core.secrets import Secret
from gatewayz.engine import sync as syncing
from gatewayz.engine.sync import Sync
from gatewayz.observe.metrics import Metrics
from gatewayz.providers.listings import formats
from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import Credential
from gatewayz.routing.rules import Deadlines
from gatewayz.settings import loaded
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import MAX_FILE_BYTES, FileListings
from gatewayz.upstream.http1 import HttpTransport

NAMES = ("openrouter", "vercel-ai-gateway", "together")


class Kept:
    """Bus and settings of one test: remembers facts."""

    def __init__(self):
        self.facts = []

    def emit(self, fact):
        self.facts.append(fact)


class Bench:
    """A sync whose providers are all played by one simulator."""

    def __init__(self, upstream, transport, folder):
        self.upstream = upstream
        self.bus = Kept()
        table = providers_from(rows(), {}, {})
        held = (Credential(id="key#1", key=Secret("sk-canary")),)
        self.providers = table | {
            name: replace(
                table[name], base_url=f"{upstream.url}/{name}/v1", credentials=held, off=""
            )
            for name in NAMES
        }
        self.kept = FileListings(folder)
        self.lists = Lists(seed(), self.kept.load(), ())
        self.shelf = Shelf(merged(self.lists, self.providers), self.providers)
        self.sync = Sync(
            transport=transport,
            formats=formats(),
            lists=self.lists,
            shelf=self.shelf,
            kept=self.kept,
            clock=SystemClock(),
            bus=self.bus,
            dice=lambda: 0.5,
        )

    def play(self, name, *outcomes):
        self.upstream.script(f"/{name}/v1/models", list(outcomes))

    def offer(self, model, provider):
        return next(
            offer for offer in self.shelf.models[model].offers if offer.provider == provider
        )


@pytest.fixture
async def bench(tmp_path):
    async with Simulator() as upstream:
        transport = HttpTransport(Deadlines())
        yield Bench(upstream, transport, tmp_path)
        await transport.close()


async def test_listings_are_read_gated_kept_and_put_on_the_shelf(bench):
    bench.play("openrouter", "listing-openrouter")
    bench.play("vercel-ai-gateway", "listing-vercel")
    bench.play("together", "listing-together")
    before = bench.shelf.stock.version
    facts = {fact.provider: fact for fact in await bench.sync.run()}
    assert {name: (fact.models, fact.quarantined, fact.fault) for name, fact in facts.items()} == {
        "openrouter": (3, 1, ""),
        "vercel-ai-gateway": (2, 0, ""),
        "together": (1, 0, ""),
    }
    assert bench.shelf.stock.version == before + 1
    assert bench.shelf.models["anthropic/claude-sonnet-4.5"].name == "Anthropic: Claude Sonnet 4.5"
    assert bench.offer("anthropic/claude-sonnet-4.5", "openrouter").parameters[0] == "max_tokens"
    assert bench.offer("openrouter/auto", "openrouter").held
    assert set(bench.kept.load()) == set(NAMES)
    assert bench.bus.facts == list(facts.values())
    metrics = Metrics()
    metrics.take(bench.bus.facts)


async def test_a_list_is_asked_for_with_a_key_only_where_it_needs_one(bench):
    for name in NAMES:
        bench.play(name, "hostile-good" if name != "together" else "listing-together")
    await bench.sync.run()
    sent = {
        asked.path.split("/")[1]: asked.headers.get("authorization")
        for asked in bench.upstream.requests
    }
    assert sent == {"openrouter": None, "vercel-ai-gateway": None, "together": "Bearer sk-canary"}


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
async def test_whatever_a_list_is_the_last_good_one_holds(bench, outcome):
    bench.play("openrouter", "listing-openrouter", outcome)
    bench.play("together", "listing-together")
    await bench.sync.run(["openrouter"])
    good = bench.sync.listings["openrouter"]
    facts = {fact.provider: fact for fact in await bench.sync.run(["openrouter", "together"])}
    assert facts["openrouter"].fault
    assert facts["together"].fault == ""
    assert bench.sync.listings["openrouter"] is good
    assert bench.kept.load()["openrouter"] == good
    assert bench.shelf.models["anthropic/claude-sonnet-4.5"].name == "Anthropic: Claude Sonnet 4.5"


@pytest.mark.parametrize(
    "outcome", ["hostile-million-times", "hostile-wrong-types", "hostile-again-500", "hostile-many"]
)
async def test_a_list_full_of_nonsense_changes_no_price(bench, outcome):
    known = {key: offer.price for key, offer in bench.shelf.stock.places.items()}
    bench.play("openrouter", outcome)
    (fact,) = await bench.sync.run(["openrouter"])
    assert fact.fault == ""
    moved = [
        key
        for key, price in known.items()
        if price is not None and bench.shelf.stock.places[key].price.output > 5 * price.output > 0
    ]
    assert moved == []
    if outcome == "hostile-million-times":
        assert fact.quarantined == 14
        assert {
            key: offer.price for key, offer in bench.shelf.stock.places.items() if key in known
        } == known


@pytest.mark.parametrize("outcome", ["fault-hang-before", "fault-hang-headers", "hostile-drip"])
async def test_a_list_that_hangs_is_given_up_in_time_and_holds_nobody_up(bench, outcome, tmp_path):
    bench.play("openrouter", outcome)
    bench.play("together", "listing-together")
    bench.sync.read_s = 0.3
    facts = {fact.provider: fact for fact in await bench.sync.run(["openrouter", "together"])}
    assert facts["openrouter"].fault == "upstream_timeout"
    assert facts["together"].models == 1
    for _ in range(200):
        if not bench.upstream.open_streams:
            break
        await asyncio.sleep(0.01)
    assert bench.upstream.open_streams == 0


async def test_only_so_many_lists_are_read_at_once(bench):
    bench.sync.read_s = 0.3
    many = {
        f"p{number}": replace(
            bench.providers["openrouter"],
            id=f"p{number}",
            base_url=f"{bench.upstream.url}/p{number}/v1",
        )
        for number in range(12)
    }
    bench.shelf.providers = bench.providers | many
    bench.sync.formats = dict.fromkeys(many, formats()["openrouter"])
    for name in many:
        bench.play(name, "fault-hang-before")
    reading = asyncio.get_running_loop().create_task(bench.sync.run())
    most = 0
    while not reading.done():
        most = max(most, bench.upstream.open_streams)
        await asyncio.sleep(0.01)
    assert most == syncing.AT_ONCE
    assert {fact.fault for fact in await reading} == {"upstream_timeout"}


async def test_listings_are_there_again_after_a_restart(bench, tmp_path):
    bench.play("openrouter", "listing-openrouter")
    await bench.sync.run(["openrouter"])
    again = Shelf(
        merged(Lists(seed(), FileListings(tmp_path).load(), ()), bench.providers), bench.providers
    )
    assert again.models == bench.shelf.models


class Broken:
    """A catalogue that fails in a way that nobody made it for."""

    async def number(self):
        raise RuntimeError("nobody expected this")

    async def read(self, now_ms):
        raise AssertionError("not reached")


async def test_a_worker_that_ends_by_itself_is_told_and_stops_quietly(bench):
    bench.sync._catalog = Broken()
    bench.sync.look_every_s = 0.0
    bench.sync.start(0)
    for _ in range(200):
        if bench.bus.facts:
            break
        await asyncio.sleep(0.01)
    (fact,) = bench.bus.facts
    assert (fact.subject, fact.message) == (
        "worker_ended",
        "catalog: RuntimeError: nobody expected this",
    )
    await bench.sync.stop()


def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(tmp_path):
    kept = FileListings(tmp_path)
    assert kept.load() == {}
    kept.keep(Listing(provider="good", read_s=1, offers=()))
    folder = tmp_path / "listings"
    (folder / "half.json").write_bytes(
        msgspec.json.encode(Listing(provider="half", read_s=1, offers=()))[:-4]
    )
    (folder / "other.json").write_bytes(
        msgspec.json.encode(Listing(provider="else", read_s=1, offers=()))
    )
    with (folder / "big.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert set(kept.load()) == {"good"}
    (folder / "good.json").unlink()
    (folder / "good.json").mkdir()
    kept.keep(Listing(provider="good", read_s=2, offers=()))
    assert kept.load() == {}


async def test_a_running_gateway_reads_lists_by_itself_and_not_again_when_they_are_fresh(tmp_path):
    async with Simulator() as upstream:
        upstream.script("/openrouter/v1/models", ["listing-openrouter"])
        given = {
            "data_dir": str(tmp_path),
            "observe": {"log": "off"},
            "database": {"url": "memory:"},
            "providers": {
                "openrouter": {"base_url": f"{upstream.url}/openrouter/v1", "key": "sk-x"}
            },
        }
        async with assembled(loaded("", given | {"catalog": {"sync_every_s": 0}})) as built:
            built.sync.first_after_s = 0.0
            built.sync.start(3_600)
            for _ in range(500):
                if "openrouter/auto" in built.shelf.models:
                    break
                await asyncio.sleep(0.01)
            assert built.shelf.resolve("openrouter/auto").offers
        asked = len(upstream.requests)
        async with assembled(loaded("", given | {"catalog": {"sync_every_s": 0}})) as built:
            assert "openrouter/auto" in built.shelf.models
            built.sync.first_after_s = 0.0
            built.sync.start(3_600)
            await asyncio.sleep(0.2)
        assert len(upstream.requests) == asked
