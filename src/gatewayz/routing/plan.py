"""Which candidates, in what order, and why: a plan is a pure function of request, offers and
health.

Laws: no duplicates; locks are respected; open offers are never candidates but as a probe; wherever
an offer exists that is allowed and on, at least one candidate survives or the plan says when to
come back.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from gatewayz.catalog.catalog import Catalog, ResolvedModel
from gatewayz.catalog.dear_buckets import buckets_in_use
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import usual_cost, worst_case_usage
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.money import cost
from gatewayz.core.requests import Request
from gatewayz.dialects.kit.costly_fields import uses_in
from gatewayz.dialects.kit.native import find_native_part, refusal_details
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.eligibility import OfferRequirements, exclusion_reason, pricing_reason
from gatewayz.routing.rules import ProviderLock, RoutingRules, position, provider_rank

LOCK_CACHE_SIZE = 10_000
Rng = Callable[[], float]
"""Random numbers in [0, 1): an argument, so that a test can say what is drawn."""


class Candidate(Struct, frozen=True, kw_only=True):
    """An offer considered for this call, with the credential to use; `credential` is `None` where
    none is needed.

    `output_limit`: the tokens of each answer that its provider is told to keep within, because no
    more is paid for; the offer's `max_output` is the same then. `None` where the call sets it.
    """

    offer: Offer
    provider: Provider
    credential: Credential | None = None
    output_limit: int | None = None


class Reason(Struct, frozen=True):
    """Why a candidate stands where it stands, or why an offer was left out.

    Example: `Reason("groq", "llama-3.3-70b", is_candidate=False, why="not in provider.only")`
    """

    provider: str
    upstream_id: str
    is_candidate: bool
    why: str


class Plan(Struct, frozen=True, kw_only=True):
    """Candidates in order, with reasons, and the canonical `model`.

    When all breakers are open `candidates` is empty, `retry_after_s` says when the first may be
    probed, and `last_resort` is that one: it may be tried once a second, so that a recovery is
    noticed.

    Example: `Plan(model="openai/gpt-4o", candidates=(at_openai, at_openrouter), reasons=(…))`
    """

    model: str
    candidates: tuple[Candidate, ...]
    reasons: tuple[Reason, ...] = ()
    retry_after_s: float | None = None
    last_resort: Candidate | None = None


class OfferHealth(Struct, frozen=True):
    """How an offer or a credential does now. `wait_s` is until its breaker lets a probe through.

    Example: `OfferHealth(usable=False, why="its breaker is open", wait_s=41.5)`
    """

    usable: bool = True
    degraded: bool = False
    why: str = ""
    wait_s: float = 0.0
    latency_ms: float = 0.0


class HealthView(Protocol):
    """What a plan reads of health."""

    def offer_health(self, provider: str, upstream_id: str, account: str = "") -> OfferHealth: ...

    def credential_health(self, provider: str, credential: str) -> OfferHealth: ...


class Planner:
    """Makes plans from what is in the catalog, under the rules."""

    def __init__(self, catalog: Catalog, rules: RoutingRules, rng: Rng) -> None:
        self._catalog = catalog
        self._rules = rules
        self._rng = rng
        # Models are few and their locks do not change: a regular expression a call is one too many.
        self._lock_for = lru_cache(maxsize=LOCK_CACHE_SIZE)(rules.lock_for)

    def plan(
        self, request: Request, principal: Principal, health: HealthView, affinity: str = ""
    ) -> Plan:
        """The plan for a request.

        `affinity`: the offer that served this conversation before, as `provider/id`.

        Faults: `unknown_model`, `forbidden`, `unsupported`, `unpriced`, `unavailable`.
        """
        names = (request.model, *(name for name in request.models if name != request.model))
        models = [self._resolve(name, request, principal) for name in names]
        reasons: list[Reason] = []
        candidates: list[Candidate] = []
        for model in models:
            _require_model_access(model, principal)
            _require_served_kind(model)
            eligible = self._eligible_candidates(model, request, principal, reasons)
            candidates += self._order_candidates(
                eligible, model, request, health, affinity, reasons
            )
        if not candidates:
            raise _no_candidate_fault(models[0], request, reasons)

        usable, waiting = _split_by_health(candidates, principal.account, health, reasons)
        wait_s, last_resort = min(waiting, key=lambda item: item[0], default=(0.0, None))
        return Plan(
            model=models[0].model,
            candidates=_deduplicate(usable)[: self._rules.max_candidates],
            reasons=tuple(reasons),
            retry_after_s=None if usable else wait_s,
            last_resort=None if usable else last_resort,
        )

    def check_access(self, request: Request, principal: Principal) -> None:
        """Whether the caller may use every model that the request names, whoever could serve it.

        Faults: `forbidden`; `unknown_model` for a name of which that cannot be said.
        """
        if principal.models:
            for name in (request.model, *request.models):
                _require_model_access(self._resolve(name, request, principal), principal)

    def _resolve(self, name: str, request: Request, principal: Principal) -> ResolvedModel:
        """What a name means; to the house, one that nobody knows is an id at the provider that is
        preferred, or at the default. To whoever pays it would have no price: it does not exist.
        """
        defaults = self._rules.default_providers
        try:
            return self._catalog.resolve(name)
        except Fault:
            default = defaults.get(request.surface, "")
            id = next(iter(request.preferences.only), default)
            provider = self._catalog.providers.get(id) if request.surface in defaults else None
            if provider is None or provider.off or principal.billing != "house":
                raise
            return self._catalog.resolve(f"{id}/{name}")

    def _eligible_candidates(
        self, model: ResolvedModel, request: Request, principal: Principal, reasons: list[Reason]
    ) -> list[Candidate]:
        """The offers that can serve the request; those that cannot leave a reason."""
        lock = self._lock_for(model.model)
        requirements = OfferRequirements(
            request,
            request.needs(),
            request.context_tokens(),
            buckets_in_use(request),
            uses_in(request),
        )
        eligible: list[Candidate] = []
        for offer in model.offers:
            provider = self._catalog.providers[offer.provider]
            why = exclusion_reason(offer, provider, model, requirements, lock) or pricing_reason(
                offer, provider, principal, requirements
            )
            if why:
                reasons.append(
                    Reason(offer.provider, offer.upstream_id, is_candidate=False, why=why)
                )
            else:
                eligible.append(Candidate(offer=offer, provider=provider))
        return eligible

    def _order_candidates(
        self,
        eligible: list[Candidate],
        model: ResolvedModel,
        request: Request,
        health: HealthView,
        affinity: str,
        reasons: list[Reason],
    ) -> list[Candidate]:
        """One model's candidates in the order of their trial, each with each of its credentials."""
        lock = self._lock_for(model.model)
        ranked = sorted(
            (
                (self._sort_key(candidate, request, lock, health, affinity), self._rng(), candidate)
                for candidate in eligible
            ),
            key=lambda item: (item[0], item[1]),
        )
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0] and not request.preferences.sort:
            # Power of two choices: of two drawn at random the quicker one goes first.
            ranked[:2] = sorted(ranked[:2], key=lambda item: _latency_ms(health, item[2]))

        result: list[Candidate] = []
        for rank, _, candidate in ranked:
            why = f"{'degraded' if rank[0] else 'healthy'}, rank {rank[2:]}"
            offer = candidate.offer
            reasons.append(Reason(offer.provider, offer.upstream_id, is_candidate=True, why=why))
            result += self._with_credentials(candidate)
        return result

    def _sort_key(
        self,
        candidate: Candidate,
        request: Request,
        lock: ProviderLock,
        health: HealthView,
        affinity: str,
    ) -> tuple[float, ...]:
        """The rank, lowest first: health, affinity, the client's preferences, the lock, the
        operator's, the chain, the price.
        """
        provider, offer = candidate.provider, candidate.offer
        order = request.preferences.order
        has_affinity = f"{provider.id}/{offer.upstream_id}" == affinity and not order
        return (
            health.offer_health(provider.id, offer.upstream_id).degraded,
            not has_affinity,
            position(provider.id, order),
            _preference_sort_value(request, candidate, health),
            *provider_rank(lock, provider, self._rules.chain),
            # What is shown is the price of the first: among equals that is the cheapest.
            usual_cost(offer.price),
        )

    def _with_credentials(self, candidate: Candidate) -> list[Candidate]:
        offer, provider = candidate.offer, candidate.provider
        credentials = provider.credentials
        if not credentials:
            return [candidate]
        if len(credentials) > 1:
            # Weighted random order: the key of an exponential race (Efraimidis and Spirakis, 2006).
            credentials = tuple(
                sorted(
                    credentials,
                    key=lambda credential: -(max(self._rng(), 1e-12) ** (1 / credential.weight)),
                )
            )
        return [
            Candidate(offer=offer, provider=provider, credential=credential)
            for credential in credentials
        ]


