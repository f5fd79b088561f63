"""Prices of other days and hours take effect by themselves, and a call keeps the one it was admitted with."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.seed import (
    LaterPrice,
    PriceWindow,
    SeedFile,
    SeedRow,
    SeedSource,
    next_change_ms,
    price_from_row,
    seed_files,
)
from gatewayz.catalog.sources import CatalogSources, Overrides
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, cost
from gatewayz.core.usage import Usage
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.workers.catalog_sync import CatalogSync
from tests.support.clocks import ManualClock

SEED = seed_files()
PROVIDERS = providers_from(provider_rows(), {}, {})
HOUR_MS = 3_600_000
NOW = "2026-11-28T00:00"


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def file(provider, *rows):
    return SeedFile(
        provider=provider, sources={"list": SeedSource("1.0", "2026-11-28")}, rows=tuple(rows)
    )


def row(native="m", **more):
    price = {"input": 1_000_000, "output": 2_000_000}
    return SeedRow(id=native, model=f"acme/{native}", source="list", price=price, **more)


def later(day, dollars):
    return LaterPrice(valid_from=day, price={"input": dollars * 10**6, "output": 2_000_000})


def input_at(one, moment):
    return price_from_row(one, "list-1.0", "s", ms(moment)).input // 10**6


TWICE = row(later=(later("2026-12-01", 2), later("2027-01-01", 3)))


@pytest.mark.parametrize(
    ("moment", "dollars", "version"),
    [
        ("2026-11-30T23:59:59", 1, "list-1.0"),
        ("2026-12-01T00:00", 2, "list-1.0@2026-12-01"),
        ("2026-12-31T23:59:59", 2, "list-1.0@2026-12-01"),
        ("2027-01-01T00:00", 3, "list-1.0@2027-01-01"),
        ("2030-06-01T12:00", 3, "list-1.0@2027-01-01"),
    ],
)
def test_a_later_price_begins_at_midnight_of_its_day(moment, dollars, version):
    price = price_from_row(TWICE, "list-1.0", "s", ms(moment))
    assert (price.input // 10**6, price.version) == (dollars, version)
    assert price.valid_from_ms <= ms(moment)


NIGHTS = PriceWindow(
    hours=("00:00-01:00", "22:00-24:00"), weekdays=(1, 2, 3, 4, 5), price={"input": 500_000}
)
WEEKENDS = PriceWindow(hours=("00:00-24:00",), weekdays=(6, 7), price={"input": 250_000})
BY_HOUR = row(windows=(NIGHTS, WEEKENDS))


@pytest.mark.parametrize(
    ("moment", "pico"),
    [
        ("2026-11-27T21:59:59", 1_000_000),
        ("2026-11-27T22:00", 500_000),
        ("2026-11-28T00:00", 250_000),
        ("2026-11-29T23:59:59", 250_000),
        ("2026-11-30T00:30", 500_000),
        ("2026-11-30T01:00", 1_000_000),
    ],
)
def test_a_price_of_some_hours_holds_in_those_hours_of_those_days(moment, pico):
    assert price_from_row(BY_HOUR, "v", "s", ms(moment)).input == pico


def test_the_next_moment_is_known_for_days_and_for_hours():
    days, hours = {"a": file("a", TWICE)}, {"a": file("a", BY_HOUR)}
    assert next_change_ms(days, ms(NOW)) == ms("2026-12-01T00:00")
    assert next_change_ms(days, ms("2026-12-01T00:00")) == ms("2027-01-01T00:00")
    assert next_change_ms(days, ms("2027-01-01T00:00")) is None
    assert next_change_ms(hours, ms("2026-11-27T21:00")) == ms("2026-11-27T22:00")
    assert next_change_ms(days | {"b": file("b", BY_HOUR)}, ms("2026-11-29T12:00")) == ms(
        "2026-11-30T00:00"
    )
    assert next_change_ms({"a": file("a", row())}, ms(NOW)) is None


def test_walking_from_moment_to_moment_misses_no_price():
    seed, moment, seen = {"a": file("a", BY_HOUR)}, ms("2026-11-27T00:30"), []
    for _ in range(8):
        seen.append(price_from_row(BY_HOUR, "v", "s", moment).input)
        moment = next_change_ms(seed, moment)
    dense = [
        price_from_row(BY_HOUR, "v", "s", ms("2026-11-27T00:30") + half * HOUR_MS // 2).input
        for half in range((moment - ms("2026-11-27T00:30")) // (HOUR_MS // 2))
    ]
    assert set(dense) == set(seen) == {1_000_000, 500_000, 250_000}


@pytest.mark.parametrize(
    ("provider", "native", "day", "before", "after"),
    [
        ("google-ai-studio", "gemini-4-argon", "2026-12-01", 2_000_000, 4_000_000),
        ("google-vertex", "gemini-4-argon", "2026-12-01", 2_000_000, 4_000_000),
        ("google-ai-studio", "gemini-3.6-flash", "2027-01-01", 750_000, 1_500_000),
        ("openrouter", "google/gemini-4-argon", "2026-12-01", 2_000_000, 4_000_000),
        ("deepinfra", "google/gemini-3.7-flash", "2027-01-01", 750_000, 1_500_000),
        ("google-vertex", "gemini-3.8-flash", "2027-01-01", 750_000, 1_500_000),
    ],
)
def test_prices_that_are_announced_are_in_the_seed(provider, native, day, before, after):
    one = next(each for each in SEED[provider].rows if each.id == native)
    found = [price_from_row(one, "v", "s", ms(day) + shift) for shift in (-1, 0)]
    assert [price.input for price in found] == [before, after]
    # What the announcement does not name keeps its proportion.
    assert [price.audio_input for price in found] == [before, after]
    assert found[1].cache_read * before == found[0].cache_read * after


@pytest.mark.parametrize(
    ("moment", "pico"),
    [
        ("2026-11-27T03:59", 1_320_000),
        ("2026-11-27T04:00", 660_000),
        ("2026-11-27T09:00", 1_320_000),
        ("2026-11-27T17:00", 660_000),
        ("2026-11-28T09:00", 660_000),
    ],
)
def test_deepseek_is_at_its_peak_in_the_mornings_of_workdays_only(moment, pico):
    one = next(each for each in SEED["deepseek"].rows if each.id == "deepseek-v4-pro")
    assert price_from_row(one, "v", "s", ms(moment)).input == pico


# The catalogue, without a restart.


class Overridden:
    """The port of overrides: a price that an operator set for a later moment."""

    def __init__(self):
        self.number, self.begins_ms, self.away = 1, None, False

    async def revision(self):
        if self.away:
            raise Fault("unavailable", "The store is away.")
        return self.number

    async def read(self, now_ms):
        begun = self.begins_ms is not None and self.begins_ms <= now_ms
        price = Price(input=9_000_000, output=1, version="api-1")
        return Overrides(
            prices={("openai", "set"): price} if begun else {},
            revision=self.number,
            next_ms=None if begun else self.begins_ms,
        )


class Nowhere:
    """Listings that nobody kept, and a bus that nobody hears."""

    def load(self):
        return {}

    def save(self, listing):
        pass

    def emit(self, fact):
        pass


class Setup:
    def __init__(self, *rows, overrides=None, now=NOW):
        self.clock = ManualClock(ms(now))
        sources = CatalogSources({"openai": file("openai", *rows)}, {}, ())
        models = merge_catalog(sources, PROVIDERS, self.clock.wall_ms())
        self.catalog = Catalog(models, PROVIDERS)
        self.sync = CatalogSync(
            transport=None,
            formats={},
            sources=sources,
            catalog=self.catalog,
            saved_listings=Nowhere(),
            clock=self.clock,
            bus=Nowhere(),
            rng=lambda: 0.5,
            overrides=overrides,
        )

    def price(self, native="m"):
        return self.catalog.resolve(f"acme/{native}").offers[0].price

    async def wait_until(self, moment):
        self.clock.advance((ms(moment) - self.clock.wall_ms()) / 1000)
        await self.sync.poll_overrides()


async def test_a_later_price_takes_effect_without_a_restart_and_a_call_keeps_its_own():
    here = Setup(TWICE)
    admitted = here.price()
    await here.wait_until("2026-11-30T23:59")
    assert here.price() is admitted
    await here.wait_until("2026-12-01T00:00")
    assert here.price().version == "list-1.0@2026-12-01"
    usage = Usage(input=1_000_000)
    assert (cost(usage, admitted), cost(usage, here.price())) == (10**9, 2 * 10**9)
    await here.wait_until("2027-03-01T00:00")
    assert here.price().input == 3_000_000


async def test_hours_take_effect_and_end_without_a_restart():
    here = Setup(BY_HOUR, now="2026-11-27T20:00")
    seen = []
    for moment in ("2026-11-27T22:00", "2026-11-28T00:00", "2026-11-30T00:00", "2026-11-30T01:00"):
        await here.wait_until(moment)
        seen.append(here.price().input)
    assert seen == [500_000, 250_000, 500_000, 1_000_000]


async def test_nothing_is_put_together_anew_while_no_price_changes():
    here = Setup(TWICE)
    version = here.catalog.index.version
    for moment in ("2026-11-28T00:01", "2026-11-29T00:00", "2026-11-30T23:59:59"):
        await here.wait_until(moment)
    assert here.catalog.index.version == version


async def test_operators_later_prices_begin_by_the_same_poll_and_stand_before_the_seeds():
    overrides = Overridden()
    overrides.begins_ms = ms("2026-12-02T00:00")
    plain = replace(row("set"), later=(later("2026-12-03", 5),))
    here = Setup(TWICE, plain, overrides=overrides)
    await here.wait_until("2026-12-01T00:00")
    assert (here.price().input, here.price("set").input) == (2_000_000, 1_000_000)
    await here.wait_until("2026-12-02T00:00")
    assert here.price("set").input == 9_000_000
    await here.wait_until("2026-12-03T00:00")
    assert here.price("set").input == 9_000_000


async def test_a_store_that_is_away_keeps_no_price_from_beginning():
    overrides = Overridden()
    here = Setup(TWICE, overrides=overrides)
    await here.sync.poll_overrides()
    overrides.away = True
    with pytest.raises(Fault):
        await here.wait_until("2026-12-01T00:00")
    assert here.price().input == 2_000_000
