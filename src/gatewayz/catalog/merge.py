"""Merging: seed, providers' listings, what operators set by API, their file; each over the former.

Pure: the same sources give the same models. A list never touches a price that an operator set.
"""

from collections.abc import Iterable, Mapping
from sys import intern
from typing import NamedTuple

from msgspec.structs import replace

from gatewayz.catalog.canonical_ids import family_rules
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.seed import SeedFile, SeedRow, price_from_row
from gatewayz.catalog.sources import CatalogSources, OfferKey, OperatorModel, Overrides
from gatewayz.core.money import Price
from gatewayz.core.requests import Surface
from gatewayz.providers.spec import Provider

TEXT = ("text",)
CHAT: tuple[Surface, ...] = ("chat", "count")
ALTERNATE_NAME_REASON = "another name for an offer that exists already"
DEPLOYMENT_REASON = "its ids are deployments that only their owner knows: name yours under models"

OffersByKey = dict[OfferKey, Offer]


def merge_catalog(
    sources: CatalogSources, providers: Mapping[str, Provider], now_ms: int = 0
) -> tuple[Model, ...]:
    """All models, sorted by id. Offers of providers that are unknown here are left out.

    Prices of the seed are those of `now_ms`; at 0, those of the day on which it was made.
    """
    offers = _offers_from_lists(sources, providers, now_ms)
    own = {operator_model.model.id: operator_model for operator_model in sources.operator_models}
    grouped = _group_models(
        offer
        for offer in offers.values()
        if offer.model not in own or own[offer.model].keep_known_offers
    )
    models = _with_names_and_dates(grouped, sources)
    for model_id, since_s in _listed_since(sources, providers, models).items():
        models[model_id] = replace(models[model_id], listed_since_s=since_s)
    for override in sources.overrides.models:
        if override.id in models:
            named = _with_names(models[override.id], override)
            names = (override.id, *override.aliases)
            models[override.id] = replace(named, api_names=names)
    for model_id, operator_model in own.items():
        models[model_id] = _apply_operator_model(
            models.get(model_id), operator_model, offers, sources.overrides.prices
        )

    hidden = sources.overrides.hidden_models
    shown = [
        model
        for model in models.values()
        if (own[model.id].enabled if model.id in own else model.id not in hidden)
    ]
    return tuple(
        _apply_markup(model, own.get(model.id), providers, sources.markup_bp)
        for model in sorted(shown, key=_model_id)
    )


def _listed_since(
    sources: CatalogSources, providers: Mapping[str, Provider], models: Mapping[str, Model]
) -> dict[str, int]:
    """Since when lists name the models that nobody else knows."""
    known = {
        row.model
        for provider, file in sources.seed.items()
        if provider in providers
        for row in file.rows
    }
    known.update(model.id for model in sources.overrides.models)
    since: dict[str, int] = {}
    updated = sources.update.listings if sources.update is not None else {}
    for listing in (*updated.values(), *sources.listings.values()):
        for offer in listing.offers:
            if offer.model in known or offer.model not in models:
                continue
            memory = listing.memory.get(offer.upstream_id)
            first_s = memory.first_s if memory is not None else listing.read_s
            since[offer.model] = min(first_s, since.get(offer.model, first_s))
    return since


def _model_id(model: Model) -> str:
    return model.id


def _offer_key(offer: Offer) -> OfferKey:
    return offer.provider, offer.upstream_id


def _offers_from_lists(
    sources: CatalogSources, providers: Mapping[str, Provider], now_ms: int
) -> OffersByKey:
    """Every offer that lists know: the seed, its update, providers' own lists, overrides, each over
    the one before.
    """
    offers: OffersByKey = {}
    for provider, file in sources.seed.items():
        if provider in providers:
            offers |= _offers_from_seed(provider, file, now_ms)
    updated = sources.update.listings if sources.update is not None else {}
    for listing in (*updated.values(), *sources.listings.values()):
        for offer in listing.offers if listing.provider in providers else ():
            key = _offer_key(offer)
            before = offers.get(key)
            offers[key] = offer if before is None else _overlay_offer(before, offer)
    return _apply_overrides(offers, sources.overrides, providers)


