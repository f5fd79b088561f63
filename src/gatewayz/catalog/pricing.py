"""What a call uses at the most, and what to write to price a model that has no price."""

from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.catalog.dear_buckets import missing_bucket
from gatewayz.catalog.offers import Offer
from gatewayz.core.money import Price
from gatewayz.core.requests import Request, Surface
from gatewayz.core.usage import SERVICES, Usage, service_from_word
from gatewayz.dialects.kit.costly_fields import CostlyUse

PROMPT_MARGIN = 1.15
PROMPT_EXTRA_TOKENS = 64
"""What is added to an estimate of a prompt, as a share and as tokens of its frame."""


def worst_case_usage(request: Request, offer: Offer) -> Usage:
    """The most that this call is expected to use at the offer."""
    return replace(
        request.worst_case_usage(estimate_prompt_tokens(request), offer.max_output),
        service=service_tier_of(request),
    )


def estimate_prompt_tokens(request: Request) -> int:
    """Tokens that the prompt is held for: an estimate with room."""
    return round(request.prompt_tokens() * PROMPT_MARGIN) + PROMPT_EXTRA_TOKENS


def service_tier_of(request: Request) -> str:
    """The service tier that the client asks for, where it has a price of its own."""
    return service_from_word(request.extra.get("service_tier"))


def complete_usage(usage: Usage, request: Request, price: Price | None) -> Usage:
    """The usage with what providers leave out: the request itself, where that has a price, and the
    tokens of images that are sold by the token, as a marked estimate.
    """
    if price is None:
        return usage
    if price.requests and not usage.requests:
        usage = replace(usage, requests=1)
    sold_by_token = price.image_output and not price.images and not price.pixels
    if not usage.images or usage.completion or not sold_by_token:
        return usage
    worst = request.worst_case_usage(request.prompt_tokens(), None)
    return replace(
        usage,
        input=usage.input if usage.prompt else worst.input,
        image_output=worst.image_output * usage.images // request.choices,
        estimated=True,
    )


def usual_cost(price: Price | None) -> float:
    """What a thousand tokens in and out, or one image, cost at a price, to compare offers.

    In pico-dollars, without markup; what has no price comes last.
    """
    if price is None:
        return float("inf")
    return (
        1_000 * (price.input + price.output)
        + price.images
        + 1_000_000 * price.pixels
        + price.requests
    )


def why_unpriced(offer: Offer, used: frozenset[str]) -> str:
    """What of the request the offer's price says nothing about; empty when nothing.

    `used` are its `buckets_in_use`.
    """
    price = offer.price
    if price is None or price.free:
        return ""
    bucket = missing_bucket(offer, price, used)
    return f"unpriced: its price names no {bucket}, which this request uses" if bucket else ""


def first_unpriced_use(
    offer: Offer, uses: tuple[CostlyUse, ...], field_costs: Mapping[str, str]
) -> CostlyUse | None:
    """The first costly field of a request that the offer's price says nothing about.

    `field_costs` is what the provider's row says of such fields. A cheaper service tier without a
    price is sold at the standard rates.
    """
    price = offer.price
    if price is None or price.free:
        return None
    for use in uses:
        unit = field_costs.get(use.name, use.cost.unit)
        if unit != "free" and not _names_unit(price, unit):
            return use
    return None


def _names_unit(price: Price, unit: str) -> bool:
    """Whether the price has a rate for a bucket, or for a service tier."""
    if unit in SERVICES:
        return any(tier.service == unit for tier in price.tiers)
    return bool(unit) and bool(getattr(price, unit))


PRICE_EXAMPLES: dict[Surface, str] = {
    "chat": '{input: "0.50", output: "1.50"}}]}]   # an example: USD per million tokens',
    "count": '{input: "0.50", output: "1.50"}}]}]   # an example: USD per million tokens',
    "embedding": '{input: "0.02", output: "0"}}]}]   # an example: USD per million tokens',
    "image": '{images: "0.04"}}]}]   # an example: USD an image; or pixels, per million',
}


def price_config_example(offer: Offer, surface: Surface = "chat") -> str:
    """The configuration that would price this offer, ready to paste."""
    place = f"provider: {offer.provider}, upstream_id: {offer.upstream_id}"
    return f"models: [{{id: {offer.model}, offers: [{{{place}, price: {PRICE_EXAMPLES[surface]}"
