"""Which model a text means: exact match, case kept, never another model than asked.

Order: alias; canonical `family/name[:variant]`; a bare name that is unique; `provider/upstream-id`, which pins that
provider with the id verbatim and needs no row; a native id that only one model has. No spelling is guessed at here.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from gatewayz.catalog.near import MAX_TEXT, Near
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.faults import Fault
from gatewayz.core.money import FREE
from gatewayz.providers.spec import Provider

NEAR_NAMES = 3
SIMULATED = ("simulator/echo", "simulator/tools", "simulator/reasoning")


class Named(Struct, frozen=True, kw_only=True):
    """What a text means. `pinned`: the provider was asked for by name, so nothing else will do."""

    model: str
    offers: tuple[Offer, ...]
    pinned: bool = False


class Stock(Struct, frozen=True, kw_only=True):
    """Everything on offer, indexed once; never changed, only replaced. `version` grows with every replacement."""

    version: int
    models: dict[str, Model]
    names: dict[str, str]
    """Alias, bare name → model."""
    places: dict[tuple[str, str], Offer]
    """Provider and native id → offer."""
    natives: dict[str, str]
    """Native id that only one model has → model."""
    near: Near


ShutOut = Callable[[str, Provider], str]
"""Model and provider → why the provider may not serve it unless it is asked for by name; empty when it may."""


class Shelf:
    """What can be asked for now. A call that has its plan keeps it, whatever is put on the shelf meanwhile."""

    def __init__(
        self,
        models: Iterable[Model],
        providers: Mapping[str, Provider],
        shut_out: ShutOut = lambda *_: "",
    ) -> None:
        self.providers = providers
        self.shut_out = shut_out
        self.stock = stocked(models, providers, 1)

    def restock(self, models: Iterable[Model]) -> None:
        """Other models, all at once. Faults: `bad_request` for an offer at a provider that nobody knows."""
        self.stock = stocked(models, self.providers, self.stock.version + 1)

    @property
    def models(self) -> dict[str, Model]:
        return self.stock.models

    def resolve(self, text: str) -> Named:
        """What `text` means. Faults: `unknown_model` with near names."""
        stock = self.stock
        name = stock.names.get(text) or (text if text in stock.models else None)
        if name is not None:
            return Named(model=name, offers=stock.models[name].offers)
        provider_id, slash, upstream_id = text.partition("/")
        provider = self.providers.get(provider_id) if slash and upstream_id else None
        native = stock.natives.get(text)
        if provider is not None and (native is None or not provider.off):
            offer = stock.places.get((provider_id, upstream_id))
            named = offer or Offer(model=text, provider=provider_id, upstream_id=upstream_id)
            return Named(model=text, offers=(_priced(named, provider),), pinned=True)
        if native is not None:
            return Named(model=native, offers=stock.models[native].offers)
        raise Fault(
            "unknown_model",
            f"The model '{text[:MAX_TEXT]}' does not exist{self._near(text)}.",
            param="model",
        )

    def _near(self, text: str) -> str:
        near = self.stock.near.to(text, NEAR_NAMES)
        return f"; near it: {', '.join(near)}" if near else ""


def stocked(models: Iterable[Model], providers: Mapping[str, Provider], version: int) -> Stock:
    """The models, indexed. Faults: `bad_request` for an offer at a provider that nobody knows."""
    held = {model.id: _checked(model, providers) for model in models}
    names: dict[str, str] = {}
    bare: dict[str, set[str]] = {}
    natives: dict[str, set[str]] = {}
    places: dict[tuple[str, str], Offer] = {}
    for model in held.values():
        bare.setdefault(model.id.partition("/")[2], set()).add(model.id)
        for offer in (*model.offers, *model.spare):
            places.setdefault((offer.provider, offer.upstream_id), offer)
            natives.setdefault(offer.upstream_id, set()).add(model.id)
    names |= {name: next(iter(ids)) for name, ids in bare.items() if len(ids) == 1 and name}
    # An alias is somebody's word; a bare name is only what happens to be unique.
    names |= {alias: model.id for model in held.values() for alias in model.aliases}
    found = {native: next(iter(ids)) for native, ids in natives.items() if len(ids) == 1}
    simulated = SIMULATED if "simulator" in providers else ()
    near = Near((*simulated, *held, *names))
    return Stock(version=version, models=held, names=names, places=places, natives=found, near=near)


def _checked(model: Model, providers: Mapping[str, Provider]) -> Model:
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
    priced = tuple(_priced(offer, providers[offer.provider]) for offer in model.offers)
    return msgspec.structs.replace(model, offers=priced)


def _priced(offer: Offer, provider: Provider) -> Offer:
    if offer.price is None and provider.free:
        return msgspec.structs.replace(offer, price=FREE)
    return offer
