"""What a call may cost at the most, and what to write to price a model that has no price."""

from gatewayz.catalog.offers import Offer
from gatewayz.core.money import Nanos, Price, cost
from gatewayz.core.requests import ChatRequest, prompt_tokens
from gatewayz.core.usage import SERVICES, Usage

PROMPT_MARGIN = 1.15
PROMPT_EXTRA_TOKENS = 64
DEFAULT_OUTPUT_TOKENS = 4_096


def ceiling(request: ChatRequest, offers: tuple[Offer, ...], markup_bp: int | None = None) -> Nanos:
    """The most that this call is expected to cost at any of the offers: an estimate that is held, not a proof.

    `markup_bp` is the account's own, where it has one.
    """
    prompt = round(prompt_tokens(request) * PROMPT_MARGIN) + PROMPT_EXTRA_TOKENS
    amounts = [cost(_worst(request, offer, prompt), offer.price or Price(), markup_bp) for offer in offers]
    return max(amounts, default=Nanos(0))


def _worst(request: ChatRequest, offer: Offer, prompt: int) -> Usage:
    output = request.max_output or min(offer.max_output or DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS)
    return Usage(input=prompt, output=output * request.sampling.n, requests=1, service=service_asked(request))


def service_asked(request: ChatRequest) -> str:
    """The service tier that the client asks for, where it has a price of its own."""
    asked = request.extra.get("service_tier")
    return asked if asked in SERVICES else ""


def priced_for(price: Price, service: str) -> bool:
    """Whether this price says what the service tier costs; the cheaper ones may be sold at the standard rates."""
    return service != "priority" or price.free or any(tier.service == service for tier in price.tiers)


def how_to_price(offer: Offer) -> str:
    """The configuration that would price this offer, ready to paste."""
    return (
        f"models: [{{id: {offer.model}, offers: [{{provider: {offer.provider}, upstream_id: {offer.upstream_id}, "
        f'price: {{input: "0.50", output: "1.50"}}}}]}}]   # USD per million tokens'
    )
