"""`GET /v1/models`: the models that can be called, from memory.

Every model is rendered once for a version of the catalog and a markup; a list is those bytes,
joined. A catalog that has changed is rendered in a thread, so that running calls do not wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.cards import Card, EndpointContext, endpoints_card, model_card
from gatewayz.catalog.catalog import Catalog, CatalogIndex
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import callable_offers, why_not_sold
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import HttpResponse
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.web.anthropic_models import VERSION_HEADER, model_info, models_page
from gatewayz.web.handler_request import HandlerRequest

MAX_RENDERINGS = 8
"""Renderings of the current catalog in memory, one for each markup that is in use."""
MAX_BODIES = 256
MAX_BODIES_BYTES = 32 * 2**20
"""Of all lists in memory, by the filters that were asked for."""
MAX_LIMIT = 10_000
MAX_OFFSET = 10**9
ENDPOINTS = "/endpoints"
HEADERS = (("content-type", "application/json"), ("cache-control", "private, no-cache"))


class RenderedModel(Struct, frozen=True):
    """A model with the offers that are shown, its card, its bytes, and what it is searched by."""

    model: Model
    offers: tuple[Offer, ...]
    card: Card
    body: bytes
    text: str
    providers: frozenset[str]
    inputs: frozenset[str]
    outputs: frozenset[str]
    modalities: frozenset[str]
    parameters: frozenset[str]
    free: bool


class RenderedCatalog(Struct, frozen=True):
    """Every model that can be called, rendered. `digest` differs for each content."""

    index: CatalogIndex
    models: dict[str, RenderedModel]
    digest: str


class BodyCache:
    """Whole answers from before, by their ETags; the least recently used go first."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size_bytes = 0

    def get(self, tag: str, make_body: Callable[[], bytes]) -> bytes:
        body = self._bodies.get(tag)
        if body is not None:
            self._bodies.move_to_end(tag)
            return body

        body = make_body()
        self._bodies[tag] = body
        self._size_bytes += len(body)
        while self._size_bytes > MAX_BODIES_BYTES or len(self._bodies) > MAX_BODIES:
            self._size_bytes -= len(self._bodies.popitem(last=False)[1])
        return body


class _RenderingKey(NamedTuple):
    """What a rendering depends on. `sold_only`: only the house sees what has no price, because only
    the house is served without one.
    """

    version: int
    markup_bp: int | None
    sold_only: bool


class ModelHandlers:
    """The list of models, and single ones. `breakers` are the states of the offers."""

    def __init__(
        self, catalog: Catalog, breakers: Callable[[], Mapping[tuple[str, str], str]]
    ) -> None:
        self._catalog = catalog
        self._breakers = breakers
        self._renderings: OrderedDict[_RenderingKey, RenderedCatalog] = OrderedDict()
        self._bodies = BodyCache()
        self._lock = asyncio.Lock()

    async def list_models(self, request: HandlerRequest) -> HttpResponse:
        """The list, filtered. Faults: `bad_request` for a filter that makes no sense."""
        rendering = await self._get_rendering(request.principal)
        if VERSION_HEADER in request.headers:
            cards = [model.card for model in _filter_visible(rendering, request)]
            return HttpResponse(200, HEADERS, encode_json(models_page(cards, request)))

        limit = request.integer("limit", MAX_LIMIT, 1, MAX_LIMIT)
        offset = request.integer("offset", 0, 0, MAX_OFFSET)
        visible_ids = request.principal.models if request.principal is not None else ()
        tag = _etag(f"{rendering.digest}|{request.query}|{visible_ids}")

        def make_body() -> bytes:
            models = _filter_visible(rendering, request)
            return _encode_list(models[offset : offset + limit], len(models))

        return _conditional_response(request, tag, lambda: self._bodies.get(tag, make_body))

    async def get_model(self, request: HandlerRequest) -> HttpResponse:
        """One model, or who serves it. Faults: `unknown_model`."""
        name = unquote(request.tail)
        rendering = await self._get_rendering(request.principal)
        if name.endswith(ENDPOINTS):
            model = self._resolve_model(rendering, name.removesuffix(ENDPOINTS), request)
            return self._endpoints_response(model, request)

        model = self._resolve_model(rendering, name, request)
        if VERSION_HEADER in request.headers:
            return HttpResponse(200, HEADERS, encode_json(model_info(model.card)))
        tag = _etag(f"{rendering.digest}|{name}")
        return _conditional_response(request, tag, lambda: model.body)

    def _resolve_model(
        self, rendering: RenderedCatalog, name: str, request: HandlerRequest
    ) -> RenderedModel:
        resolved = self._catalog.find(name)
        model = rendering.models.get(resolved.model) if resolved is not None else None
        if model is None or not list(visible_models([model], request.principal)):
            raise Fault("unknown_model", f"The model '{name[:200]}' does not exist.", param="model")
        return model

    def _endpoints_response(self, model: RenderedModel, request: HandlerRequest) -> HttpResponse:
        principal = request.principal
        is_operator = principal is not None and "operator" in principal.scopes
        offers = model.model.offers if is_operator else model.offers
        context = EndpointContext(self._breakers(), self._catalog)
        document = {"data": endpoints_card(model.card, offers, context)}
        return HttpResponse(200, HEADERS, encode_json(document))

    async def _get_rendering(self, principal: Principal | None) -> RenderedCatalog:
        """The rendering of the current catalog with this account's markup."""
        index = self._catalog.index
        key = _rendering_key(index, principal)
        rendering = self._renderings.get(key)
        if rendering is not None:
            return rendering

        # One at a time; whoever waits finds the rendering that was made meanwhile.
        async with self._lock:
            rendering = self._renderings.get(key)
            if rendering is None:
                rendering = await asyncio.to_thread(render_catalog, index, self._catalog, key)
                self._store_rendering(key, rendering)
        return rendering

    def _store_rendering(self, key: _RenderingKey, rendering: RenderedCatalog) -> None:
        for old in [old for old in self._renderings if old.version != key.version]:
            del self._renderings[old]
        self._renderings[key] = rendering
        while len(self._renderings) > MAX_RENDERINGS:
            self._renderings.popitem(last=False)


