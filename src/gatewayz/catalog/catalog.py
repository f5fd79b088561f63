"""Which model a text means: exact match, case kept, never another model than the one asked for.

Order: alias; canonical `family/name[:variant]`; a bare name that one model had first;
`provider/upstream-id`, which pins that provider with the id verbatim and needs no row; a native id
that one model had first.
No spelling is guessed at here.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from gatewayz.catalog.kinds import why_unserved
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.similar_names import MAX_NAME_CHARS, SimilarNames
from gatewayz.catalog.sources import OfferKey
from gatewayz.core.faults import Fault
from gatewayz.core.money import FREE
from gatewayz.providers.spec import Provider

MAX_SUGGESTIONS = 3
SIMULATOR_MODELS = ("simulator/echo", "simulator/tools", "simulator/reasoning")


class ResolvedModel(Struct, frozen=True, kw_only=True):
    """What a text means. `pinned`: the provider was asked for by name, so nothing else will do.

    Example: `ResolvedModel(model="openai/gpt-4o", offers=(at_openai, at_openrouter))`
    """

    model: str
    offers: tuple[Offer, ...]
    pinned: bool = False


class CatalogIndex(Struct, frozen=True, kw_only=True):
    """Everything on offer, indexed once; never changed, only replaced by a higher `version`."""

    version: int
    models: dict[str, Model]
    names: dict[str, str]
    """Alias, or bare name that one model had before all others → model."""
    offers_by_key: dict[OfferKey, Offer]
    models_by_native_id: dict[str, str]
    """Native id that one model had before all others → model."""
    similar_names: SimilarNames


ExclusionRule = Callable[[str, Provider], str]
"""Model and provider → why it may not serve the model unless asked for by name; empty if it may."""

RankRule = Callable[[str, Provider], tuple[int, ...]]
"""Model and provider → where the provider stands among those that serve the model, lowest first."""


class Catalog:
    """What can be asked for now. A call that has its plan keeps it, whatever replaces the index."""

    def __init__(
        self,
        models: Iterable[Model],
        providers: Mapping[str, Provider],
        why_excluded: ExclusionRule = lambda *_: "",
        rank: RankRule = lambda *_: (),
    ) -> None:
        self.providers = providers
        self.why_excluded = why_excluded
        self.rank = rank
        self.index = build_index(models, providers, 1)

    def replace(
        self, models: Iterable[Model], providers: Mapping[str, Provider] | None = None
    ) -> None:
        """Other models, all at once, and the same providers in another state.

        Faults: `bad_request` for an offer at an unknown provider.
        """
        index = build_index(models, providers or self.providers, self.index.version + 1)
        self.providers, self.index = providers or self.providers, index

    @property
    def models(self) -> dict[str, Model]:
        return self.index.models

    def resolve(self, text: str) -> ResolvedModel:
        """What `text` means. Faults: `unknown_model` with near names."""
        index = self.index
        name = index.names.get(text) or (text if text in index.models else None)
        if name is not None:
            return ResolvedModel(model=name, offers=index.models[name].offers)

        provider_id, slash, upstream_id = text.partition("/")
        provider = self.providers.get(provider_id) if slash and upstream_id else None
        native = index.models_by_native_id.get(text)
        if provider is not None and (native is None or not provider.off):
            known = index.offers_by_key.get((provider_id, upstream_id))
            offer = known or Offer(
                model=text,
                provider=provider_id,
                upstream_id=upstream_id,
                unserved_reason=why_unserved(provider_id, upstream_id),
            )
            priced = _with_free_price(offer, provider)
            return ResolvedModel(model=text, offers=(priced,), pinned=True)
        if native is not None:
            return ResolvedModel(model=native, offers=index.models[native].offers)

        raise Fault(
            "unknown_model",
            f"The model '{text[:MAX_NAME_CHARS]}' does not exist{self._suggestion(text)}.",
            param="model",
        )

    def _suggestion(self, text: str) -> str:
        names = self.index.similar_names.closest(text, MAX_SUGGESTIONS)
        return f"; near it: {', '.join(names)}" if names else ""


def build_index(
    models: Iterable[Model], providers: Mapping[str, Provider], version: int
) -> CatalogIndex:
    """The models, indexed. Faults: `bad_request` for an offer at an unknown provider."""
    by_id = {model.id: _check_model(model, providers) for model in models}
    offers: dict[OfferKey, Offer] = {}
    ids_by_bare_name: dict[str, set[str]] = {}
    ids_by_native_id: dict[str, set[str]] = {}
    for model in by_id.values():
        ids_by_bare_name.setdefault(model.id.partition("/")[2], set()).add(model.id)
        for offer in (*model.offers, *model.pinned_only_offers):
            offers.setdefault((offer.provider, offer.upstream_id), offer)
            ids_by_native_id.setdefault(offer.upstream_id, set()).add(model.id)

    # An alias is somebody's word; a bare name is only what happens to be unique.
    bare_names = _first_known(ids_by_bare_name, by_id)
    names = {name: model for name, model in bare_names.items() if name}
    names |= {alias: model.id for model in by_id.values() for alias in model.aliases}
    simulated = SIMULATOR_MODELS if "simulator" in providers else ()
    return CatalogIndex(
        version=version,
        models=by_id,
        names=names,
        offers_by_key=offers,
        models_by_native_id=_first_known(ids_by_native_id, by_id),
        similar_names=SimilarNames((*simulated, *by_id, *names)),
    )


def _first_known(
    ids_by_name: Mapping[str, set[str]], models: Mapping[str, Model]
) -> dict[str, str]:
    """Name → the model that had it first: a list takes no name away from what was known before.

    What several models have had since the same moment means none of them.
    """
    found: dict[str, str] = {}
    for name, ids in ids_by_name.items():
        if len(ids) == 1:
            found[name] = next(iter(ids))
            continue
        since_s = min(models[model].listed_since_s for model in ids)
        first = [model for model in ids if models[model].listed_since_s == since_s]
        if len(first) == 1:
            found[name] = first[0]
    return found


def _check_model(model: Model, providers: Mapping[str, Provider]) -> Model:
    """The model, its unpriced offers free where their provider is. Faults: `bad_request`."""
    unpriced = False
    for offer in model.offers:
        if offer.provider not in providers:
            near = get_close_matches(offer.provider, providers, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Fault(
                "bad_request", f"models.{model.id}: no provider is named {offer.provider!r}{hint}"
            )
        unpriced = unpriced or offer.price is None
    if not unpriced:
        return model
    priced = tuple(_with_free_price(offer, providers[offer.provider]) for offer in model.offers)
    return msgspec.structs.replace(model, offers=priced)


def _with_free_price(offer: Offer, provider: Provider) -> Offer:
    if offer.price is None and provider.free:
        return msgspec.structs.replace(offer, price=FREE)
    return offer
