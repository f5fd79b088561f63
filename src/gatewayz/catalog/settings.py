"""The part of the configuration file that is about models and prices, as values."""

from msgspec import Struct

from gatewayz.core.requests import Capability, Surface


class TierSettings(Struct, frozen=True, kw_only=True):
    """Other prices: above so many prompt tokens, or at a service tier, or both.

    Example: `TierSettings(above=200_000, price={"input": "5.00", "output": "15.00"})`
    """

    above: int = 0
    service: str = ""
    price: dict[str, str] = {}


class OfferSettings(Struct, frozen=True, kw_only=True):
    """A model at a provider; `price` in USD per million tokens, as quoted text.

    `sure`: the price is meant, though it is far from the one that the package knows.
    """

    provider: str
    upstream_id: str
    price: dict[str, str] = {}
    tiers: tuple[TierSettings, ...] = ()
    price_id: str = ""
    free: bool = False
    sure: bool = False
    context: int | None = None
    max_output: int | None = None
    can: tuple[Capability, ...] | None = None
    serves: tuple[Surface, ...] = ()


class ModelSettings(Struct, frozen=True, kw_only=True):
    """A model by canonical id `family/name`."""

    id: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    context: int | None = None
    offers: tuple[OfferSettings, ...] = ()
    known_offers: bool = True
    enabled: bool = True
    markup_bp: int | None = None


class CatalogSettings(Struct, frozen=True, kw_only=True):
    """Where models and prices come from, and what is added to them."""

    seed: bool = True
    sync_every_s: float = 21_600.0
    index_url: str = ""
    markup_bp: int = 0
