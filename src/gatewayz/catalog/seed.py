"""The seed: prices and limits that are known before anybody asked a provider, as committed files,
one a provider.

A row holds the canonical id, the provider's native id and the source of its figures. The files are
made by `python -m tools.seed write`; they are data, and a person may correct a figure there.

A row may hold several prices: those of a later day (`later`), and those of some hours of the week
(`windows`). Which one holds is a function of the moment, and so is the next moment at which that
changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files

import msgspec
from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, price_from_pico
from gatewayz.core.requests import Surface

WEEK_DAYS = 8
"""Days within which a window of hours begins and ends again."""


class LaterPrice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price that begins on a day, at midnight UTC: `valid_from` is the date, `2026-12-01`."""

    valid_from: str
    price: dict[str, int] = {}
    tiers: dict[str, dict[str, int]] = {}


class PriceWindow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price of some hours of some days, in UTC: `hours` as `04:00-06:00`, with `24:00` for the
    end of a day; `weekdays` from 1 (Monday) to 7.
    """

    hours: tuple[str, ...]
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    price: dict[str, int] = {}
    tiers: dict[str, dict[str, int]] = {}


class SeedRow(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from"}):
    """A model at a provider; it serves chat, text in and text out, where nothing else is said.

    `tiers` are keyed `>200000`, `priority`, `priority>200000`. `filled` says of single buckets
    where else their figure is from: another list, a page, or the house whose price this provider
    sells at. `held` says why its price is quarantined, `unserved` what it does that no surface
    serves. `spare`: another name at this provider for an offer that stands already.
    """

    id: str
    model: str
    source: str
    serves: tuple[Surface, ...] = ()
    price: dict[str, int] = {}
    tiers: dict[str, dict[str, int]] = {}
    filled: dict[str, str] = {}
    later: tuple[LaterPrice, ...] = ()
    windows: tuple[PriceWindow, ...] = ()
    free: bool = False
    context: int | None = None
    max_output: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    quantization: str = ""
    since: str = ""
    held: str = ""
    unserved: str = ""
    spare: bool = False


class SeedSource(Struct, frozen=True):
    """Where figures are from: the version of the list, and the day on which it was read."""

    version: str
    read: str


class SeedFile(Struct, frozen=True, kw_only=True):
    """A provider's rows, sorted by id. `listed` is false where the ids are deployments that only
    their owner knows.
    """

    provider: str
    listed: bool = True
    sources: dict[str, SeedSource]
    rows: tuple[SeedRow, ...]


class NamesFile(Struct, frozen=True):
    """What models are called by people, and when they were published (seconds; 0: nobody knows), by
    canonical id.
    """

    source: SeedSource
    names: dict[str, tuple[str, int]]


def seed_names() -> dict[str, tuple[str, int]]:
    """The names of this version."""
    text = files("gatewayz.catalog").joinpath("names.json").read_bytes()
    return msgspec.json.decode(text, type=NamesFile).names


def seed_files() -> dict[str, SeedFile]:
    """The files of this version, by provider."""
    decode = msgspec.json.Decoder(SeedFile).decode
    folder = files("gatewayz.catalog").joinpath("rows")
    found = [decode(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {one.provider: one for one in sorted(found, key=lambda one: one.provider)}


def price_from_row(row: SeedRow, version: str, source: str, now_ms: int = 0) -> Price:
    """The whole price of a row at a moment, with the moment in its version where it is not the first price.

    Tiers in which a longer prompt would be cheaper are not believed.
    """
    listed, tiers, valid_from_ms, label = _rates_at(row, now_ms)
    try:
        price = price_from_pico(listed, {_parse_tier_key(key): own for key, own in tiers.items()})
    except Fault:
        price = price_from_pico(listed)
    return msgspec.structs.replace(
        price,
        free=row.free,
        version=f"{version}@{label}" if label else version,
        source=source,
        valid_from_ms=valid_from_ms,
    )


Rates = dict[str, int]


def _rates_at(row: SeedRow, now_ms: int) -> tuple[Rates, dict[str, Rates], int, str]:
    """The figures that hold; since when, and what these are called, where they are not the first ones."""
    begun = [one for one in row.later if _ms_of_day(one.valid_from) <= now_ms]
    if begun:
        latest = max(begun, key=lambda one: one.valid_from)
        return latest.price, latest.tiers, _ms_of_day(latest.valid_from), latest.valid_from
    for window in row.windows if now_ms else ():
        for start_ms, end_ms in _openings(window, now_ms):
            if start_ms <= now_ms < end_ms:
                return window.price, window.tiers, start_ms, "+".join(window.hours)
    return row.price, row.tiers, 0, ""


def next_change_ms(seed: Mapping[str, SeedFile], now_ms: int) -> int | None:
    """When the next of these prices begins to hold, or to hold no longer."""
    rows = (row for file in seed.values() for row in file.rows if row.later or row.windows)
    moments = (moment for row in rows for moment in _moments(row, now_ms))
    return min((moment for moment in moments if moment > now_ms), default=None)


def _moments(row: SeedRow, now_ms: int) -> Iterator[int]:
    yield from (_ms_of_day(one.valid_from) for one in row.later)
    for window in row.windows:
        for start_ms, end_ms in _openings(window, now_ms):
            yield start_ms
            yield end_ms


def _openings(window: PriceWindow, now_ms: int) -> Iterable[tuple[int, int]]:
    """When the window is open, from yesterday on and for a week."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    for shift in range(-1, WEEK_DAYS):
        day = today + timedelta(days=shift)
        if day.isoweekday() in window.weekdays:
            midnight_ms = _ms_of_day(day.isoformat())
            for text in window.hours:
                start, _, end = text.partition("-")
                yield midnight_ms + _ms_of_hour(start), midnight_ms + _ms_of_hour(end)


def _ms_of_hour(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return (int(hours) * 60 + int(minutes)) * 60_000


def _ms_of_day(text: str) -> int:
    midnight = datetime.combine(date.fromisoformat(text), time(), UTC)
    return int(midnight.timestamp()) * 1000


def _parse_tier_key(key: str) -> tuple[str, int]:
    service, _, above = key.partition(">")
    return service, int(above or 0)
