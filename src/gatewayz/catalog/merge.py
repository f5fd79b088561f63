"""The catalogue, put together: the seed, what providers list, what operators set by API, their file; each over the one
before.

Pure: the same lists give the same models. A price that an operator set is never touched by a list.
"""

from collections.abc import Iterable, Mapping
from sys import intern
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.grouping import rules
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.seed import Row, SeedFile, price_of
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability, Surface
from gatewayz.providers.spec import Provider

TEXT = ("text",)
CHAT: tuple[Surface, ...] = ("chat", "count")


class Held(Struct, frozen=True):
    """A listed price that was not believed, and why."""

    upstream_id: str
    model: str
    why: str
    listed: dict[str, int]


class Listing(Struct, frozen=True, kw_only=True):
    """What one provider listed, gated and grouped: offers, names and dates of models, and what was not believed.

    `again` rows repeated an id, `odd` ones had none that can be used; `doubted` says why no price is believed.
    """

    provider: str
    read_s: int
    offers: tuple[Offer, ...]
    names: dict[str, str] = {}
    created: dict[str, int] = {}
    held: tuple[Held, ...] = ()
    doubted: str = ""
    again: int = 0
    odd: int = 0


class Own(Struct, frozen=True, kw_only=True):
    """A model as the operator set it. `known`: what else is known stays. `markup_bp` goes before the provider's."""

    model: Model
    known: bool = True
    enabled: bool = True
    markup_bp: int | None = None
    price_ids: dict[tuple[str, str], str] = {}
    """Place → the native id whose known price holds."""


Place = tuple[str, str]
"""Provider and native id."""


class Overrides(Struct, frozen=True, kw_only=True):
    """What operators set by API, as of a revision. `next_ms` is when the next of its prices begins to hold."""

    models: tuple[Model, ...] = ()
    hidden_models: frozenset[str] = frozenset()
    prices: dict[Place, Price] = {}
    hidden_offers: frozenset[Place] = frozenset()
    number: int = 0
    next_ms: int | None = None


class Lists(NamedTuple):
    """Everything that a catalogue is made of. `own` is what the file says."""

    seed: Mapping[str, SeedFile]
    listings: Mapping[str, Listing]
    own: tuple[Own, ...]
    markup_bp: int = 0
    overrides: Overrides = Overrides()
    names: Mapping[str, tuple[str, int]] = {}


def set_in_file(lists: Lists, model: str, place: Place | None = None) -> str:
    """What of this the file has set, so that it cannot be set otherwise; empty when nothing."""
    own = next((one for one in lists.own if one.model.id == model), None)
    if own is None:
        return ""
    if place is None:
        return f"models.{model}"
    found = next((offer for offer in own.model.offers if _place(offer) == place), None)
    return (
        f"models.{model}.offers.{place[0]}" if found is not None and found.price is not None else ""
    )


def priced_in_file(lists: Lists, place: Place) -> str:
    """Where the file has set the price of an offer; empty when it has not."""
    return next(
        (found for own in lists.own if (found := set_in_file(lists, own.model.id, place))), ""
    )


def merged(lists: Lists, providers: Mapping[str, Provider]) -> tuple[Model, ...]:
    """All models, sorted by id. Offers of providers that are unknown here are left out."""
    known = _known(lists, providers)
    own = {one.model.id: one for one in lists.own}
    models = _models(
        offer for offer in known.values() if offer.model not in own or own[offer.model].known
    )
    dressed = _dressed(models, lists)
    for given in lists.overrides.models:
        if given.id in dressed:
            dressed[given.id] = _named(dressed[given.id], given)
    for one in lists.own:
        dressed[one.model.id] = _with_own(dressed.get(one.model.id), one, known)
    hidden = lists.overrides.hidden_models
    shown = [
        model
        for model in dressed.values()
        if (own[model.id].enabled if model.id in own else model.id not in hidden)
    ]
    return tuple(
        _marked_up(model, own.get(model.id), providers, lists.markup_bp)
        for model in sorted(shown, key=_id)
    )


def _id(model: Model) -> str:
    return model.id


def _dressed(models: Mapping[str, Model], lists: Lists) -> dict[str, Model]:
    """Models with their names and dates: those of the package, else as a provider lists them."""
    names = {
        model: name for listing in lists.listings.values() for model, name in listing.names.items()
    }
    created = {
        model: when
        for listing in lists.listings.values()
        for model, when in listing.created.items()
    }
    dressed = {}
    for model in models.values():
        name, when = lists.names.get(model.id, ("", 0))
        told = {
            "name": name or names.get(model.id, ""),
            "created_s": when or created.get(model.id, 0),
        }
        dressed[model.id] = replace(model, **told)
    return dressed


Known = dict[Place, Offer]


def _known(lists: Lists, providers: Mapping[str, Provider]) -> Known:
    """Every offer that lists know, by provider and native id; a provider's own list over the seed."""
    known: Known = {}
    for provider, file in lists.seed.items():
        if provider in providers:
            sources = {
                name: _Told(intern(f"{name}-{one.version}"), one.read)
                for name, one in file.sources.items()
            }
            for row in file.rows:
                known[provider, row.id] = _offer(provider, row, sources[row.source], file)
    for provider, listing in lists.listings.items():
        for offer in listing.offers if provider in providers else ():
            before = known.get((provider, offer.upstream_id))
            known[provider, offer.upstream_id] = offer if before is None else over(before, offer)
    return _overridden(known, lists.overrides, providers)