def _require_model_access(model: ResolvedModel, principal: Principal) -> None:
    if principal.models and model.model not in principal.models:
        raise Fault("forbidden", f"This key may not use the model '{model.model}'.", param="model")


def _require_served_kind(model: ResolvedModel) -> None:
    """Faults: `unknown_model` for one that does something else than what is served, at any price."""
    reasons = [offer.unserved_reason for offer in model.offers]
    if reasons and all(reasons):
        raise Fault(
            "unknown_model",
            f"'{model.model}' {reasons[0]}, which is not served here; choose another model.",
            param="model",
        )


def _latency_ms(health: HealthView, candidate: Candidate) -> float:
    return health.offer_health(candidate.provider.id, candidate.offer.upstream_id).latency_ms


def _preference_sort_value(request: Request, candidate: Candidate, health: HealthView) -> float:
    offer = candidate.offer
    match request.preferences.sort:
        case "price":
            # What this call would cost there: images are priced by the piece, by the pixel or by
            # the token.
            if offer.price is None:
                return float("inf")
            return cost(worst_case_usage(request, offer), offer.price)
        case "latency" | "throughput":
            return _latency_ms(health, candidate)
    return 0.0


def _split_by_health(
    candidates: list[Candidate], account: str, health: HealthView, reasons: list[Reason]
) -> tuple[list[Candidate], list[tuple[float, Candidate]]]:
    """Those whose breakers let them through, and the others with the wait until their probe."""
    usable: list[Candidate] = []
    waiting: list[tuple[float, Candidate]] = []
    for candidate in candidates:
        provider, upstream_id = candidate.provider.id, candidate.offer.upstream_id
        standing = health.offer_health(provider, upstream_id, account)
        if standing.usable and candidate.credential is not None:
            standing = health.credential_health(provider, candidate.credential.id)
        if standing.usable:
            usable.append(candidate)
        else:
            waiting.append((standing.wait_s, candidate))
            reasons.append(Reason(provider, upstream_id, is_candidate=False, why=standing.why))
    return usable, waiting


