"""Refusals: what a caller is told when no offer of a model can be asked.

What stays as it is (not set up here, too long, not sold, not able) is told as that, for good: 400,
403 or 404. What passes is 429 or 503, with the time until it does. Why each offer was left out is
the operator's affair: operators read it in the message, everybody else only what the request can
change.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from gatewayz.catalog.offers import Offer
from gatewayz.core.calls import Principal
from gatewayz.core.faults import ContextOverflow, Fault
from gatewayz.core.requests import Request
from gatewayz.dialects.kit.costly_fields import uses_in
from gatewayz.dialects.kit.native import find_native_part, refusal_details
from gatewayz.routing.eligibility import ExclusionKind

REQUEST_KINDS: frozenset[str] = frozenset({"preference", "incapable", "unpriced_use"})
"""Kinds of reasons that the client can do something about."""
NOT_HERE: frozenset[str] = frozenset({"off", "locked"})
"""Kinds of reasons why an offer is not there for anybody."""


class Reason(Struct, frozen=True):
    """Why a candidate stands where it stands, or why an offer was left out.

    `kind` is empty for a candidate, and for an offer whose breaker keeps it out for a while.

    Example: `Reason("groq", "llama-3.3-70b", is_candidate=False, why="not in provider.only")`
    """

    provider: str
    upstream_id: str
    is_candidate: bool
    why: str
    kind: ExclusionKind | None = None


def no_offer_fault(
    model: str,
    request: Request,
    principal: Principal,
    reasons: Sequence[Reason],
    offers: Iterable[Offer],
    suggestion: str,
) -> Fault:
    """Why nobody can serve the request; a field that costs money comes first, because without it
    there may be somebody. `suggestion` names near models, `offers` are all of the models asked for.
    """
    fault = _no_offer_fault(model, request, reasons, offers, suggestion)
    if "operator" not in principal.scopes:
        return fault
    whys = "; ".join(f"{reason.provider}: {reason.why}" for reason in reasons)
    message = f"{fault.message} Left out: {whys}." if whys else fault.message
    return Fault(
        fault.kind,
        message,
        param=fault.param,
        overflow=fault.overflow,
        details=fault.details,
    )


def _no_offer_fault(
    model: str,
    request: Request,
    reasons: Sequence[Reason],
    offers: Iterable[Offer],
    suggestion: str,
) -> Fault:
    for use in uses_in(request):
        if any(reason.why.startswith(f"'{use.param}' ") for reason in reasons):
            return Fault(
                "unsupported",
                f"'{use.param}' {use.cost.why}, and nobody who offers '{model}' here has a "
                "price for that. Leave it out, or ask whoever runs this gateway to price it.",
                param=use.param,
                details=refusal_details(request, use.param),
            )
    part = find_native_part(request, {reason.why for reason in reasons})
    if part is not None:
        return Fault(
            "unsupported",
            f"'{part.param}' cannot be served by whoever offers '{model}' here: {part.why}.",
            param=part.param,
            details=part.details,
        )

    here = [reason for reason in reasons if reason.kind not in NOT_HERE]
    if not here:
        return Fault(
            "unknown_model",
            f"The model '{model}' is not available on this gateway{suggestion}.",
            param="model",
        )
    whys = list(dict.fromkeys(reason.why for reason in here if reason.kind in REQUEST_KINDS))
    if any(reason.kind == "unpriced_use" for reason in here):
        return Fault("unpriced", f"'{model}' is not sold for this request here: {'; '.join(whys)}.")
    if any(reason.kind == "unpriced" for reason in here):
        return Fault(
            "unpriced",
            f"The model '{model}' has no price here and is not sold without one; ask whoever runs "
            f"this gateway to price it, or choose another model{suggestion}.",
            param="model",
        )
    if all(reason.kind == "too_small" for reason in here):
        return _too_long_fault(model, request, offers)

    return Fault("unsupported", f"'{model}' cannot serve this request here: {'; '.join(whys)}.")


def _too_long_fault(model: str, request: Request, offers: Iterable[Offer]) -> Fault:
    """By a lower bound: what may fit after all is asked for."""
    limit = max((offer.context or 0 for offer in offers), default=0)
    tokens = max(request.prompt_tokens(), request.least_context_tokens())
    return Fault(
        "too_long",
        f"The prompt has about {tokens} tokens, and '{model}' takes {limit} here.",
        overflow=ContextOverflow(tokens=tokens, limit=limit),
    )


def waiting_fault(model: str, wait_s: float, *, limited: bool) -> Fault:
    """Everybody who could serve the model is to be asked later: by a provider's own wish, or because
    it failed.
    """
    if limited:
        return Fault(
            "upstream_limited",
            f"Whoever serves '{model}' here has reached a rate limit; retry in {wait_s:.1f} s.",
            retry_after_s=wait_s,
        )
    return Fault(
        "unavailable",
        f"Whoever serves '{model}' here has failed repeatedly and is not asked for a while; "
        f"retry in {wait_s:.1f} s.",
        retry_after_s=wait_s,
    )