def _rendering_key(index: CatalogIndex, principal: Principal | None) -> _RenderingKey:
    if principal is None:
        return _RenderingKey(index.version, None, sold_only=True)
    is_house = principal.billing == "house" or "operator" in principal.scopes
    return _RenderingKey(index.version, principal.markup_bp, sold_only=not is_house)


def render_catalog(index: CatalogIndex, catalog: Catalog, key: _RenderingKey) -> RenderedCatalog:
    """Every model that a provider serves that is on, as bytes."""
    models: dict[str, RenderedModel] = {}
    digest = blake2b(digest_size=12)
    providers = catalog.providers
    # The simulator is for trying out; its models stay callable, and leave the list to real ones.
    is_in_use = any(not provider.off and not provider.built_in for provider in providers.values())
    for model in index.models.values():
        priced = model if key.markup_bp is None else _model_with_markup(model, key.markup_bp)
        offers = callable_offers(priced, catalog)
        if key.sold_only:
            offers = tuple(offer for offer in offers if not why_not_sold(offer))
        if not offers or (is_in_use and all(providers[each.provider].built_in for each in offers)):
            continue
        card = model_card(priced, offers, catalog.providers)
        body = encode_json(card)
        digest.update(body)
        models[model.id] = _render_model(priced, offers, card, body)
    return RenderedCatalog(index, models, digest.hexdigest())


def _render_model(
    model: Model, offers: tuple[Offer, ...], card: Card, body: bytes
) -> RenderedModel:
    architecture = card["architecture"]
    inputs = frozenset(architecture["input_modalities"])
    outputs = frozenset(architecture["output_modalities"])
    return RenderedModel(
        model=model,
        offers=offers,
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


def _model_with_markup(model: Model, markup_bp: int) -> Model:
    return replace(
        model, offers=tuple(_offer_with_markup(offer, markup_bp) for offer in model.offers)
    )


def _offer_with_markup(offer: Offer, markup_bp: int) -> Offer:
    price = offer.price
    if price is None or price.free:
        return offer
    return replace(offer, price=replace(price, markup_bp=markup_bp))


def visible_models(
    models: Iterable[RenderedModel], principal: Principal | None
) -> Iterable[RenderedModel]:
    """Those that the key may call."""
    ids = principal.models if principal is not None else ()
    return models if not ids else (model for model in models if model.model.id in ids)


def filter_models(models: Iterable[RenderedModel], request: HandlerRequest) -> list[RenderedModel]:
    """Those that match every filter of the query; a field that is no filter is ignored."""
    matching = list(models)
    for name, matches in FILTERS.items():
        values = frozenset(request.values(name))
        if values:
            matching = [model for model in matching if matches(model, values)]
    words = " ".join(request.query.get("q", ())).lower().split()
    if words:
        matching = [model for model in matching if all(word in model.text for word in words)]
    return matching


def _filter_visible(rendering: RenderedCatalog, request: HandlerRequest) -> list[RenderedModel]:
    return filter_models(visible_models(rendering.models.values(), request.principal), request)


TRUE_WORDS = frozenset({"true", "1", "yes"})
FILTERS: dict[str, Callable[[RenderedModel, frozenset[str]], bool]] = {
    "provider": lambda model, values: not values.isdisjoint(model.providers),
    "input_modalities": lambda model, values: values <= model.inputs,
    "output_modalities": lambda model, values: values <= model.outputs,
    "modality": lambda model, values: values <= model.modalities,
    "supported_parameters": lambda model, values: values <= model.parameters,
    "free": lambda model, values: model.free or values.isdisjoint(TRUE_WORDS),
}
"""Query field → whether a model matches its values."""


def _encode_list(models: list[RenderedModel], total: int) -> bytes:
    bodies = b",".join([model.body for model in models])
    return b'{"object":"list","data":[%b],"total":%d}' % (bodies, total)


def _etag(text: str) -> str:
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'


def _conditional_response(
    request: HandlerRequest, tag: str, body: Callable[[], bytes]
) -> HttpResponse:
    """The answer, or 304 if the client has it already (`If-None-Match`)."""
    headers = (*HEADERS, ("etag", tag))
    known = [
        entry.strip().removeprefix("W/")
        for entry in request.headers.get("if-none-match", "").split(",")
    ]
    if tag in known or "*" in known:
        return HttpResponse(304, headers[1:], b"")
    return HttpResponse(200, headers, body())
