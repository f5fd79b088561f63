"""Cards: models and offers in OpenAI's shape with OpenRouter's fields, as `/v1/models` shows them.

Money is decimal text, US dollars a token (or an image, a request), markup included, exact.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import why_not_callable, why_not_sold
from gatewayz.catalog.sources import OfferKey
from gatewayz.core.money import BASIS_POINTS, Price
from gatewayz.core.usage import BUCKETS
from gatewayz.providers.spec import Provider

FIGURES = {
    "prompt": "input",
    "completion": "output",
    "request": "requests",
    "image": "images",
    "web_search": "searches",
    "image_output": "image_output",
    "image_token": "image_input",
    "audio": "audio_input",
    "audio_output": "audio_output",
    "internal_reasoning": "reasoning",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
    "pixel": "pixels",
    "second": "seconds",
}
"""OpenRouter's word for a price → our bucket; it has none for pixels and seconds."""
TOKEN_FIGURES = ("prompt", "completion", "request", "image")
"""Figures that are there even when they are zero, where it is tokens that are paid for."""
FALLBACK_FIGURES = {
    "image_output": "output",
    "image_token": "input",
    "audio": "input",
    "audio_output": "output",
    "internal_reasoning": "output",
    "input_cache_read": "input",
    "input_cache_write": "input",
    "input_cache_write_1h": "input_cache_write",
}
"""Figures that are left out where they only repeat another one."""
CHAT_PARAMETERS = (
    "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "presence_penalty",
    "response_format", "seed", "stop", "temperature", "top_logprobs", "top_p",
)  # fmt: skip
"""What every chat provider takes, except what its row drops."""
FEATURE_PARAMETERS = {
    "tools": ("tools", "tool_choice"),
    "parallel_tools": ("parallel_tool_calls",),
    "json_schema": ("structured_outputs",),
    "reasoning": ("reasoning", "include_reasoning"),
}
PICO = 12
STATUSES = {"closed": 0, "half_open": -1, "cooling": -2, "open": -5}
"""State of a breaker → OpenRouter's number for it."""

Card = dict[str, Any]


def format_usd_per_unit(pico: int, markup_bp: int = 0) -> str:
    """Pico-dollars with their markup as plain decimal text, exact.

    Example: `format_usd_per_unit(2_500_000)` is `0.0000025`.
    """
    whole, rest = divmod(pico * (BASIS_POINTS + markup_bp), 10 ** (PICO + 4))
    text = f"{whole}.{rest:0{PICO + 4}d}" if rest else str(whole)
    return text.rstrip("0").rstrip(".") if rest else text


def price_card(price: Price) -> Card:
    """The price's figures; `overrides` hold for longer prompts."""
    rates = {bucket: getattr(price, bucket) for bucket in BUCKETS}
    figures = _price_figures(rates, price.markup_bp)
    overrides = [
        {
            "min_prompt_tokens": tier.above,
            **_price_figures(dict(zip(BUCKETS, tier.rates, strict=True)), price.markup_bp),
        }
        for tier in price.tiers
        if not tier.service
    ]
    return figures | ({"overrides": overrides} if overrides else {})


def _price_figures(rates: Mapping[str, int], markup_bp: int) -> Card:
    """Each figure in its own unit; what is not charged for by that unit is absent, never zero."""
    figures: Card = {}
    shown = _figures_shown_at_zero(rates)
    for word, bucket in FIGURES.items():
        pico = rates[bucket]
        fallback = FALLBACK_FIGURES.get(word, "")
        if word in shown or (pico and pico != rates.get(FIGURES.get(fallback, fallback))):
            figures[word] = format_usd_per_unit(pico, markup_bp)
    return figures


def _figures_shown_at_zero(rates: Mapping[str, int]) -> tuple[str, ...]:
    if any(rates.values()) and not (rates["input"] or rates["output"]):
        # It is paid for by the image, the pixel, the second or the request alone.
        return ()
    makes_images = rates["image_output"] != rates["output"]
    return tuple(word for word in TOKEN_FIGURES if not (makes_images and word == "image"))


def parameters_of(offers: Iterable[Offer], providers: Mapping[str, Provider]) -> list[str]:
    """What requests for these offers may carry: as providers list it, else by rows and features."""
    names: set[str] = set()
    for offer in offers:
        names.update(offer.parameters or _default_parameters(offer, providers[offer.provider]))
    return sorted(names)


