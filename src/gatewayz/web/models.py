"""`GET /v1/models`: what can be asked for, from memory.

Every model is rendered once for a stock and a markup; a list is those bytes, joined. A stock that has changed is
rendered in a thread, so that calls under way notice nothing.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.cards import Card, Standings, endpoints_card, model_card
from gatewayz.catalog.naming import Shelf, Stock
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import callable_offers
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import Spoken
from gatewayz.dialects.jsontext import encoded
from gatewayz.web.anthropic_models import HEADER, model_info, page_of
from gatewayz.web.asked import Asked

MAX_RENDERED = 8
"""Renderings that are kept: of the stock of now, one for each markup that is in use."""
MAX_BODIES = 256
MAX_BODIES_BYTES = 32 * 2**20
MAX_LIMIT = 10_000
MAX_OFFSET = 10**9
ENDPOINTS = "/endpoints"
HEADERS = (("content-type", "application/json"), ("cache-control", "private, no-cache"))


class Rendered(Struct, frozen=True):
    """A model's card, its bytes, and what it is searched by."""

    model: Model
    card: Card
    body: bytes
    text: str
    providers: frozenset[str]
    inputs: frozenset[str]
    outputs: frozenset[str]
    modalities: frozenset[str]
    parameters: frozenset[str]
    free: bool


class Rendering(Struct, frozen=True):
    """Everything that can be asked for, rendered; `digest` tells this rendering from every other."""

    stock: Stock
    models: dict[str, Rendered]
    digest: str


class Bodies:
    """Whole answers that were given before, by their tags; the oldest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, tag: str, make: Callable[[], bytes]) -> bytes:
        found = self._kept.get(tag)
        if found is not None:
            self._kept.move_to_end(tag)
            return found
        body = make()
        self._kept[tag] = body
        self._bytes += len(body)
        while self._bytes > MAX_BODIES_BYTES or len(self._kept) > MAX_BODIES:
            self._bytes -= len(self._kept.popitem(last=False)[1])
        return body


class ModelPages:
    """The pages of models. `breakers` tells how offers stand."""

    def __init__(self, shelf: Shelf, breakers: Callable[[], Mapping[tuple[str, str], str]]) -> None:
        self._shelf = shelf
        self._breakers = breakers
        self._renderings: OrderedDict[tuple[int, int | None], Rendering] = OrderedDict()
        self._bodies = Bodies()
        self._lock = asyncio.Lock()

    async def several(self, asked: Asked) -> Spoken:
        """The list, filtered. Faults: `bad_request` for a filter that makes no sense."""
        rendering = await self._rendered(asked.principal)
        if HEADER in asked.headers:
            chosen = filtered(allowed(rendering.models.values(), asked.principal), asked)
            return Spoken(200, HEADERS, encoded(page_of([one.card for one in chosen], asked)))
        limit, offset = (
            asked.number("limit", MAX_LIMIT, 1, MAX_LIMIT),
            asked.number("offset", 0, 0, MAX_OFFSET),
        )
        only = asked.principal.models if asked.principal is not None else ()
        tag = _tag(f"{rendering.digest}|{asked.query}|{only}")

        def body() -> bytes:
            chosen = filtered(allowed(rendering.models.values(), asked.principal), asked)
            return _list(chosen[offset : offset + limit], len(chosen))

        return _conditional(asked, tag, lambda: self._bodies.get(tag, body))

    async def one(self, asked: Asked) -> Spoken:
        """One model, or who serves it. Faults: `unknown_model`."""
        wanted = unquote(asked.tail)
        rendering = await self._rendered(asked.principal)
        if wanted.endswith(ENDPOINTS):
            return self._endpoints(
                self._found(rendering, wanted.removesuffix(ENDPOINTS), asked), asked
            )
        found = self._found(rendering, wanted, asked)
        if HEADER in asked.headers:
            return Spoken(200, HEADERS, encoded(model_info(found.card)))
        return _conditional(asked, _tag(f"{rendering.digest}|{wanted}"), lambda: found.body)

    def _found(self, rendering: Rendering, wanted: str, asked: Asked) -> Rendered:
        stock = rendering.stock
        name = stock.names.get(wanted) or (
            wanted if wanted in stock.models else stock.natives.get(wanted, "")
        )
        found = rendering.models.get(name)
        if found is None or not list(allowed([found], asked.principal)):
            raise Fault(
                "unknown_model", f"The model '{wanted[:200]}' does not exist.", param="model"
            )
        return found

    def _endpoints(self, found: Rendered, asked: Asked) -> Spoken:
        principal = asked.principal
        every = principal is not None and "operator" in principal.scopes
        offers = found.model.offers if every else callable_offers(found.model, self._shelf)
        document = {
            "data": endpoints_card(found.card, offers, Standings(self._breakers(), self._shelf))
        }
        return Spoken(200, HEADERS, encoded(document))

    async def _rendered(self, principal: Principal | None) -> Rendering:
        """The rendering for the stock of now, and for this account's markup."""
        stock = self._shelf.stock
        markup_bp = principal.markup_bp if principal is not None else None
        key = (stock.version, markup_bp)
        found = self._renderings.get(key)
        if found is None:
            async with self._lock:
                found = self._renderings.get(key)
                if found is None:
                    found = await asyncio.to_thread(rendered, stock, self._shelf, markup_bp)
                    for old in [one for one in self._renderings if one[0] != stock.version]:
                        del self._renderings[old]
                    self._renderings[key] = found
                    while len(self._renderings) > MAX_RENDERED:
                        self._renderings.popitem(last=False)
        return found


