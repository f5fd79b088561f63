"""Eligibility: why an offer is no candidate for a request, and what kind of reason that is.

Each reason is a few words. Those of kind `off`, `locked` and `unpriced` are the operator's affair,
and no customer reads them.
"""

from typing import Literal, NamedTuple

from gatewayz.catalog.catalog import ResolvedModel
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import first_unpriced_use, price_config_example, why_unpriced
from gatewayz.core.calls import Principal
from gatewayz.core.money import Price, pico_from_usd, rates_of
from gatewayz.core.requests import Capability, Request
from gatewayz.dialects.kit.costly_fields import CostlyUse
from gatewayz.dialects.kit.native import untranslatable
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.model_ids import dialect_for, native_id
from gatewayz.providers.quirks import why_not_served
from gatewayz.providers.spec import Provider
from gatewayz.routing.rules import ProviderLock, lockout_reason

PRICE_NAMES = {"prompt": "input", "completion": "output", "image": "images", "request": "requests"}
"""What `provider.max_price` calls a bucket (openrouter.ai/docs, provider routing)."""


CAPABILITY_LACKS: dict[Capability, str] = {
    Capability.TOOLS: "takes no tools",
    Capability.IMAGES: "takes no images",
    Capability.AUDIO: "takes no audio",
    Capability.FILES: "takes no files",
    Capability.CHOICES: "gives one answer a call (`n` is 1)",
    Capability.JSON_SCHEMA: "follows no JSON schema",
}
"""What a model cannot do, as the end of a sentence that begins with it."""
ExclusionKind = Literal[
    "off", "locked", "preference", "incapable", "too_small", "unpriced", "unpriced_use"
]
"""What a reason is about: what is set up here, the client's own wishes, what the request needs, the
length of its prompt, the price of the model, or of something that the request uses."""


class Exclusion(NamedTuple):
    """Why an offer is no candidate.

    Example: `Exclusion("preference", "not in provider.only")`
    """

    kind: ExclusionKind
    why: str


class OfferRequirements(NamedTuple):
    """A request with what it needs of an offer, worked out once for all of them.

    `context_tokens` is an estimate: offers are preferred by it, and none is refused.

    Example: `OfferRequirements(request, needs=frozenset({Capability.TOOLS}), context_tokens=8_200)`
    """

    request: Request
    needs: frozenset[Capability]
    context_tokens: int
    buckets_in_use: frozenset[str] = frozenset()
    costly_uses: tuple[CostlyUse, ...] = ()


def exclusion(
    offer: Offer,
    provider: Provider,
    model: ResolvedModel,
    requirements: OfferRequirements,
    lock: ProviderLock,
) -> Exclusion | None:
    """Why the offer may not or cannot serve the request; nothing when it can."""
    if provider.off:
        return Exclusion("off", f"off: {provider.off}")
    locked = "" if model.pinned else lockout_reason(lock, provider)
    if locked:
        return Exclusion("locked", locked)
    if why := _preference_reason(provider, requirements.request):
        return Exclusion("preference", why)
    if why := _incapability_reason(offer, provider, requirements):
        return Exclusion("incapable", why)
    return None


def fits(offer: Offer, tokens: int) -> bool:
    """Whether so many tokens fit the offer's context."""
    return offer.context is None or tokens <= offer.context


def _preference_reason(provider: Provider, request: Request) -> str:
    preferences = request.preferences
    if preferences.only and provider.id not in preferences.only:
        return "not in provider.only"
    if provider.id in preferences.ignore:
        return "in provider.ignore"
    ordered = provider.id in preferences.order
    if preferences.order and not preferences.allow_fallbacks and not ordered:
        return "not in provider.order, and fallbacks are not allowed"
    if preferences.zdr or preferences.data_collection == "deny":
        return "its data policy is not known"
    return ""


def _incapability_reason(offer: Offer, provider: Provider, requirements: OfferRequirements) -> str:
    request = requirements.request
    if offer.unserved_reason:
        return f"it {offer.unserved_reason}, which is not served here"
    if offer.serves and request.surface not in offer.serves:
        return f"the model serves no {request.surface} requests"
    dialect = dialect_for(provider, offer.upstream_id, request.surface)
    if not dialect:
        return f"it serves no {request.surface} requests"

    needs = requirements.needs
    missing = needs & UPSTREAMS[dialect].lacks
    if offer.can is not None:
        missing |= needs - offer.can
    if missing:
        return f"it {', '.join(CAPABILITY_LACKS[one] for one in sorted(missing))}"
    return (
        _max_price_reason(offer, request)
        or untranslatable(request, dialect)
        or why_not_served(request, provider.quirks, native_id(offer.upstream_id, provider))
    )


def _max_price_reason(offer: Offer, request: Request) -> str:
    if offer.price is None:
        return ""
    for name, text in request.preferences.max_price.items():
        bucket = PRICE_NAMES.get(name)
        if bucket is not None and getattr(offer.price, bucket) > pico_from_usd(bucket, text):
            return f"its price of {name} is above {text}"
    return ""


def pricing_exclusion(
    offer: Offer, provider: Provider, principal: Principal, requirements: OfferRequirements
) -> Exclusion | None:
    """Why the offer cannot be sold to this principal; nothing when it can."""
    # An account for one's own use is never refused: its calls are booked without a price until
    # there is one.
    if principal.billing == "house":
        return None
    if offer.price is None or not _is_sellable(offer.price):
        quarantined = (
            f" (its listed price is quarantined: {offer.quarantine_reason})"
            if offer.quarantine_reason
            else ""
        )
        example = price_config_example(offer, requirements.request.surface)
        return Exclusion("unpriced", f"unpriced{quarantined}; to price it: {example}")
    why = why_unpriced(offer, requirements.buckets_in_use)
    if not why and requirements.costly_uses:
        uses = _uses_at(offer, provider, requirements)
        use = first_unpriced_use(offer, uses, provider.quirks.field_costs)
        why = "" if use is None else f"'{use.param}' {use.cost.why}, which has no price there"
    return Exclusion("unpriced_use", why) if why else None


def _uses_at(
    offer: Offer, provider: Provider, requirements: OfferRequirements
) -> tuple[CostlyUse, ...]:
    """The costly fields that this provider would be sent: none cross into another dialect, but
    what is meant for one provider reaches it in any.
    """
    request = requirements.request
    same_dialect = dialect_for(provider, offer.upstream_id, request.surface) == request.dialect
    return tuple(
        use
        for use in requirements.costly_uses
        if (use.provider == provider.id if use.provider else same_dialect)
    )


def _is_sellable(price: Price) -> bool:
    """A price of nothing holds only where it is meant."""
    return price.free or any(rates_of(price, 0))
