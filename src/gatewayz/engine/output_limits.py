"""Ceilings: what is held for an answer before its call, and the limit that its provider is given.

Decisions only, as a table of the kinds of output:

| output | held before the call | extended | limit that is sent |
|---|---|---|---|
| the client named its limit | the limit, up to the model's cap | no | the client's own, up to the
cap |
| a stream that is delivered in full as it comes | one step | by a step at a time | what everything
free could pay, where breaking off does not end the bill |
| any other: whole answers, hidden thinking, offers of which nobody knows | a step, or a share of
what is free where that is more; at most the cap | no | what is held |

A limit is sent only where it is below the model's cap. Where the provider's limit does not count
thinking, the cap is held, and so are images, vectors and searches: they have their number.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.dear_buckets import (
    CACHES_ON_REQUEST,
    buckets_in_use,
    has_dear_bucket,
    may_write_cache,
)
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import estimate_prompt_tokens, service_tier_of
from gatewayz.core.calls import Call
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.conversation import OpaqueTool
from gatewayz.core.estimates import DEFAULT_OUTPUT_TOKENS, DEFAULT_SIZE
from gatewayz.core.money import (
    BASIS_POINTS,
    PICO_PER_NANO,
    Nanos,
    Price,
    cost,
    cost_of_pico,
    rates_of,
)
from gatewayz.core.requests import BaseRequest, ChatRequest
from gatewayz.core.usage import BUCKETS, COMPLETION_BUCKETS, PROMPT_BUCKETS, Usage
from gatewayz.dialects.kit.costly_fields import uses_in
from gatewayz.engine.usage_bounds import MAX_OUTPUT_TOKENS, MAX_UNASKED_SEARCHES, OutputBound
from gatewayz.ports.books import Hold
from gatewayz.providers.body_step import value_for_model
from gatewayz.providers.quirks import DEFAULT_LIMIT_TOKENS
from gatewayz.routing.candidates import Candidate
from gatewayz.routing.plan import Plan

LEAST_TOKENS = 256
"""An answer that may have fewer tokens is of no use: the call is refused instead."""
UNSTATED_LIMIT_TOKENS = 8_192
"""The largest limit that is sent to a model of which nobody knows how much it takes."""
OFF = "none"
THINKS = "reasoning"
"""The feature of offers whose models think before they answer."""
UNCOUNTED_OUTPUTS = frozenset({"audio", "image", "video"})
"""What is delivered without its tokens being in its bytes."""
DEAR = frozenset({"audio_output", "image_output"})
"""Buckets of an answer that only some requests fill."""
PLACES = {bucket: place for place, bucket in enumerate(BUCKETS)}


class OutputKind(StrEnum):
    """How much output is known of before the call."""

    LIMITED = "limited"
    SHOWN = "shown"
    UNSEEN = "unseen"


class OutputTerms(Struct, frozen=True, kw_only=True):
    """What an answer at an offer comes to, in tokens of each of its choices.

    `fixed` is the cost of all but the answer, in nano-dollars; a token of it, in all choices, costs
    `token_pico` pico-dollars. `cap` is what the model can say at the most; `budget` is how much of
    it the client wants for thinking, `least` what it needs to be of use. `has_limit`: a limit that
    is sent bounds all that is billed, and may be `largest_limit`.

    Example: `OutputTerms(kind=OutputKind.SHOWN, fixed=Nanos(80_000), token_pico=2_000_000,
    cap=16_384)`.
    """

    kind: OutputKind
    fixed: Nanos
    token_pico: int
    cap: int
    limit: int = 0
    budget: int = 0
    least: int = LEAST_TOKENS
    has_limit: bool = True
    largest_limit: int = 0

    @property
    def step(self) -> int:
        """Tokens that are held first, and that an extension adds."""
        return min(self.cap, DEFAULT_OUTPUT_TOKENS)

    def tokens(self, amount: int) -> int:
        """Tokens of each choice that this amount covers."""
        if not self.token_pico:
            return self.cap
        return max((amount - self.fixed) * PICO_PER_NANO // self.token_pico, 0)

    def amount(self, tokens: int) -> Nanos:
        """What is held for an answer of so many tokens."""
        return Nanos(self.fixed + -(-tokens * self.token_pico // PICO_PER_NANO))

    def ceiling(self) -> Ceiling:
        """What the ledger is to hold."""
        exact = self._exact_tokens()
        if exact is not None:
            return Ceiling(self.amount(exact), fixed=self.fixed, token_pico=self.token_pico)
        return Ceiling(
            self.amount(min(self.cap, self.budget + self.step)),
            least=self.amount(min(self.cap, self.least)),
            most=self.amount(self.cap),
            base=Nanos(self.amount(min(self.cap, self.budget)) - self.fixed),
            fixed=self.fixed,
            token_pico=self.token_pico,
        )

    def _exact_tokens(self) -> int | None:
        """Tokens that are held whatever is free; nothing where that decides."""
        if self.kind is OutputKind.LIMITED:
            return min(self.limit, self.cap) if self.has_limit else self.cap
        if self.kind is OutputKind.SHOWN:
            return self.step
        return None if self.has_limit else self.cap


NO_CEILING = Ceiling(Nanos(0))
"""Where nobody has a price."""


class CallEstimate:
    """What is expected of one call, before it: its prompt once, and its answer at each candidate.

    Example: `CallEstimate(call).ceiling(plan)` is what is to be held.
    """

    def __init__(self, call: Call) -> None:
        self._request = call.request
        self._markup_bp = call.principal.markup_bp
        self._prompt = estimate_prompt_tokens(call.request)
        self._service = service_tier_of(call.request)
        # The answer is counted for each candidate; everything else is the same at all of them.
        self._usage = call.request.worst_case_usage(self._prompt, None)
        if self._service:
            self._usage = replace(self._usage, service=self._service)
        self._used: frozenset[str] | None = None
        self._ceiling = NO_CEILING
        self._has_unbounded = False
        self._terms: dict[tuple[str, str], OutputTerms | None] = {}

    def ceiling(self, plan: Plan) -> Ceiling:
        """What the call may cost at the dearest candidate; nothing where none has a price."""
        for candidate in plan.queue:
            self.terms(candidate)
        ceilings = [terms.ceiling() for terms in self._terms.values() if terms is not None]
        if len(ceilings) > 1:
            dearest = max(ceilings, key=lambda ceiling: ceiling.smallest)
            self._ceiling = replace(
                dearest,
                step=max(ceiling.step for ceiling in ceilings),
                least=dearest.smallest,
                most=max(ceiling.largest for ceiling in ceilings),
                base=max(ceiling.base for ceiling in ceilings),
            )
        elif ceilings:
            self._ceiling = ceilings[0]
        return self._ceiling

    def limit_outputs(self, plan: Plan, hold: Hold) -> Plan:
        """The plan, whose candidates are given a limit where what is held does not reach the cap, or
        the client's own limit is beyond it.
        """
        if hold.free is None or not isinstance(self._request, ChatRequest):
            return plan
        if hold.amount >= self._ceiling.largest and not self._has_unbounded:
            # The usual case: what is held pays for all that any of them can answer.
            return plan
        candidates = tuple(self._limit(candidate, hold) for candidate in plan.candidates)
        last_resort = plan.last_resort and self._limit(plan.last_resort, hold)
        return replace(plan, candidates=candidates, last_resort=last_resort)

    def _limit(self, candidate: Candidate, hold: Hold) -> Candidate:
        terms = self.terms(candidate)
        if terms is None or hold.free is None:
            return candidate
        if terms.kind is OutputKind.LIMITED:
            # The cap is what is held; whoever can answer more than that is not asked for it.
            return _with_limit(candidate, terms.cap) if terms.limit > terms.cap else candidate
        if not terms.has_limit:
            return candidate
        covered = hold.amount
        if terms.kind is OutputKind.SHOWN:
            if candidate.provider.quirks.cancel_stops_billing:
                return candidate
            covered = max(hold.amount, hold.free)

        tokens = min(terms.tokens(covered), terms.largest_limit)
        if tokens >= terms.cap or tokens < terms.least or terms.tokens(covered) >= terms.cap:
            return candidate
        return _with_limit(candidate, tokens)

    def terms(self, candidate: Candidate) -> OutputTerms | None:
        """What an answer comes to at the candidate; nothing where nothing is paid."""
        key = candidate.provider.id, candidate.offer.upstream_id
        if key not in self._terms:
            price = candidate.offer.price
            is_paid = price is not None and not price.free
            self._terms[key] = self._terms_at(candidate, price) if is_paid and price else None
        return self._terms[key]

    def _terms_at(self, candidate: Candidate, price: Price) -> OutputTerms:
        request, offer = self._request, candidate.offer
        if not isinstance(request, ChatRequest):
            fixed = cost(self._usage, price, self._markup_bp)
            return OutputTerms(kind=OutputKind.LIMITED, fixed=fixed, token_pico=0, cap=0)

        usage, markup_bp = self._usage, self._markup_bp
        if price.searches and not usage.searches and self._asks_for_searches(candidate):
            usage = replace(usage, searches=MAX_UNASKED_SEARCHES)
        if price.tiers or has_dear_bucket(price):
            used = self._used_buckets(offer)
            rates = rates_of(price, self._prompt, self._service)
            usage = _dearest_prompt(usage, used, rates)
            if "image_output" in used:
                width, height = DEFAULT_SIZE
                pixels = request.choices * width * height
                usage = replace(usage, images=request.choices, pixels=pixels)
            dearest = max(
                rates[PLACES[bucket]]
                for bucket in COMPLETION_BUCKETS
                if bucket not in DEAR or bucket in used
            )
            fixed = cost(replace(usage, output=0), price, markup_bp)
        else:
            dearest = max(price.output, price.reasoning)
            pico = usage.input * price.input + price.requests + usage.searches * price.searches
            fixed = cost_of_pico(pico, price, markup_bp)
        markup = BASIS_POINTS + (price.markup_bp if markup_bp is None else markup_bp)
        token_pico = -(-dearest * request.choices * markup // BASIS_POINTS)

        terms = _chat_terms(request, candidate, fixed, token_pico, self._prompt)
        if terms.kind is OutputKind.SHOWN or terms.limit > terms.cap:
            self._has_unbounded = True
        return terms

    def _asks_for_searches(self, candidate: Candidate) -> bool:
        """Whether a field of the request has the provider search, at a price for each search."""
        costs = candidate.provider.quirks.field_costs
        return any(
            costs.get(use.name, use.cost.unit) == "searches" for use in uses_in(self._request)
        )

    def _used_buckets(self, offer: Offer) -> frozenset[str]:
        """The buckets that the request may fill at the offer."""
        if self._used is None:
            self._used = buckets_in_use(self._request)
        used = set(self._used)
        if may_write_cache(self._request, offer):
            used.add("cache_write")
        if not CACHES_ON_REQUEST.search(offer.upstream_id):
            # Whoever is not told by marks when to write, writes as it likes.
            used.add("cache_write")
        if "image" in offer.outputs:
            used.add("image_output")
        return frozenset(used)


def _with_limit(candidate: Candidate, tokens: int) -> Candidate:
    """The candidate, told to keep each answer within so many tokens."""
    offer = replace(candidate.offer, max_output=tokens)
    return replace(candidate, output_limit=tokens, offer=offer)


def _dearest_prompt(worst: Usage, used: frozenset[str], rates: Sequence[int]) -> Usage:
    """The usage with its prompt in the dearest bucket that it may fill."""
    buckets = ("input", *(bucket for bucket in PROMPT_BUCKETS if bucket in used))
    dearest = max(buckets, key=lambda bucket: rates[PLACES[bucket]])
    return worst if dearest == "input" else replace(worst, **{"input": 0, dearest: worst.input})


def _chat_terms(
    request: ChatRequest, candidate: Candidate, fixed: Nanos, token_pico: int, prompt: int
) -> OutputTerms:
    offer, quirks = candidate.offer, candidate.provider.quirks
    if request.max_output is not None:
        return OutputTerms(
            kind=OutputKind.LIMITED,
            fixed=fixed,
            token_pico=token_pico,
            cap=output_cap(request, candidate),
            limit=request.max_output,
            has_limit=limit_counts_all(request, candidate),
        )
    effort = request.reasoning
    budget = (effort.budget if effort is not None else None) or 0
    least_thinking = 0
    if wants_thinking(request) and quirks.least_thinking_by_model:
        least_thinking = value_for_model(quirks.least_thinking_by_model, offer.upstream_id) or 0
    return OutputTerms(
        kind=output_kind(request, candidate),
        fixed=fixed,
        token_pico=token_pico,
        cap=output_cap(request, candidate),
        budget=budget,
        least=max(budget, least_thinking) + LEAST_TOKENS,
        has_limit=limit_counts_all(request, candidate),
        largest_limit=_largest_limit(offer, prompt),
    )


def output_kind(request: BaseRequest, candidate: Candidate) -> OutputKind:
    """The kind of output that the request has at the candidate."""
    if not isinstance(request, ChatRequest) or request.max_output is not None:
        return OutputKind.LIMITED
    return OutputKind.SHOWN if _is_shown(request, candidate) else OutputKind.UNSEEN


def _is_shown(request: ChatRequest, candidate: Candidate) -> bool:
    """Whether every token that is billed arrives as a part of the answer, as it comes."""
    if not request.streamed:
        return False
    offer, modalities = candidate.offer, request.extra.get("modalities")
    outputs = offer.outputs
    if isinstance(modalities, list):
        outputs = (*outputs, *map(str, modalities))
    if not UNCOUNTED_OUTPUTS.isdisjoint(outputs):
        return False
    if request.extra.get("prediction") or any(
        isinstance(tool, OpaqueTool) for tool in request.tools
    ):
        return False
    if offer.features and THINKS not in offer.features:
        return True

    match value_for_model(candidate.provider.quirks.shown_by_model, offer.upstream_id):
        case "always":
            return request.reasoning is None or not request.reasoning.hidden
        case "unless_thinking":
            return not wants_thinking(request)
        case _:
            return False


def wants_thinking(request: ChatRequest) -> bool:
    """Whether the client asks the model to think before it answers."""
    effort = request.reasoning
    return effort is not None and effort.enabled is not False and effort.effort != OFF


def limit_counts_all(request: ChatRequest, candidate: Candidate) -> bool:
    """Whether a limit that is sent to the candidate bounds all the tokens that it bills."""
    offer, effort = candidate.offer, request.reasoning
    limits = candidate.provider.quirks.limit_by_model
    if not limits or value_for_model(limits, offer.upstream_id) != "without_thinking":
        return True
    is_off = effort is not None and not wants_thinking(request)
    return is_off or bool(offer.features and THINKS not in offer.features)


def output_cap(request: ChatRequest, candidate: Candidate) -> int:
    """Tokens that the candidate's model can answer this request with at the most."""
    offer = candidate.offer
    cap = offer.max_output or min(offer.context or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS)
    if candidate.provider.quirks.always_send_limit and request.max_output is None:
        return min(cap, DEFAULT_LIMIT_TOKENS)
    return cap


def _largest_limit(offer: Offer, prompt: int) -> int:
    """Tokens that fit beside the prompt: some providers refuse a limit with which both are more
    than the context.
    """
    if offer.context is not None:
        return max(offer.context - prompt, 0)
    return offer.max_output or UNSTATED_LIMIT_TOKENS


def output_bound(request: BaseRequest, candidate: Candidate) -> OutputBound | None:
    """What an answer can have used; nothing where its request is no chat."""
    if not isinstance(request, ChatRequest):
        return None
    cap = output_cap(request, candidate)
    limit = request.max_output
    if limit is not None and limit_counts_all(request, candidate):
        cap = min(cap, limit)
    is_shown = output_kind(request, candidate) is OutputKind.SHOWN
    return OutputBound(cap * request.choices, is_shown)