def _overridden(known: Known, overrides: Overrides, providers: Mapping[str, Provider]) -> Known:
    for offer in (offer for model in overrides.models for offer in model.offers):
        place = _place(offer)
        if offer.provider in providers:
            known[place] = _own_over(known[place], offer) if place in known else offer
    for place, price in overrides.prices.items():
        if place in known:
            known[place] = replace(known[place], price=price, held="")
    return {place: offer for place, offer in known.items() if place not in overrides.hidden_offers}


class _Told(NamedTuple):
    version: str
    read: str


SPARE = "another name for an offer that stands already"
DEPLOYED = "its ids are deployments that only their owner knows: name yours under models"


def _offer(provider: str, row: Row, told: _Told, file: SeedFile) -> Offer:
    price = None
    if (row.price and not row.held) or row.free:
        price = price_of(row, told.version, intern(f"{told.version} of {row.since or told.read}"))
    return Offer(
        model=row.model,
        provider=provider,
        upstream_id=row.id,
        price=price,
        held=row.held,
        only_pinned=DEPLOYED if not file.listed else SPARE if row.spare else "",
        context=row.context,
        max_output=row.max_output,
        serves=_with_count(row.serves) if row.serves else CHAT,
        inputs=row.inputs or TEXT,
        outputs=row.outputs or TEXT,
        features=row.features,
        quantization=row.quantization,
    )


def _with_count(serves: tuple[Surface, ...]) -> tuple[Surface, ...]:
    """Who chats can be counted for."""
    return (*serves, "count") if "chat" in serves else serves


def over(before: Offer, offer: Offer) -> Offer:
    """`offer`, with what it leaves open taken from `before`."""
    return replace(
        offer,
        model=before.model,
        only_pinned=before.only_pinned,
        price=offer.price if offer.price is not None or offer.held else before.price,
        held=offer.held or ("" if offer.price is not None else before.held),
        context=offer.context or before.context,
        max_output=offer.max_output or before.max_output,
        can=offer.can if offer.can is not None else before.can,
        serves=offer.serves or before.serves,
        inputs=offer.inputs if offer.inputs != TEXT else before.inputs,
        outputs=offer.outputs if offer.outputs != TEXT else before.outputs,
        features=before.features
        + tuple(word for word in offer.features if word not in before.features),
        parameters=offer.parameters or before.parameters,
        quantization=offer.quantization or before.quantization,
    )


def _models(offers: Iterable[Offer]) -> dict[str, Model]:
    standing: dict[str, list[Offer]] = {}
    spare: dict[str, list[Offer]] = {}
    for offer in offers:
        kept = spare if offer.only_pinned else standing
        kept.setdefault(offer.model, []).append(offer)
    aliases = rules().aliases
    return {
        name: Model(
            id=name,
            aliases=aliases.get(name, ()),
            context=max((offer.context or 0 for offer in standing.get(name, ())), default=0)
            or None,
            offers=tuple(sorted(standing.get(name, ()), key=_place)),
            spare=tuple(sorted(spare.get(name, ()), key=_place)),
        )
        for name in standing.keys() | spare.keys()
    }


def _named(model: Model, given: Model) -> Model:
    """The model with the names that were given to it, those that it had before it included."""
    aliases = tuple(dict.fromkeys((*given.aliases, *model.aliases)))
    return replace(
        model,
        name=given.name or model.name,
        aliases=aliases,
        context=given.context or model.context,
    )


def _place(offer: Offer) -> Place:
    return offer.provider, offer.upstream_id


def _with_own(model: Model | None, own: Own, known: Known) -> Model:
    """The operator's model: its offers first, then what else is known."""
    offers = {}
    for offer in own.model.offers:
        price_id = own.price_ids.get((offer.provider, offer.upstream_id), offer.upstream_id)
        before = known.get((offer.provider, price_id))
        offers[_place(offer)] = offer if before is None else _own_over(before, offer)
    if model is None:
        return replace(own.model, offers=tuple(offers.values()))
    given = own.model
    for offer in model.offers if own.known else ():
        offers.setdefault(_place(offer), offer)
    named = _named(model, replace(given, name=given.name if given.name != given.id else ""))
    return replace(named, offers=tuple(offers.values()))


def _own_over(before: Offer, offer: Offer) -> Offer:
    return replace(over(before, offer), model=offer.model, only_pinned="")


def _marked_up(
    model: Model, own: Own | None, providers: Mapping[str, Provider], markup_bp: int
) -> Model:
    """The nearest markup holds: the model's, else the provider's, else the house's."""
    mine = own.markup_bp if own is not None else None

    def marked(offer: Offer) -> Offer:
        theirs = providers[offer.provider].markup_bp if offer.provider in providers else None
        rate = mine if mine is not None else theirs if theirs is not None else markup_bp
        if not rate or offer.price is None or offer.price.free:
            return offer
        return replace(offer, price=replace(offer.price, markup_bp=rate))

    if not (mine or markup_bp or any(provider.markup_bp for provider in providers.values())):
        return model
    return replace(
        model, offers=tuple(map(marked, model.offers)), spare=tuple(map(marked, model.spare))
    )


def capabilities(inputs: tuple[str, ...], parameters: tuple[str, ...]) -> frozenset[Capability]:
    """What an offer can do, from the inputs and parameters that its provider lists: `CHOICES` is never listed."""
    found = {Capability.CHOICES}
    found |= {capability for word, capability in INPUTS.items() if word in inputs}
    found |= {capability for word, capability in PARAMETERS.items() if word in parameters}
    return frozenset(found)


INPUTS = {"image": Capability.IMAGES, "audio": Capability.AUDIO, "file": Capability.FILES}
PARAMETERS = {"tools": Capability.TOOLS, "structured_outputs": Capability.JSON_SCHEMA}
