"""What a call may cost at the most, and what to write to price a model that has no price."""

from msgspec.structs import replace

from gatewayz.catalog.offers import Offer
from gatewayz.core.money import Nanos, Price, cost
from gatewayz.core.requests import Request, Surface
from gatewayz.core.usage import SERVICES, Usage

PROMPT_MARGIN = 1.15
PROMPT_EXTRA_TOKENS = 64


def ceiling(request: Request, offers: tuple[Offer, ...], markup_bp: int | None = None) -> Nanos:
    """The most that this call is expected to cost at any of the offers: an estimate that is held, not a proof.

    `markup_bp` is the account's own, where it has one.
    """
    prompt, service = _prompt(request), service_asked(request)
    caps = {offer.max_output for offer in offers}
    worst = {cap: replace(request.worst(prompt, cap), service=service) for cap in caps}
    amounts = [
        cost(worst[offer.max_output], offer.price, markup_bp)
        for offer in offers
        if offer.price is not None
    ]
    return max(amounts, default=Nanos(0))


def expected(request: Request, offer: Offer) -> Usage:
    """The most that this call is expected to use at the offer."""
    return replace(
        request.worst(_prompt(request), offer.max_output), service=service_asked(request)
    )


def _prompt(request: Request) -> int:
    return round(request.prompt_tokens() * PROMPT_MARGIN) + PROMPT_EXTRA_TOKENS


def service_asked(request: Request) -> str:
    """The service tier that the client asks for, where it has a price of its own."""
    asked = request.extra.get("service_tier")
    return asked if asked in SERVICES else ""


def why_unpriced(price: Price, request: Request) -> str:
    """What of the request this price says nothing of; empty when nothing. Cheaper tiers may be sold at its rates."""
    service = service_asked(request)
    if price.free:
        return ""
    if service == "priority" and all(tier.service != service for tier in price.tiers):
        return f"unpriced at the service tier {service}"
    return "its web searches are unpriced" if request.searches and not price.searches else ""


EXAMPLES: dict[Surface, str] = {
    "chat": '{input: "0.50", output: "1.50"}}]}]   # USD per million tokens',
    "count": '{input: "0.50", output: "1.50"}}]}]   # USD per million tokens',
    "embedding": '{input: "0.02"}}]}]   # USD per million tokens',
    "image": '{images: "0.04"}}]}]   # USD an image; or pixels, per million',
}


def how_to_price(offer: Offer, surface: Surface = "chat") -> str:
    """The configuration that would price this offer, ready to paste."""
    return (
        f"models: [{{id: {offer.model}, offers: [{{provider: {offer.provider}, upstream_id: {offer.upstream_id}, "
        f"price: {EXAMPLES[surface]}"
    )