class _VersionedSource(NamedTuple):
    version: str
    read_on: str


def _offers_from_seed(provider: str, file: SeedFile, now_ms: int) -> OffersByKey:
    versions = {
        name: _VersionedSource(intern(f"{name}-{source.version}"), source.read)
        for name, source in file.sources.items()
    }
    return {
        (provider, row.id): _offer_from_row(provider, row, versions[row.source], file, now_ms)
        for row in file.rows
    }


def _offer_from_row(
    provider: str, row: SeedRow, source: _VersionedSource, file: SeedFile, now_ms: int
) -> Offer:
    price = None
    if (row.price and not row.held) or row.free:
        origin = intern(f"{source.version} of {row.since or source.read_on}")
        price = price_from_row(row, source.version, origin, now_ms)
    pinned_only_reason = ALTERNATE_NAME_REASON if row.spare else ""
    if not file.listed:
        pinned_only_reason = DEPLOYMENT_REASON
    return Offer(
        model=row.model,
        provider=provider,
        upstream_id=row.id,
        price=price,
        quarantine_reason=row.held,
        pinned_only_reason=pinned_only_reason,
        unserved_reason=row.unserved,
        context=row.context,
        max_output=row.max_output,
        serves=_with_count(row.serves) if row.serves else CHAT,
        inputs=row.inputs or TEXT,
        outputs=row.outputs or TEXT,
        features=row.features,
        quantization=row.quantization,
    )


def _with_count(serves: tuple[Surface, ...]) -> tuple[Surface, ...]:
    """Whoever chats can be counted for."""
    return (*serves, "count") if "chat" in serves else serves


def _apply_overrides(
    offers: OffersByKey, overrides: Overrides, providers: Mapping[str, Provider]
) -> OffersByKey:
    for offer in (offer for model in overrides.models for offer in model.offers):
        key = _offer_key(offer)
        if offer.provider in providers:
            offers[key] = _overlay_own_offer(offers[key], offer) if key in offers else offer
    for key, price in overrides.prices.items():
        if key in offers:
            offers[key] = replace(offers[key], price=price, quarantine_reason="")
    return {key: offer for key, offer in offers.items() if key not in overrides.hidden_offers}


def _overlay_offer(before: Offer, offer: Offer) -> Offer:
    """`offer`, with what it leaves open taken from `before`."""
    is_judged = offer.price is not None or bool(offer.quarantine_reason)
    new_features = tuple(word for word in offer.features if word not in before.features)
    return replace(
        offer,
        model=before.model,
        pinned_only_reason=before.pinned_only_reason,
        unserved_reason=offer.unserved_reason or before.unserved_reason,
        price=offer.price if is_judged else before.price,
        quarantine_reason=offer.quarantine_reason if is_judged else before.quarantine_reason,
        context=offer.context or before.context,
        max_output=offer.max_output or before.max_output,
        can=offer.can if offer.can is not None else before.can,
        serves=offer.serves or before.serves,
        inputs=offer.inputs if offer.inputs != TEXT else before.inputs,
        outputs=offer.outputs if offer.outputs != TEXT else before.outputs,
        features=before.features + new_features,
        parameters=offer.parameters or before.parameters,
        quantization=offer.quantization or before.quantization,
    )


def _overlay_own_offer(before: Offer, offer: Offer) -> Offer:
    """An offer that somebody named: it keeps its model and is a candidate like any other. What it
    is said to serve, it serves.
    """
    unserved_reason = "" if offer.serves else before.unserved_reason
    return replace(
        _overlay_offer(before, offer),
        model=offer.model,
        pinned_only_reason="",
        unserved_reason=unserved_reason,
    )


