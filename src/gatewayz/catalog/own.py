"""Models as the operator sets them: what the configuration file says, over everything that lists know."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.merge import Own
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, listed_from_usd, price_from_pico
from gatewayz.core.requests import Capability, Surface
from gatewayz.core.usage import SERVICES

VERSION = "settings"
MAX_MARKUP_BP = 1_000_000
"""A hundred times the price; more is a slip of the pen."""


class TierSettings(Struct, frozen=True, kw_only=True):
    """Other prices: above so many prompt tokens, or at a service tier, or both."""

    above: int = 0
    service: str = ""
    price: dict[str, str] = {}


class OfferSettings(Struct, frozen=True, kw_only=True):
    """A model at a provider; `price` in USD per million tokens, as quoted text."""

    provider: str
    upstream_id: str
    price: dict[str, str] = {}
    tiers: tuple[TierSettings, ...] = ()
    price_id: str = ""
    free: bool = False
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
    markup_bp: int = 0


def own_models(given: Iterable[ModelSettings]) -> tuple[Own, ...]:
    """The models that the operator named. Faults: `bad_request` for prices that are none."""
    return tuple(_own(model) for model in given)


def _own(given: ModelSettings) -> Own:
    checked_markup(f"models.{given.id}", given.markup_bp)
    model = Model(
        id=given.id,
        name=given.name or given.id,
        aliases=given.aliases,
        context=given.context,
        offers=tuple(_offer(given, offer) for offer in given.offers),
    )
    price_ids = {
        (one.provider, one.upstream_id): one.price_id for one in given.offers if one.price_id
    }
    return Own(
        model=model,
        known=given.known_offers,
        enabled=given.enabled,
        markup_bp=given.markup_bp,
        price_ids=price_ids,
    )


def _offer(model: ModelSettings, given: OfferSettings) -> Offer:
    return Offer(
        model=model.id,
        provider=given.provider,
        upstream_id=given.upstream_id,
        price=_price(f"models.{model.id}.offers.{given.provider}", given)
        if given.price or given.free
        else None,
        context=given.context if given.context is not None else model.context,
        max_output=given.max_output,
        can=frozenset(given.can) if given.can is not None else None,
        serves=given.serves,
    )


def _price(path: str, given: OfferSettings) -> Price:
    try:
        price = priced(given.price, given.tiers, free=given.free)
    except Fault as fault:
        raise Fault("bad_request", f"{path}: {fault.message}") from None
    return replace(price, version=VERSION, source=VERSION)


def priced(
    price: Mapping[str, str], tiers: Iterable[TierSettings] = (), *, free: bool = False
) -> Price:
    """A price as people write it. Faults: `bad_request` names the figure."""
    listed = {(_service(tier.service), tier.above): listed_from_usd(tier.price) for tier in tiers}
    return replace(price_from_pico(listed_from_usd(price), listed), free=free)


def _service(name: str) -> str:
    if name and name not in SERVICES:
        raise Fault(
            "bad_request", f"there is no service tier {name!r}; there are {', '.join(SERVICES)}"
        )
    return name


def checked_markup(path: str, markup_bp: int | None) -> None:
    """Faults: `bad_request` for a markup that would sell below the price, or that nobody can mean."""
    if markup_bp is not None and not 0 <= markup_bp <= MAX_MARKUP_BP:
        raise Fault(
            "bad_request",
            f"{path}.markup_bp: must be from 0 to {MAX_MARKUP_BP} basis points (100 are 1 %).",
        )
