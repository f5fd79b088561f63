"""Which model a text means: never another model than the one asked for.

Order: a name as it is written (operator's id or alias, alias, canonical id, bare name); an offer as
`provider/upstream-id`, which means its model where the provider is the model's own house and else
pins the provider; another spelling of a model; a model with a suffix of OpenRouter's; a provider's
native id; `provider/anything`, which pins that provider with the id verbatim and needs no row; a
name in another case.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice

import msgspec
from msgspec import Struct
from rapidfuzz import process

from gatewayz.catalog.canonical_ids import family_rules, is_house
from gatewayz.catalog.kinds import why_unserved
from gatewayz.catalog.name_index import NameIndex, build_name_index
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.similar_names import MAX_NAME_CHARS, SimilarNames
from gatewayz.catalog.sources import OfferKey
from gatewayz.core.faults import Fault
from gatewayz.core.money import FREE
from gatewayz.core.requests import Surface
from gatewayz.providers.spec import Provider

MAX_SUGGESTIONS = 3
MAX_NEAR = 200
"""Near names among which those are looked for that serve what is asked for."""
CHAT_SURFACES: tuple[Surface, ...] = ("chat", "count")
MIN_PROVIDER_SIMILARITY = 60.0
"""How alike a provider's id must be to be told, of 100."""
MAX_CACHED_NAMES = 4_096
VARIANTS_PROVIDER = "openrouter"
"""Whose the suffixes are."""
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
    names: NameIndex
    operator_names: frozenset[str]
    """Ids and aliases as the operator wrote them."""
    offers_by_key: dict[OfferKey, Offer]
    offers_by_folded_key: dict[OfferKey, Offer]
    """Offers by provider and native id in lower case."""
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
        self.why_excluded = why_excluded
        self.rank = rank
        self._set_index(models, providers, 1)

    def replace(
        self, models: Iterable[Model], providers: Mapping[str, Provider] | None = None
    ) -> None:
        """Other models, all at once, and the same providers in another state.

        Faults: `bad_request` for an offer at an unknown provider.
        """
        self._set_index(models, providers or self.providers, self.index.version + 1)

    def _set_index(
        self, models: Iterable[Model], providers: Mapping[str, Provider], version: int
    ) -> None:
        index = build_index(models, providers, version, self.why_excluded)
        self.providers, self.index = providers, index
        # Clients repeat themselves: what a name means is worked out once for an index.
        self._find = lru_cache(MAX_CACHED_NAMES)(NameResolver(index, providers).find)

    @property
    def models(self) -> dict[str, Model]:
        return self.index.models

    def find(self, text: str) -> ResolvedModel | None:
        """What `text` means; nothing when it means nothing."""
        return self._find(text) if len(text) <= 2 * MAX_NAME_CHARS else None

    def resolve(self, text: str, surface: Surface = "chat") -> ResolvedModel:
        """What `text` means. Faults: `unknown_model` with near names of models on the surface."""
        resolved = self.find(text)
        if resolved is None:
            raise Fault(
                "unknown_model",
                f"The model '{text[:MAX_NAME_CHARS]}' does not exist"
                f"{self.suggestion(text, surface=surface)}.",
                param="model",
            )
        return resolved

    def suggestion(self, text: str, refused: str = "", surface: Surface = "chat") -> str:
        """What may have been meant, but for the model that is refused, to go on a sentence with;
        empty when there is nothing. Whoever wants an image is told of models that make one.
        """
        similar = self.index.similar_names
        # Where nothing of the kind is near, any of it says more than nothing.
        for near in (similar.closest(text, MAX_NEAR), similar.ids):
            serving = (id for id in near if id != refused and self._serves(id, surface))
            ids = list(islice(serving, MAX_SUGGESTIONS))
            if ids:
                return f"; near it: {', '.join(ids)}"
        return ""

    def _serves(self, id: str, surface: Surface) -> bool:
        model = self.index.models.get(id)
        if model is None or not model.offers:
            return surface not in {"image", "embedding"}
        return any(surface in (offer.serves or CHAT_SURFACES) for offer in model.offers)