def _group_models(offers: Iterable[Offer]) -> dict[str, Model]:
    """Offers by the model that they are of, each list sorted."""
    candidates: dict[str, list[Offer]] = {}
    pinned_only: dict[str, list[Offer]] = {}
    for offer in offers:
        group = pinned_only if offer.pinned_only_reason else candidates
        group.setdefault(offer.model, []).append(offer)

    aliases = family_rules().aliases
    models = {}
    for name in candidates.keys() | pinned_only.keys():
        own = candidates.get(name, [])
        models[name] = Model(
            id=name,
            aliases=aliases.get(name, ()),
            context=max((offer.context or 0 for offer in own), default=0) or None,
            offers=tuple(sorted(own, key=_offer_key)),
            pinned_only_offers=tuple(sorted(pinned_only.get(name, ()), key=_offer_key)),
        )
    return models


def _with_names_and_dates(models: Mapping[str, Model], sources: CatalogSources) -> dict[str, Model]:
    """Models with their names and dates: those of the package, else as a provider lists them."""
    listed_names: dict[str, str] = {}
    listed_dates: dict[str, int] = {}
    for listing in sources.listings.values():
        listed_names |= listing.names
        listed_dates |= listing.created

    dressed = {}
    for model in models.values():
        name, created_s = sources.names.get(model.id, ("", 0))
        dressed[model.id] = replace(
            model,
            name=name or listed_names.get(model.id, ""),
            created_s=created_s or listed_dates.get(model.id, 0),
        )
    return dressed


def _with_names(model: Model, own: Model) -> Model:
    """The model under the names of `own`, and those that it had before."""
    return replace(
        model,
        name=own.name or model.name,
        aliases=tuple(dict.fromkeys((*own.aliases, *model.aliases))),
        context=own.context or model.context,
    )


def _apply_operator_model(
    model: Model | None,
    operator_model: OperatorModel,
    known: OffersByKey,
    prices: Mapping[OfferKey, Price],
) -> Model:
    """The operator's model: its offers first, then what else is known.

    An offer that no list knows and the file does not price has the price of the store.
    """
    own = operator_model.model
    offers: OffersByKey = {}
    for offer in own.offers:
        key = _offer_key(offer)
        price_id = operator_model.price_ids.get(key, offer.upstream_id)
        before = known.get((offer.provider, price_id))
        offers[key] = offer if before is None else _overlay_own_offer(before, offer)
        if offers[key].price is None and key in prices:
            offers[key] = replace(offers[key], price=prices[key], quarantine_reason="")
    own = replace(own, file_names=(own.id, *own.aliases))
    if model is None:
        return replace(own, offers=tuple(offers.values()))

    for offer in model.offers if operator_model.keep_known_offers else ():
        offers.setdefault(_offer_key(offer), offer)
    # A name that only repeats the id says less than the one that lists know.
    named = _with_names(model, replace(own, name=own.name if own.name != own.id else ""))
    return replace(
        named, file_names=own.file_names, offers=tuple(offers.values()), listed_since_s=0
    )


def _apply_markup(
    model: Model,
    operator_model: OperatorModel | None,
    providers: Mapping[str, Provider],
    markup_bp: int,
) -> Model:
    """The nearest markup holds: the model's, else the provider's, else the house's."""
    of_model = operator_model.markup_bp if operator_model is not None else None

    def with_markup(offer: Offer) -> Offer:
        of_provider = providers[offer.provider].markup_bp if offer.provider in providers else None
        rate_bp = next((rate for rate in (of_model, of_provider) if rate is not None), markup_bp)
        if not rate_bp or offer.price is None or offer.price.free:
            return offer
        return replace(offer, price=replace(offer.price, markup_bp=rate_bp))

    if not (of_model or markup_bp or any(provider.markup_bp for provider in providers.values())):
        return model
    return replace(
        model,
        offers=tuple(map(with_markup, model.offers)),
        pinned_only_offers=tuple(map(with_markup, model.pinned_only_offers)),
    )
