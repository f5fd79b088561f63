"""The seed: prices and limits that are known before anybody asked a provider, committed as files, one a provider.

A row holds the canonical id, the provider's native id and the source of its figures. The files are made by
`python -m tools.seed`; they are data, and a person may correct a figure there.
"""

from importlib.resources import files

import msgspec
from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, price_from_pico
from gatewayz.core.requests import Surface


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from"}):
    """A model at a provider; it serves chat, text in and text out, where nothing else is said.

    `tiers` are keyed `>200000`, `priority`, `priority>200000`. `held` says why its price is quarantined. `spare`:
    another name at this provider for an offer that stands already.
    """

    id: str
    model: str
    source: str
    serves: tuple[Surface, ...] = ()
    price: dict[str, int] = {}
    tiers: dict[str, dict[str, int]] = {}
    free: bool = False
    context: int | None = None
    max_output: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    quantization: str = ""
    since: str = ""
    held: str = ""
    spare: bool = False


class Source(Struct, frozen=True):
    """Where figures are from: the version of the list, and the day on which it was read."""

    version: str
    read: str


class SeedFile(Struct, frozen=True, kw_only=True):
    """A provider's rows, sorted by id. `listed` is false where the ids are deployments that only their owner knows."""

    provider: str
    listed: bool = True
    sources: dict[str, Source]
    rows: tuple[Row, ...]


class NamesFile(Struct, frozen=True):
    """What models are called by people, and when they were published (seconds; 0: nobody knows), by canonical id."""

    source: Source
    names: dict[str, tuple[str, int]]


def seed_names() -> dict[str, tuple[str, int]]:
    """The names of this version."""
    text = files("gatewayz.catalog").joinpath("names.json").read_bytes()
    return msgspec.json.decode(text, type=NamesFile).names


def seed() -> dict[str, SeedFile]:
    """The files of this version, by provider."""
    decode = msgspec.json.Decoder(SeedFile).decode
    folder = files("gatewayz.catalog").joinpath("rows")
    found = [decode(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {one.provider: one for one in sorted(found, key=lambda one: one.provider)}


def price_of(row: Row, version: str, source: str) -> Price:
    """The whole price of a row. Tiers in which a longer prompt would be cheaper are not believed."""
    tiers = {_tier_key(key): own for key, own in row.tiers.items()}
    try:
        price = price_from_pico(row.price, tiers)
    except Fault:
        price = price_from_pico(row.price)
    return msgspec.structs.replace(price, free=row.free, version=version, source=source)


def _tier_key(key: str) -> tuple[str, int]:
    service, _, above = key.partition(">")
    return service, int(above or 0)