def rendered(stock: Stock, shelf: Shelf, markup_bp: int | None) -> Rendering:
    """Every model that somebody serves who is on, as bytes."""
    models: dict[str, Rendered] = {}
    digest = blake2b(digest_size=12)
    for model in stock.models.values():
        if not callable_offers(model, shelf):
            continue
        sold = model if markup_bp is None else _marked(model, markup_bp)
        card = model_card(sold, callable_offers(sold, shelf), shelf.providers)
        body = encoded(card)
        digest.update(body)
        models[model.id] = _rendered(sold, card, body)
    return Rendering(stock, models, digest.hexdigest())


def _rendered(model: Model, card: Card, body: bytes) -> Rendered:
    architecture = card["architecture"]
    inputs, outputs = (
        frozenset(architecture["input_modalities"]),
        frozenset(architecture["output_modalities"]),
    )
    return Rendered(
        model=model,
        card=card,
        body=body,
        text=" ".join((model.id, model.name, *model.aliases)).lower(),
        providers=frozenset(card["providers"]),
        inputs=inputs,
        outputs=outputs,
        modalities=inputs | outputs | {architecture["modality"]},
        parameters=frozenset(card["supported_parameters"]),
        free=card["free"],
    )


def _marked(model: Model, markup_bp: int) -> Model:
    return replace(model, offers=tuple(_marked_offer(offer, markup_bp) for offer in model.offers))


def _marked_offer(offer: Offer, markup_bp: int) -> Offer:
    price = offer.price
    return (
        offer
        if price is None or price.free
        else replace(offer, price=replace(price, markup_bp=markup_bp))
    )


def allowed(models: Iterable[Rendered], principal: Principal | None) -> Iterable[Rendered]:
    """Those that the key may ask for."""
    only = principal.models if principal is not None else ()
    return models if not only else (one for one in models if one.model.id in only)


def filtered(models: Iterable[Rendered], asked: Asked) -> list[Rendered]:
    """Those that fit every filter of the query; a filter that is not known is no filter."""
    found = list(models)
    for name, fits in FILTERS.items():
        wanted = frozenset(asked.words(name))
        if wanted:
            found = [one for one in found if fits(one, wanted)]
    words = " ".join(asked.query.get("q", ())).lower().split()
    if words:
        found = [one for one in found if all(word in one.text for word in words)]
    return found


YES = frozenset({"true", "1", "yes"})
FILTERS: dict[str, Callable[[Rendered, frozenset[str]], bool]] = {
    "provider": lambda one, wanted: not wanted.isdisjoint(one.providers),
    "input_modalities": lambda one, wanted: wanted <= one.inputs,
    "output_modalities": lambda one, wanted: wanted <= one.outputs,
    "modality": lambda one, wanted: wanted <= one.modalities,
    "supported_parameters": lambda one, wanted: wanted <= one.parameters,
    "free": lambda one, wanted: one.free or wanted.isdisjoint(YES),
}
"""Field of the query → whether a model fits its words."""


def _list(models: list[Rendered], total: int) -> bytes:
    return (
        b'{"object":"list","data":['
        + b",".join([one.body for one in models])
        + b'],"total":%d}' % total
    )


def _tag(told: str) -> str:
    return f'"{blake2b(told.encode(), digest_size=12).hexdigest()}"'


def _conditional(asked: Asked, tag: str, body: Callable[[], bytes]) -> Spoken:
    """The answer, or 304 where the client has it already."""
    headers = (*HEADERS, ("etag", tag))
    known = [
        one.strip().removeprefix("W/") for one in asked.headers.get("if-none-match", "").split(",")
    ]
    if tag in known or "*" in known:
        return Spoken(304, headers[1:], b"")
    return Spoken(200, headers, body())
