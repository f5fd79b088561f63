"""Shapes of models, offers, prices and providers, as operators see and set them."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.control.overrides import MAX_ALIASES, MAX_ID
from gatewayz.core.money import Price, usd_from_pico
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS
from gatewayz.web.api.shapes import Moment, RequestModel, ResponseModel, Usd

BucketName = Literal[
    "input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning",
    "audio_input", "audio_output", "image_input", "image_output",
    "images", "pixels", "requests", "seconds", "searches",
]  # fmt: skip
UnitPrice = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$", description="US dollars as text", examples=["2.50"]
    ),
]
UnitPrices = Annotated[
    dict[BucketName, UnitPrice],
    Field(
        description="US dollars per million tokens or pixels, "
        "or per image, request, second and search"
    ),
]
CatalogId = Annotated[str, Field(min_length=1, max_length=MAX_ID, pattern=r"^\S+$")]
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]


class PriceView(ResponseModel):
    """A price: US dollars per million tokens or pixels, or per image, request, second, search."""

    figures: dict[str, Usd]
    free: bool
    markup_bp: int
    tiers: int
    version: str
    source: str
    valid_from_ms: int


class OfferView(ResponseModel):
    """A model at a provider. `why_not_callable` and `why_not_sold` are empty when it is both.

    `quarantine_reason` says why its listed price is not believed.
    """

    provider: str
    upstream_id: str
    price: PriceView | None
    quarantine_reason: str
    context: int | None
    max_output: int | None
    why_not_callable: str
    why_not_sold: str
    price_set_in: str


class ModelView(ResponseModel):
    """A model and who offers it. `set_in` is where the configuration file sets it, if it does."""

    id: str
    object: Literal["model"] = "model"
    name: str
    aliases: list[str]
    hidden: bool
    set_in: str
    offers: list[OfferView]


class PutModelRequest(RequestModel):
    """The names of a model, and whether it is hidden."""

    id: CatalogId
    name: Annotated[str, Field(max_length=MAX_ID)] = ""
    aliases: Annotated[list[CatalogId], Field(max_length=MAX_ALIASES)] = []
    hidden: bool = False


class PutOfferRequest(RequestModel):
    """An offer of a model; a field that is left out is as the lists have it.

    `sure`: its limits are meant, though they are far from what is known.
    """

    model: CatalogId
    provider: CatalogId
    upstream_id: CatalogId
    context: PositiveInt | None = None
    max_output: PositiveInt | None = None
    can: list[Literal["tools", "images", "audio", "files", "choices", "json_schema"]] | None = None
    free: bool = False
    hidden: bool = False
    sure: bool = False


class PriceTierInput(RequestModel):
    """Other prices: above so many prompt tokens, or at a service tier, or both."""

    above: Annotated[int, Field(ge=0, le=10**9)] = 0
    service: Literal["", "batch", "flex", "priority"] = ""
    price: UnitPrices


class CreatePriceRequest(RequestModel):
    """The price of an offer. `sure`: it is meant, though it is far from what is known.

    `as_listed`: the price that its provider lists and that is quarantined, instead of figures.
    """

    provider: CatalogId
    upstream_id: CatalogId
    price: UnitPrices = {}
    tiers: Annotated[list[PriceTierInput], Field(max_length=20)] = []
    free: bool = False
    valid_from_ms: Moment | None = None
    sure: bool = False
    as_listed: bool = False


class PriceEntry(ResponseModel):
    """A price that was set for an offer; without `price` that of the lists holds from then on.

    `usual_call`: what a usual call costs at the offer now, told after a change.
    """

    id: str
    object: Literal["price"] = "price"
    provider: str
    upstream_id: str
    price: PriceView | None
    source: str
    valid_from_ms: int
    created_ms: int
    usual_call: str = ""


def price_view(price: Price) -> PriceView:
    """A price as it is shown."""
    figures = {
        bucket: usd_from_pico(pico * (10**6 if bucket in MILLION_BUCKETS else 1))
        for bucket in BUCKETS
        if (pico := getattr(price, bucket))
    }
    return PriceView(
        figures=figures,
        free=price.free,
        markup_bp=price.markup_bp,
        tiers=len(price.tiers),
        version=price.version,
        source=price.source,
        valid_from_ms=price.valid_from_ms,
    )
