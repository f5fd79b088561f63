"""Which candidates, in what order, and why: a plan is a pure function of request, offers and
health.

Laws: no duplicates; locks are respected; open offers are never candidates but as a probe; wherever
an offer exists that is allowed and on, at least one candidate survives or the plan says when to
come back.
"""

from collections.abc import Callable
from functools import lru_cache

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
from gatewayz.routing.candidates import (
    Candidate,
    HealthView,
    OfferHealth,
    candidate_health,
    deduplicate,
    within_bound,
)
from gatewayz.routing.eligibility import (
    Exclusion,
    OfferRequirements,
    exclusion,
    fits,
    pricing_exclusion,
)
from gatewayz.routing.refusals import Reason, no_offer_fault
from gatewayz.routing.rules import (
    ProviderLock,
    RoutingRules,
    lockout_reason,
    position,
    provider_rank,
)

RANK_PARTS = (
    "place in the client's order", "what the client sorts by", "place in the lock's order",
    "the provider's priority", "place in the chain", "usual cost in US dollars",
)  # fmt: skip
"""What the numbers of a rank are, in their order; the lowest rank is asked first."""
LOCK_CACHE_SIZE = 10_000
Rng = Callable[[], float]
"""Random numbers in [0, 1): an argument, so that a test can say what is drawn."""


class Plan(Struct, frozen=True, kw_only=True):
    """Candidates in order, with reasons, and the canonical `model`.

    When nobody may be asked now, `candidates` is empty and `waiting` has those who are to be asked
    later. `last_resort` is the one of them whose breaker is the nearest to its end: it may be tried
    once a second, so that a recovery is noticed.

    Example: `Plan(model="openai/gpt-4o", candidates=(at_openai, at_openrouter), reasons=(…))`
    """

    model: str
    candidates: tuple[Candidate, ...]
    reasons: tuple[Reason, ...] = ()
    waiting: tuple[Candidate, ...] = ()
    last_resort: Candidate | None = None

    @property
    def queue(self) -> tuple[Candidate, ...]:
        """Those who are asked, in order."""
        return self.candidates if self.last_resort is None else (self.last_resort,)


