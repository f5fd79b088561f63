"""Which model a text means: exact match, case kept, never another model than asked.

Order: alias; canonical `family/name[:variant]`; a bare name that is unique; `provider/upstream-id`, which pins that
provider with the id verbatim and needs no row.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.faults import Fault
from gatewayz.core.money import FREE
from gatewayz.providers.spec import Provider

NEAR_NAMES = 3


class Named(Struct, frozen=True, kw_only=True):
    """What a text means. `pinned`: the provider was asked for by name, so nothing else will do."""

    model: str
    offers: tuple[Offer, ...]
    pinned: bool = False


class Shelf:
    """Everything on offer, indexed once."""

    def __init__(self, models: Iterable[Model], providers: Mapping[str, Provider]) -> None:
        self.providers = providers
        self.models = {model.id: msgspec.structs.replace(model, offers=self._priced(model)) for model in models}
        self._aliases = {alias: model.id for model in self.models.values() for alias in model.aliases}
        bare: dict[str, list[str]] = {}
        for model_id in self.models:
            bare.setdefault(model_id.partition("/")[2], []).append(model_id)
        self._bare = {name: ids[0] for name, ids in bare.items() if len(ids) == 1 and name}

    def _priced(self, model: Model) -> tuple[Offer, ...]:
        for offer in model.offers:
            if offer.provider not in self.providers:
                near = get_close_matches(offer.provider, self.providers, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise Fault("bad_request", f"models.{model.id}: no provider is named {offer.provider!r}{hint}")
        return tuple(self._priced_offer(offer) for offer in model.offers)

    def _priced_offer(self, offer: Offer) -> Offer:
        if offer.price is None and self.providers[offer.provider].free:
            return msgspec.structs.replace(offer, price=FREE)
        return offer

    def resolve(self, text: str) -> Named:
        """What `text` means. Faults: `unknown_model` with near names."""
        model_id = self._aliases.get(text) or (text if text in self.models else self._bare.get(text))
        if model_id is not None:
            return Named(model=model_id, offers=self.models[model_id].offers)
        provider, slash, upstream_id = text.partition("/")
        if slash and upstream_id and provider in self.providers:
            return Named(model=text, offers=(self._pinned(text, provider, upstream_id),), pinned=True)
        raise Fault("unknown_model", f"The model '{text}' does not exist{self._near(text)}.", param="model")

    def _pinned(self, text: str, provider: str, upstream_id: str) -> Offer:
        for model in self.models.values():
            for offer in model.offers:
                if offer.provider == provider and offer.upstream_id == upstream_id:
                    return offer
        return self._priced_offer(Offer(model=text, provider=provider, upstream_id=upstream_id))

    def _near(self, text: str) -> str:
        names = [*self.models, *self._aliases, *self._bare]
        if self.providers.get("simulator") is not None:
            names += ["simulator/echo", "simulator/tools", "simulator/reasoning"]
        near = get_close_matches(text, names, NEAR_NAMES, 0.4) or names[:NEAR_NAMES]
        return f"; near it: {', '.join(near)}" if near else ""

    def listing(self) -> tuple[Model, ...]:
        """The models that somebody offers who is on."""
        return tuple(
            model
            for model in self.models.values()
            if any(not self.providers[offer.provider].off for offer in model.offers)
        )