class NameResolver:
    """Reads names by one index."""

    def __init__(self, index: CatalogIndex, providers: Mapping[str, Provider]) -> None:
        self._index = index
        self._providers = providers

    def find(self, text: str) -> ResolvedModel | None:
        """What `text` means; nothing when it means nothing."""
        names = self._index.names
        word, slash, upstream_id = text.partition("/")
        provider = self._provider(word) if slash and upstream_id else None
        if provider is not None and provider.own and text not in self._index.operator_names:
            # What the operator called a provider is no family's word.
            return self._pin(text, provider, upstream_id)
        if id := names.exact.get(text):
            return self._with_house(id, provider, upstream_id)
        if provider is not None and (offer := self._offer(provider, upstream_id)) is not None:
            return self._known_offer(text, offer, provider)

        if not _is_moving(provider, upstream_id) and (id := names.by_spelling(text)):
            return self._with_house(id, provider, upstream_id)
        if (variant := self._variant(text)) is not None:
            return variant
        if (id := names.native.get(text)) and self._is_meant(id, provider, upstream_id):
            return self._with_house(id, provider, upstream_id)
        if provider is not None:
            return self._pin(text, provider, upstream_id)
        id = names.folded.get(text.lower(), "")
        return self._model(id) if id else None

    def _provider(self, word: str) -> Provider | None:
        """The provider of that id, in any case, or called so elsewhere."""
        word = word if word in self._providers else word.lower()
        return self._providers.get(family_rules().prefixes.get(word, word))

    def _offer(self, provider: Provider, upstream_id: str) -> Offer | None:
        offer = self._index.offers_by_key.get((provider.id, upstream_id))
        return offer or self._index.offers_by_folded_key.get((provider.id, upstream_id.lower()))

    def _model(self, id: str) -> ResolvedModel:
        return ResolvedModel(model=id, offers=self._index.models[id].offers)

    def _known_offer(self, text: str, offer: Offer, provider: Provider) -> ResolvedModel:
        """An offer that was named with its provider: its model where that is its house, else a
        pin.
        """
        if is_house(provider.id, _family(offer.model)) and offer.model in self._index.models:
            return self._model(offer.model)
        return self._pin(text, provider, offer.upstream_id)

    def _pin(self, text: str, provider: Provider, upstream_id: str) -> ResolvedModel:
        """That provider and no other, with the id as it was typed."""
        known = self._index.offers_by_key.get((provider.id, upstream_id))
        offer = known or _verbatim_offer(text, provider, upstream_id)
        return ResolvedModel(model=text, offers=(_with_free_price(offer, provider),), pinned=True)

    def _with_house(self, id: str, provider: Provider | None, upstream_id: str) -> ResolvedModel:
        """The model; where its house was named, which is on and has no row of it, the house comes
        last, under the id as it was typed: no list can take that name away.
        """
        resolved = self._model(id)
        if provider is None or provider.off or not is_house(provider.id, _family(id)):
            return resolved
        if any(offer.provider == provider.id for offer in resolved.offers):
            return resolved
        offer = _with_free_price(_verbatim_offer(id, provider, upstream_id), provider)
        return ResolvedModel(model=id, offers=(*resolved.offers, offer))

    def _is_meant(self, id: str, provider: Provider | None, upstream_id: str) -> bool:
        """Whether a native id means its model although a provider's name stands before it."""
        if provider is None or provider.off:
            return True
        return is_house(provider.id, _family(id)) and not _is_moving(provider, upstream_id)

    def _variant(self, text: str) -> ResolvedModel | None:
        """The model less a suffix, at the provider whose suffix it is."""
        base, _, suffix = text.rpartition(":")
        suffix = suffix.lower()
        keeps_price = family_rules().variants.get(suffix)
        provider = self._providers.get(VARIANTS_PROVIDER)
        if not base or keeps_price is None or provider is None:
            return None
        resolved = self.find(base.removeprefix(f"{VARIANTS_PROVIDER}/"))
        if resolved is None:
            return None

        # The offer of a pin knows its model.
        model = self._index.models.get(resolved.offers[0].model if resolved.offers else "")
        offers = (*model.offers, *model.pinned_only_offers) if model is not None else ()
        offer = next((offer for offer in offers if offer.provider == VARIANTS_PROVIDER), None)
        if offer is None:
            return None
        id = f"{offer.model}:{suffix}"
        variant = msgspec.structs.replace(
            offer,
            model=id,
            upstream_id=f"{offer.upstream_id}:{suffix}",
            price=offer.price if keeps_price else None,
            pinned_only_reason="",
        )
        return ResolvedModel(model=id, offers=(_with_free_price(variant, provider),))