class PlanRefusal(Fault):
    """No offer can be asked at all; `plan` has the reasons."""

    def __init__(self, fault: Fault, plan: Plan) -> None:
        super().__init__(
            fault.kind,
            fault.message,
            param=fault.param,
            overflow=fault.overflow,
            details=fault.details,
        )
        self.plan = plan


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

        Faults: `unknown_model`, `forbidden`, `unsupported`, `too_long`, `unpriced`: what they say
        holds until somebody changes something.
        """
        names = (request.model, *(name for name in request.models if name != request.model))
        models = [self._resolve(name, request, principal) for name in names]
        requirements = OfferRequirements(
            request,
            request.needs(),
            request.context_tokens(),
            buckets_in_use(request),
            uses_in(request),
        )
        reasons: list[Reason] = []
        candidates: list[Candidate] = []
        for model in models:
            self._require_model_access(model, principal)
            _require_served_kind(model)
            eligible = self._eligible_candidates(model, requirements, principal, reasons)
            candidates += self._order_candidates(
                eligible, model, request, health, affinity, reasons
            )
        if not candidates:
            raise self._refusal(models, request, principal, reasons)

        usable, waiting = _split_by_health(candidates, principal.account, health, reasons)
        if usable:
            return Plan(
                model=models[0].model,
                candidates=within_bound(deduplicate(usable), self._rules.max_candidates),
                reasons=tuple(reasons),
            )
        # Whoever asked us to wait is left alone; whoever failed may be found well again.
        probes = [item for item in waiting if not item[0].limited]
        nearest = min(probes, key=lambda item: item[0].wait_s)[1] if probes else None
        return Plan(
            model=models[0].model,
            candidates=(),
            reasons=tuple(reasons),
            waiting=tuple(candidate for _, candidate in waiting),
            last_resort=nearest,
        )

    def _refusal(
        self,
        models: list[ResolvedModel],
        request: Request,
        principal: Principal,
        reasons: list[Reason],
    ) -> PlanRefusal:
        offers = [offer for model in models for offer in model.offers]
        fault = no_offer_fault(
            request.model or models[0].model,
            request,
            principal,
            reasons,
            offers,
            self._catalog.suggestion(request.model, models[0].model, request.surface),
        )
        return PlanRefusal(
            fault, Plan(model=models[0].model, candidates=(), reasons=tuple(reasons))
        )

    def check_access(self, request: Request, principal: Principal) -> None:
        """Whether the caller may use every model that the request names, whoever could serve it.

        Faults: `forbidden`; `unknown_model` for a name of which that cannot be said.
        """
        if principal.models:
            for name in (request.model, *request.models):
                self._require_model_access(self._resolve(name, request, principal), principal)

    def _resolve(self, name: str, request: Request, principal: Principal) -> ResolvedModel:
        """What a name means; one that nobody knows is an id at the one provider that the request
        wants, or to the house at the operator's default. Nobody's brand goes to another house.
        """
        resolved = self._catalog.find(name)
        if resolved is not None:
            return resolved
        only = request.preferences.only
        default = self._rules.default_providers.get(request.surface, "")
        id = only[0] if len(only) == 1 else default if principal.billing == "house" else ""
        provider = self._catalog.providers.get(id)
        if provider is None or provider.off or lockout_reason(self._lock_for(name), provider):
            return self._catalog.resolve(name, request.surface)
        return self._catalog.resolve(f"{id}/{name}")

    def _require_model_access(self, model: ResolvedModel, principal: Principal) -> None:
        """Faults: `forbidden` for a model that the key's list names in no spelling."""
        if principal.models and model.model not in principal.models:
            spellings = map(self._catalog.find, principal.models)
            if not any(other is not None and other.model == model.model for other in spellings):
                raise Fault(
                    "forbidden", f"This key may not use the model '{model.model}'.", param="model"
                )

    def _eligible_candidates(
        self,
        model: ResolvedModel,
        requirements: OfferRequirements,
        principal: Principal,
        reasons: list[Reason],
    ) -> list[Candidate]:
        """The offers that can serve the request; those that cannot leave a reason."""
        lock = self._lock_for(model.model)
        eligible: list[Candidate] = []
        for offer in model.offers:
            provider = self._catalog.providers[offer.provider]
            excluded = exclusion(offer, provider, model, requirements, lock) or pricing_exclusion(
                offer, provider, principal, requirements
            )
            if excluded is None:
                eligible.append(Candidate(offer=offer, provider=provider))
            else:
                reasons.append(_left_out(offer, excluded))
        return _prefer_fitting(eligible, requirements, reasons)

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

    # `RANK_PARTS` names what this answers.
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


def _left_out(offer: Offer, excluded: Exclusion) -> Reason:
    return Reason(
        offer.provider, offer.upstream_id, is_candidate=False, why=excluded.why, kind=excluded.kind
    )


def _prefer_fitting(
    eligible: list[Candidate], requirements: OfferRequirements, reasons: list[Reason]
) -> list[Candidate]:
    """Those whose context holds the request by the estimate; where none does, those whose context
    holds the fewest tokens that it can have, because an estimate is no reason to refuse.
    """
    tokens, verb = requirements.context_tokens, "may be"
    fitting = [candidate for candidate in eligible if fits(candidate.offer, tokens)]
    if len(fitting) == len(eligible):
        return eligible
    if not fitting:
        tokens, verb = requirements.request.least_context_tokens(), "is"
        fitting = [candidate for candidate in eligible if fits(candidate.offer, tokens)]
    for offer in (candidate.offer for candidate in eligible):
        if not fits(offer, tokens):
            why = f"its context of {offer.context} tokens {verb} too small"
            reasons.append(_left_out(offer, Exclusion("too_small", why)))
    return fitting


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
) -> tuple[list[Candidate], list[tuple[OfferHealth, Candidate]]]:
    """Those whose breakers let them through, and the others with how they do."""
    usable: list[Candidate] = []
    waiting: list[tuple[OfferHealth, Candidate]] = []
    for candidate in candidates:
        standing = candidate_health(candidate, account, health)
        if standing.usable:
            usable.append(candidate)
        else:
            provider, upstream_id = candidate.provider.id, candidate.offer.upstream_id
            waiting.append((standing, candidate))
            reasons.append(Reason(provider, upstream_id, is_candidate=False, why=standing.why))
    return usable, waiting
