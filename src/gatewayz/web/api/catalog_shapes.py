"""Shapes of what is sold: models, offers, prices, providers, as operators see and set them."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.core.money import Price
from gatewayz.core.reckoning import usd_of_pico
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS
from gatewayz.store.sql.catalog import MAX_ALIASES, MAX_ID
from gatewayz.web.api.shapes import Given, Moment, Shown, Usd

Bucket = Literal[
    "input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "audio_input", "audio_output",
    "image_input", "image_output", "images", "pixels", "requests", "seconds", "searches",
]  # fmt: skip
Figure = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$", description="US dollars as text", examples=["2.50"]
    ),
]
Figures = Annotated[
    dict[Bucket, Figure],
    Field(
        description="US dollars per million tokens or pixels; images, requests, seconds and searches each"
    ),
]
Word = Annotated[str, Field(min_length=1, max_length=MAX_ID, pattern=r"^\S+$")]
Whole = Annotated[int, Field(ge=1, le=10**9)]


class PriceShown(Shown):
    """A price: US dollars per million tokens or pixels; images, requests, seconds and searches each."""

    figures: dict[str, Usd]
    free: bool
    markup_bp: int
    tiers: int
    version: str
    source: str
    valid_from_ms: int


class OfferShown(Shown):
    """A model at a provider. `why_not_callable` and `why_not_sold` are empty when it is both."""

    provider: str
    upstream_id: str
    price: PriceShown | None
    held: str
    context: int | None
    max_output: int | None
    why_not_callable: str
    why_not_sold: str
    price_set_in: str


class ModelShown(Shown):
    """A model and who offers it. `set_in` says where in the configuration file it stands, if it does."""

    id: str
    object: Literal["model"] = "model"
    name: str
    aliases: list[str]
    hidden: bool
    set_in: str
    offers: list[OfferShown]


class ModelGiven(Given):
    """How a model is called, and whether it is on the shelf."""

    id: Word
    name: Annotated[str, Field(max_length=MAX_ID)] = ""
    aliases: Annotated[list[Word], Field(max_length=MAX_ALIASES)] = []
    hidden: bool = False


class OfferGiven(Given):
    """An offer of a model; what is left out stays as lists know it."""

    model: Word
    provider: Word
    upstream_id: Word
    context: Whole | None = None
    max_output: Whole | None = None
    can: list[Literal["tools", "images", "audio", "files", "choices", "json_schema"]] | None = None
    free: bool = False
    hidden: bool = False


class TierGiven(Given):
    """Other figures: above so many prompt tokens, or at a service tier, or both."""

    above: Annotated[int, Field(ge=0, le=10**9)] = 0
    service: Literal["", "batch", "flex", "priority"] = ""
    price: Figures


class PriceGiven(Given):
    """The price of an offer. `sure` says that it is meant, though it is far from the model's other offers."""

    provider: Word
    upstream_id: Word
    price: Figures = {}
    tiers: Annotated[list[TierGiven], Field(max_length=20)] = []
    free: bool = False
    valid_from_ms: Moment | None = None
    sure: bool = False


class PriceSet(Shown):
    """A price that was set for an offer at a time; without `price` the lists' holds from then on."""

    id: str
    object: Literal["price"] = "price"
    provider: str
    upstream_id: str
    price: PriceShown | None
    source: str
    valid_from_ms: int
    created_ms: int


class ListingShown(Shown):
    """A provider's own list, as it was last read. `quarantined` prices are not believed."""

    read_ms: int
    offers: int
    quarantined: int
    doubted: str


class ProviderShown(Shown):
    """Whom models can be had from, whether it is on, and how its offers stand in this process."""

    id: str
    object: Literal["provider"] = "provider"
    name: str
    state: Literal["on", "off"]
    why: str
    dialect: str
    priority: int
    free: bool
    verified: bool
    credentials: int
    models: int
    breakers: dict[str, str]
    listing: ListingShown | None


def price_shown(price: Price) -> PriceShown:
    """A price as it is shown."""
    listed = {bucket: pico for bucket in BUCKETS if (pico := getattr(price, bucket))}
    scales = {bucket: 10**6 if bucket in MILLION_BUCKETS else 1 for bucket in listed}
    return PriceShown(
        figures={bucket: usd_of_pico(pico * scales[bucket]) for bucket, pico in listed.items()},
        free=price.free,
        markup_bp=price.markup_bp,
        tiers=len(price.tiers),
        version=price.version,
        source=price.source,
        valid_from_ms=price.valid_from_ms,
    )
