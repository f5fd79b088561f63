"""Cards: what a model and its offers look like to people and programs, in OpenAI's shape with OpenRouter's fields.

Money is decimal text, US dollars a token (or an image, a request), markup included, worked out from integers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import why_not_callable, why_not_sold
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
}
"""OpenRouter's word for a price → our bucket."""
ALWAYS = ("prompt", "completion", "request", "image")
"""Figures that are there even when they are nothing."""
PLAIN = {"image_output": "output", "image_token": "input", "audio": "input", "audio_output": "output",
         "internal_reasoning": "output", "input_cache_read": "input", "input_cache_write": "input",
         "input_cache_write_1h": "input_cache_write"}  # fmt: skip
"""Figures that are left out where they only repeat another one."""
CHAT_PARAMETERS = (
    "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "presence_penalty", "response_format", "seed", "stop",
    "temperature", "top_logprobs", "top_p",
)  # fmt: skip
"""What every chat provider takes, but for what its row drops."""
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


def usd(pico: int, markup_bp: int = 0) -> str:
    """Pico-dollars with their markup as plain decimal text, exact."""
    whole, rest = divmod(pico * (BASIS_POINTS + markup_bp), 10 ** (PICO + 4))
    text = f"{whole}.{rest:0{PICO + 4}d}" if rest else str(whole)
    return text.rstrip("0").rstrip(".") if rest else text


def pricing(price: Price) -> Card:
    """The price's figures; `overrides` hold for longer prompts."""
    listed = {bucket: getattr(price, bucket) for bucket in BUCKETS}
    shown = _figures(listed, price.markup_bp)
    overrides = [
        {
            "min_prompt_tokens": tier.above,
            **_figures(dict(zip(BUCKETS, tier.rates, strict=True)), price.markup_bp),
        }
        for tier in price.tiers
        if not tier.service
    ]
    return shown | ({"overrides": overrides} if overrides else {})


def _figures(listed: Mapping[str, int], markup_bp: int) -> Card:
    shown: Card = {}
    for word, bucket in FIGURES.items():
        pico = listed[bucket]
        plain = FIGURES.get(PLAIN.get(word, ""), PLAIN.get(word, ""))
        if word in ALWAYS or (pico and pico != listed.get(plain)):
            shown[word] = usd(pico, markup_bp)
    return shown


def parameters_of(offers: Iterable[Offer], providers: Mapping[str, Provider]) -> list[str]:
    """What requests for these offers may carry: as their providers list it, else as rows and features tell."""
    found: set[str] = set()
    for offer in offers:
        found.update(offer.parameters or _told(offer, providers[offer.provider]))
    return sorted(found)


def _told(offer: Offer, provider: Provider) -> set[str]:
    if offer.serves and "chat" not in offer.serves:
        return set()
    words = {
        *CHAT_PARAMETERS,
        *(word for one in offer.features for word in FEATURE_PARAMETERS.get(one, ())),
    }
    return words - set(provider.quirks.drop)


def model_card(model: Model, offers: tuple[Offer, ...], providers: Mapping[str, Provider]) -> Card:
    """The card of a model, from the offers that can be called; the price is the cheapest that is sold."""
    cheapest = cheapest_of(offers)
    top = max(offers, key=lambda offer: (offer.context or 0, offer.max_output or 0), default=None)
    card: Card = {
        "id": model.id,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.id.partition("/")[0],
        "canonical_slug": model.id,
        "name": model.name or model.id,
        "description": model.description,
        "context_length": max((offer.context or 0 for offer in offers), default=0) or model.context,
        "architecture": _architecture(offers),
        "pricing": pricing(cheapest) if cheapest is not None else None,
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
    return card


def cheapest_of(offers: Iterable[Offer]) -> Price | None:
    prices = [
        offer.price for offer in offers if offer.price is not None and not why_not_sold(offer)
    ]
    return min(
        prices,
        key=lambda price: (price.input + price.output + price.images, price.pixels),
        default=None,
    )


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


class Standings(Struct, frozen=True):
    """What an offer stands in: the states of breakers, and the shelf."""

    states: Mapping[tuple[str, str], str]
    shelf: Shelf


def endpoints_card(card: Card, offers: Iterable[Offer], standings: Standings) -> Card:
    """OpenRouter's list of who serves a model; an offer that cannot be called says why."""
    shown = {name: card[name] for name in ("id", "name", "created", "description", "architecture")}
    return {**shown, "endpoints": [_endpoint(card["id"], offer, standings) for offer in offers]}


def _endpoint(model: str, offer: Offer, standings: Standings) -> Card:
    providers, states = standings.shelf.providers, standings.states
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
        "pricing": pricing(offer.price) if offer.price is not None else None,
        "price_source": offer.price.source if offer.price is not None else "",
        "supported_parameters": parameters_of((offer,), providers),
        "supports_implicit_caching": "caching" in offer.features,
        "status": STATUSES.get(state, 0),
        "uptime_last_30m": None,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "why_not": why_not_callable(offer, standings.shelf) or why_not_sold(offer),
    }