def _family(model: str) -> str:
    return model.partition("/")[0]


def _verbatim_offer(model: str, provider: Provider, upstream_id: str) -> Offer:
    """An id of which nobody knows more than that it was asked for."""
    # On a server of one's own a name says nothing about what is behind it.
    why = "" if provider.own or provider.local else why_unserved(provider.id, upstream_id)
    return Offer(model=model, provider=provider.id, upstream_id=upstream_id, unserved_reason=why)


def _is_moving(provider: Provider | None, upstream_id: str) -> bool:
    """Whether a house that is on calls something of its own so, which moves."""
    if provider is None or provider.off:
        return False
    return upstream_id in family_rules().moving.get(provider.id, ())


def build_index(
    models: Iterable[Model],
    providers: Mapping[str, Provider],
    version: int,
    why_excluded: ExclusionRule = lambda *_: "",
) -> CatalogIndex:
    """The models, indexed. Faults: `bad_request` for an offer at an unknown provider."""
    by_id = {model.id: _check_model(model, providers) for model in models}
    offers: dict[OfferKey, Offer] = {}
    for model in sorted(by_id.values(), key=_authority):
        for offer in (*model.offers, *model.pinned_only_offers):
            offers.setdefault((offer.provider, offer.upstream_id), offer)
    folded = {(provider, id.lower()): offer for (provider, id), offer in offers.items()}

    callable_ids = _callable_ids(by_id, providers, why_excluded)
    simulated = SIMULATOR_MODELS if "simulator" in providers else ()
    return CatalogIndex(
        version=version,
        models=by_id,
        names=build_name_index(by_id),
        operator_names=frozenset(
            name for model in by_id.values() for name in (*model.file_names, *model.api_names)
        ),
        offers_by_key=offers,
        offers_by_folded_key=folded,
        similar_names=SimilarNames(callable_ids or (*simulated, *by_id)),
    )


def _authority(model: Model) -> int:
    """Whose word the model's offers are: the file's first, then those set by API."""
    return 0 if model.file_names else 1 if model.api_names else 2


def _callable_ids(
    models: Mapping[str, Model], providers: Mapping[str, Provider], why_excluded: ExclusionRule
) -> list[str]:
    """The models that somebody serves who is on, newest first."""
    found = [
        model
        for model in models.values()
        if any(
            not providers[offer.provider].off
            and not offer.unserved_reason
            and not why_excluded(model.id, providers[offer.provider])
            for offer in model.offers
        )
    ]
    return [model.id for model in sorted(found, key=lambda model: -model.created_s)]


def _check_model(model: Model, providers: Mapping[str, Provider]) -> Model:
    """The model, its unpriced offers free where their provider is. Faults: `bad_request`."""
    unpriced = False
    for offer in model.offers:
        if offer.provider not in providers:
            near = process.extractOne(
                offer.provider, list(providers), score_cutoff=MIN_PROVIDER_SIMILARITY
            )
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
