"""Models as the operator sets them: what the configuration file says, over all that lists know."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.price_checks import BASE_BUCKETS
from gatewayz.catalog.settings import ModelSettings, OfferSettings, TierSettings
from gatewayz.catalog.sources import OperatorModel
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, price_from_pico, rates_from_usd
from gatewayz.core.usage import SERVICES, TOKEN_BUCKETS

VERSION = "settings"
MAX_MARKUP_BP = 1_000_000
"""A hundred times the price; more is a slip of the pen."""


def operator_models_from_settings(models: Iterable[ModelSettings]) -> tuple[OperatorModel, ...]:
    """The models that the operator named. Faults: `bad_request` for a price that is none, and for a
    name that two models have.
    """
    models = tuple(models)
    _check_names(models)
    return tuple(_operator_model(settings) for settings in models)


def _check_names(models: Iterable[ModelSettings]) -> None:
    owners: dict[str, str] = {}
    for settings in models:
        _check_offers(settings)
        for name in dict.fromkeys((settings.id, *settings.aliases)):
            if name in owners:
                raise Fault(
                    "bad_request",
                    f"models.{settings.id}: the name {name!r} is that of models.{owners[name]}"
                    " already; a name means one model",
                )
            owners[name] = settings.id


def _check_offers(settings: ModelSettings) -> None:
    """An offer is there once: of two, one would have no effect."""
    keys = [(offer.provider, offer.upstream_id) for offer in settings.offers]
    for provider, upstream_id in keys:
        if keys.count((provider, upstream_id)) > 1:
            path = f"models.{settings.id}.offers"
            raise Fault(
                "bad_request", f"{path}: {provider}/{upstream_id} is there twice; leave one"
            )


def _operator_model(settings: ModelSettings) -> OperatorModel:
    check_markup(f"models.{settings.id}", settings.markup_bp)
    model = Model(
        id=settings.id,
        name=settings.name or settings.id,
        aliases=settings.aliases,
        context=settings.context,
        offers=tuple(_offer_from_settings(settings, offer) for offer in settings.offers),
    )
    price_ids = {
        (offer.provider, offer.upstream_id): offer.price_id
        for offer in settings.offers
        if offer.price_id
    }
    return OperatorModel(
        model=model,
        keep_known_offers=settings.known_offers,
        enabled=settings.enabled,
        markup_bp=settings.markup_bp,
        price_ids=price_ids,
    )


def _offer_from_settings(model: ModelSettings, settings: OfferSettings) -> Offer:
    path = f"models.{model.id}.offers.{settings.provider}"
    is_priced = bool(settings.price) or settings.free
    return Offer(
        model=model.id,
        provider=settings.provider,
        upstream_id=settings.upstream_id,
        price=_price_from_settings(path, settings) if is_priced else None,
        context=settings.context if settings.context is not None else model.context,
        max_output=settings.max_output,
        can=frozenset(settings.can) if settings.can is not None else None,
        serves=settings.serves,
    )


def _price_from_settings(path: str, settings: OfferSettings) -> Price:
    try:
        answers_in_text = not settings.serves or "chat" in settings.serves
        price = parse_price(
            settings.price, settings.tiers, free=settings.free, has_output=answers_in_text
        )
    except Fault as fault:
        raise Fault("bad_request", f"{path}: {fault.message}") from None
    return replace(price, version=VERSION, source=VERSION)


def parse_price(
    price: Mapping[str, str],
    tiers: Iterable[TierSettings] = (),
    *,
    free: bool = False,
    has_output: bool = True,
) -> Price:
    """A price as people write it: US dollars by bucket. Faults: `bad_request` names the figure,
    or what is left out: a price of tokens has one for those in and, unless what answers is known to
    make no text (`has_output`), one for those out.

    Example: `parse_price({"input": "2.50", "output": "10"})`
    """
    rates = rates_from_usd(price)
    if free and rates:
        raise Fault("bad_request", "a price is either free or has figures, not both")
    _check_base(rates, BASE_BUCKETS if has_output else BASE_BUCKETS[:1])
    rates_by_tier = {}
    for tier in tiers:
        key = (_check_service(tier.service), tier.above)
        if not tier.price:
            raise Fault("bad_request", f"the tier {_tier_name(tier)} names no figure")
        if key in rates_by_tier or key == ("", 0):
            raise Fault(
                "bad_request", f"the tier {_tier_name(tier)} has no effect: it is there already"
            )
        rates_by_tier[key] = rates_from_usd(tier.price)
    return replace(price_from_pico(rates, rates_by_tier), free=free)


def _tier_name(tier: TierSettings) -> str:
    return f"{tier.service}>{tier.above}"


def _check_base(rates: Mapping[str, int], base: tuple[str, ...]) -> None:
    """Faults: `bad_request` for a price of tokens that says nothing of those in, or of those out."""
    if not any(bucket in TOKEN_BUCKETS for bucket in rates):
        return
    for bucket in base:
        if bucket not in rates:
            raise Fault(
                "bad_request",
                f"the price names {', '.join(rates)} and no {bucket}; name it too,"
                f' and write {bucket} "0" if it costs nothing, as the output of an embedding does',
            )


def _check_service(name: str) -> str:
    if name and name not in SERVICES:
        raise Fault(
            "bad_request", f"there is no service tier {name!r}; there are {', '.join(SERVICES)}"
        )
    return name


def check_markup(path: str, markup_bp: int | None) -> None:
    """Faults: `bad_request` for a markup that sells below the price, or that nobody can mean."""
    if markup_bp is not None and not 0 <= markup_bp <= MAX_MARKUP_BP:
        raise Fault(
            "bad_request",
            f"{path}.markup_bp: must be from 0 to {MAX_MARKUP_BP} basis points (100 are 1 %).",
        )