def _default_parameters(offer: Offer, provider: Provider) -> set[str]:
    if offer.serves and "chat" not in offer.serves:
        return set()
    names = set(CHAT_PARAMETERS)
    for feature in offer.features:
        names.update(FEATURE_PARAMETERS.get(feature, ()))
    return names - set(provider.quirks.drop)


def model_card(model: Model, offers: tuple[Offer, ...], providers: Mapping[str, Provider]) -> Card:
    """The card of a model. `offers` can be called, and are in the order in which a plan takes them.

    The price is that of the first which is sold; the range and each offer's own stand beside it.
    """
    sold = [offer for offer in offers if offer.price is not None and not why_not_sold(offer)]
    top = max(offers, key=lambda offer: (offer.context or 0, offer.max_output or 0), default=None)
    return {
        "id": model.id,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.id.partition("/")[0],
        "canonical_slug": model.id,
        "name": model.name or model.id,
        "description": model.description,
        "context_length": max((offer.context or 0 for offer in offers), default=0) or model.context,
        "architecture": _architecture(offers),
        "pricing": _offer_price_card(sold[0]) if sold else None,
        "pricing_range": _price_range(sold),
        "offers": [
            {
                "provider": offer.provider,
                "upstream_id": offer.upstream_id,
                "pricing": _offer_price_card(offer),
            }
            for offer in sold
        ],
        "top_provider": {
            "context_length": top.context if top is not None else None,
            "max_completion_tokens": top.max_output if top is not None else None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": parameters_of(offers, providers),
        "providers": list(dict.fromkeys(offer.provider for offer in offers)),
        "aliases": list(model.aliases),
        "free": any(offer.price is not None and offer.price.free for offer in offers),
    }


def _offer_price_card(offer: Offer) -> Card | None:
    return price_card(offer.price) if offer.price is not None else None


def _price_range(sold: Iterable[Offer]) -> dict[str, Card]:
    """The least and the most of each figure on which the offers that have it differ."""
    cards = [price_card(offer.price) for offer in sold if offer.price is not None]
    figures = [word for word in FIGURES if any(word in card for card in cards)]
    found: dict[str, Card] = {}
    for word in figures:
        told = sorted((card[word] for card in cards if word in card), key=Decimal)
        if told[0] != told[-1]:
            found[word] = {"min": told[0], "max": told[-1]}
    return found


def _architecture(offers: tuple[Offer, ...]) -> Card:
    inputs = list(dict.fromkeys(word for offer in offers for word in offer.inputs)) or ["text"]
    outputs = list(dict.fromkeys(word for offer in offers for word in offer.outputs))
    surfaces = {surface for offer in offers for surface in offer.serves}
    outputs = outputs or (["embeddings"] if "embedding" in surfaces else ["text"])
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": "Other",
        "instruct_type": None,
    }


class EndpointContext(Struct, frozen=True):
    """What an endpoint's card needs besides the offer: breaker states by offer, the catalogue."""

    breaker_states: Mapping[OfferKey, str]
    catalog: Catalog


def endpoints_card(card: Card, offers: Iterable[Offer], context: EndpointContext) -> Card:
    """OpenRouter's list of who serves a model; an offer that cannot be called says why."""
    shown = {name: card[name] for name in ("id", "name", "created", "description", "architecture")}
    return {
        **shown,
        "endpoints": [_endpoint_card(card["id"], offer, context) for offer in offers],
    }


def _endpoint_card(model: str, offer: Offer, context: EndpointContext) -> Card:
    providers, states = context.catalog.providers, context.breaker_states
    provider = providers[offer.provider]
    state = states.get((offer.provider, offer.upstream_id), "closed")
    return {
        "name": f"{provider.name} | {model}",
        "model_id": offer.model,
        "provider_name": provider.name,
        "tag": offer.provider,
        "upstream_id": offer.upstream_id,
        "quantization": offer.quantization or "unknown",
        "context_length": offer.context,
        "max_completion_tokens": offer.max_output,
        "max_prompt_tokens": None,
        "pricing": _offer_price_card(offer),
        "price_source": offer.price.source if offer.price is not None else "",
        "supported_parameters": parameters_of((offer,), providers),
        "supports_implicit_caching": "caching" in offer.features,
        "status": STATUSES.get(state, 0),
        "uptime_last_30m": None,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "why_not": why_not_callable(offer, context.catalog) or why_not_sold(offer),
    }