def _deduplicate(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each offer with each credential once, where it stands first."""
    first: dict[tuple[str, str, str], Candidate] = {}
    for candidate in candidates:
        credential = candidate.credential.id if candidate.credential is not None else ""
        key = candidate.provider.id, candidate.offer.upstream_id, credential
        first.setdefault(key, candidate)
    return tuple(first.values())


def _no_candidate_fault(model: ResolvedModel, request: Request, reasons: list[Reason]) -> Fault:
    """Why no offer is left at all; a field that costs money comes first, because without it there
    may be one.
    """
    for use in uses_in(request):
        if any(reason.why.startswith(f"'{use.param}' ") for reason in reasons):
            return Fault(
                "unsupported",
                f"'{use.param}' {use.cost.why}, and nobody who offers '{model.model}' here has a "
                "price for that. Leave it out, or ask whoever runs this gateway to price it.",
                param=use.param,
                details=refusal_details(request, use.param),
            )
    part = find_native_part(request, {reason.why for reason in reasons})
    if part is not None:
        return Fault(
            "unsupported",
            f"'{part.param}' cannot be served by whoever offers '{model.model}' here: {part.why}.",
            param=part.param,
            details=part.details,
        )
    whys = "; ".join(
        f"{reason.provider}: {reason.why}" for reason in reasons if not reason.is_candidate
    )
    if any(reason.why.startswith("unpriced") for reason in reasons):
        return Fault(
            "unpriced", f"'{model.model}' has no price and is not sold without one. {whys}"
        )
    message = f"No provider can serve '{model.model}' for this request"
    if reasons and all(reason.why.startswith("off") for reason in reasons):
        return Fault("unavailable", f"{message}: {whys}.")
    return Fault("unsupported", f"{message}: {whys or 'nobody offers it'}.")
