"""Which candidates, in what order, and why: a plan is a pure function of request, offers and health.

Laws: no duplicates; locks are respected; open offers are never candidates but as a probe; wherever an offer exists
that is allowed and on, at least one candidate survives or the plan says when to come back.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple, Protocol

from msgspec import Struct

from gatewayz.catalog.naming import Named, Shelf
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import expected, how_to_price, why_unpriced
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, cost, pico_from_usd, rates_of
from gatewayz.core.requests import Capability, Request
from gatewayz.dialects.crossing import stays_home
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.asking import dialect_for
from gatewayz.providers.quirks import cannot
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.rules import Lock, RoutingRules, shut_out


class Candidate(Struct, frozen=True, kw_only=True):
    """An offer considered for this call, with the credential to use; `credential` is `None` where none is needed."""

    offer: Offer
    provider: Provider
    credential: Credential | None = None


class Reason(Struct, frozen=True):
    """Why a candidate stands where it stands, or why an offer was left out."""

    provider: str
    upstream_id: str
    kept: bool
    why: str


class Plan(Struct, frozen=True, kw_only=True):
    """Candidates in order, with reasons, and the canonical `model`.

    When all breakers are open `candidates` is empty, `retry_after_s` says when the first may be probed, and
    `last_resort` is that one: it may be tried once a second, so that a recovery is noticed.
    """

    model: str
    candidates: tuple[Candidate, ...]
    reasons: tuple[Reason, ...] = ()
    retry_after_s: float | None = None
    last_resort: Candidate | None = None


class Standing(Struct, frozen=True):
    """How an offer or a credential stands now. `wait_s` is until its breaker lets a probe through."""

    usable: bool = True
    degraded: bool = False
    why: str = ""
    wait_s: float = 0.0
    latency_ms: float = 0.0


class HealthView(Protocol):
    """What a plan reads of health."""

    def offer(self, provider: str, upstream_id: str) -> Standing: ...

    def credential(self, provider: str, credential: str) -> Standing: ...


MAX_LOCKS_KNOWN = 10_000
Dice = Callable[[], float]
"""Random numbers in [0, 1): an argument, so that a test can say what is drawn."""


class Planner:
    """Makes plans from what is on the shelf, under the rules."""

    def __init__(self, shelf: Shelf, rules: RoutingRules, dice: Dice) -> None:
        self._shelf = shelf
        self._rules = rules
        self._dice = dice
        # Models are few and their locks do not change: a regular expression a call is one too many.
        self._lock_for = lru_cache(maxsize=MAX_LOCKS_KNOWN)(rules.lock_for)

    def plan(
        self, request: Request, principal: Principal, health: HealthView, affinity: str = ""
    ) -> Plan:
        """The plan for a request. Faults: `unknown_model`, `forbidden`, `unsupported`, `unpriced`, `unavailable`."""
        names = (request.model, *(name for name in request.models if name != request.model))
        named = [self._resolved(name, request) for name in names]
        reasons: list[Reason] = []
        candidates: list[Candidate] = []
        for one in named:
            _allowed(one, principal)
            kept = self._filtered(one, request, principal, reasons)
            candidates += self._ordered(kept, one, request, health, affinity, reasons)
        if not candidates:
            raise _nothing(named[0], reasons)
        usable, waiting = _usable(candidates, health, reasons)
        wait_s, last_resort = min(waiting, key=lambda item: item[0], default=(0.0, None))
        bound = self._rules.max_candidates
        return Plan(
            model=named[0].model,
            candidates=_distinct(usable)[:bound],
            reasons=tuple(reasons),
            retry_after_s=None if usable else wait_s,
            last_resort=None if usable else last_resort,
        )

    def _resolved(self, name: str, request: Request) -> Named:
        """What a name means; one that nobody knows is an id at the provider that was wished for, or at the default."""
        defaults = self._rules.default_providers
        try:
            return self._shelf.resolve(name)
        except Fault:
            provider = next(iter(request.wishes.only), defaults.get(request.surface, ""))
            if request.surface not in defaults or provider not in self._shelf.providers:
                raise
            return self._shelf.resolve(f"{provider}/{name}")

    def _filtered(
        self, named: Named, request: Request, principal: Principal, reasons: list[Reason]
    ) -> list[Candidate]:
        lock, wanted = self._lock_for(named.model), Wanted(request, request.needs(), request.room())
        kept: list[Candidate] = []
        for offer in named.offers:
            provider = self._shelf.providers[offer.provider]
            why = _why_not(offer, provider, named, wanted, lock) or _unpriced(
                offer, principal, request
            )
            if why:
                reasons.append(Reason(offer.provider, offer.upstream_id, kept=False, why=why))
            else:
                kept.append(Candidate(offer=offer, provider=provider))
        return kept

    def _ordered(
        self,
        kept: list[Candidate],
        named: Named,
        request: Request,
        health: HealthView,
        affinity: str,
        reasons: list[Reason],
    ) -> list[Candidate]:
        lock = self._lock_for(named.model)
        ranked = sorted(
            ((self._rank(one, request, lock, health, affinity), self._dice(), one) for one in kept),
            key=lambda item: (item[0], item[1]),
        )
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0] and not request.wishes.sort:
            # Power of two choices: of two drawn at random the quicker one goes first.
            ranked[:2] = sorted(ranked[:2], key=lambda item: _latency(health, item[2]))
        result: list[Candidate] = []
        for rank, _, one in ranked:
            standing = f"{'degraded' if rank[0] else 'healthy'}, rank {rank[2:]}"
            reasons.append(
                Reason(one.offer.provider, one.offer.upstream_id, kept=True, why=standing)
            )
            result += self._with_credentials(one)
        return result

    def _rank(
        self, one: Candidate, request: Request, lock: Lock, health: HealthView, affinity: str
    ) -> tuple[float, ...]:
        provider, offer = one.provider, one.offer
        degraded = health.offer(provider.id, offer.upstream_id).degraded
        bound = f"{provider.id}/{offer.upstream_id}" == affinity
        wishes = request.wishes
        wished = (
            wishes.order.index(provider.id) if provider.id in wishes.order else len(wishes.order)
        )
        preferred = lock.first.index(provider.id) if provider.id in lock.first else len(lock.first)
        chain = self._rules.chain
        place = chain.index(provider.id) if provider.id in chain else len(chain)
        sort = _sorted_by(request, one, health)
        return (
            degraded,
            not (bound and not wishes.order),
            wished,
            sort,
            preferred,
            provider.priority,
            place,
        )

    def _with_credentials(self, one: Candidate) -> list[Candidate]:
        held = one.provider.credentials
        if len(held) < 2:
            return (
                [Candidate(offer=one.offer, provider=one.provider, credential=held[0])]
                if held
                else [one]
            )
        # Weighted random order: the key of an exponential race (Efraimidis and Spirakis, 2006).
        drawn = sorted(
            one.provider.credentials,
            key=lambda held: -(max(self._dice(), 1e-12) ** (1 / held.weight)),
        )
        return [
            Candidate(offer=one.offer, provider=one.provider, credential=held) for held in drawn
        ]


def _allowed(named: Named, principal: Principal) -> None:
    if principal.models and named.model not in principal.models:
        raise Fault("forbidden", f"This key may not use the model '{named.model}'.", param="model")


def _why_not(offer: Offer, provider: Provider, named: Named, wanted: "Wanted", lock: Lock) -> str:
    wishes = wanted.request.wishes
    if provider.off:
        return f"off: {provider.off}"
    locked = "" if named.pinned else shut_out(lock, provider)
    if locked:
        return locked
    if wishes.only and provider.id not in wishes.only:
        return "not in provider.only"
    if provider.id in wishes.ignore:
        return "in provider.ignore"
    if wishes.order and not wishes.allow_fallbacks and provider.id not in wishes.order:
        return "not in provider.order, and fallbacks are not allowed"
    if wishes.zdr or wishes.data_collection == "deny":
        return "its data policy is not known"
    return _why_unable(offer, provider, wanted)


class Wanted(NamedTuple):
    """A request with what it needs of an offer, worked out once for all of them."""

    request: Request
    needs: frozenset[Capability]
    room: int


def _why_unable(offer: Offer, provider: Provider, wanted: Wanted) -> str:
    request = wanted.request
    if offer.serves and request.surface not in offer.serves:
        return f"the model serves no {request.surface} requests"
    dialect = dialect_for(provider, offer.upstream_id, request.surface)
    if not dialect:
        return f"it serves no {request.surface} requests"
    needs = wanted.needs
    missing = (needs & UPSTREAMS[dialect].lacks) | (
        needs - offer.can if offer.can is not None else frozenset()
    )
    if missing:
        return f"it has no {', '.join(sorted(missing))}"
    if offer.context is not None and wanted.room > offer.context:
        return f"its context of {offer.context} tokens is too small"
    return (
        _too_dear(offer, request)
        or stays_home(request, dialect)
        or cannot(request, provider.quirks)
    )


PRICE_NAMES = {"prompt": "input", "completion": "output", "image": "images", "request": "requests"}
"""What `provider.max_price` calls a bucket (openrouter.ai/docs, provider routing)."""


def _too_dear(offer: Offer, request: Request) -> str:
    for name, text in request.wishes.max_price.items():
        bucket = PRICE_NAMES.get(name)
        if (
            bucket is not None
            and offer.price is not None
            and getattr(offer.price, bucket) > pico_from_usd(bucket, text)
        ):
            return f"its price of {name} is above {text}"
    return ""


def _unpriced(offer: Offer, principal: Principal, request: Request) -> str:
    # An account for one's own use is never refused: its calls are booked without a price until there is one.
    if principal.billing == "house":
        return ""
    if offer.price is None or not _sold(offer.price):
        held = f" (its listed price is quarantined: {offer.held})" if offer.held else ""
        return f"unpriced{held}; to price it: {how_to_price(offer, request.surface)}"
    return why_unpriced(offer.price, request)


def _sold(price: Price) -> bool:
    """A price of nothing holds only where it is meant."""
    return price.free or any(rates_of(price, 0))


def _latency(health: HealthView, one: Candidate) -> float:
    return health.offer(one.provider.id, one.offer.upstream_id).latency_ms


def _sorted_by(request: Request, one: Candidate, health: HealthView) -> float:
    price = one.offer.price
    match request.wishes.sort:
        case "price":
            # What this call would cost there: images are priced by the piece, by the pixel or by the token.
            return cost(expected(request, one.offer), price) if price is not None else float("inf")
        case "latency" | "throughput":
            return _latency(health, one)
    return 0.0


def _usable(
    candidates: list[Candidate], health: HealthView, reasons: list[Reason]
) -> tuple[list[Candidate], list[tuple[float, Candidate]]]:
    """Those whose breakers let them through, and the others with how long until they may be probed."""
    kept: list[Candidate] = []
    waiting: list[tuple[float, Candidate]] = []
    for one in candidates:
        standing = health.offer(one.provider.id, one.offer.upstream_id)
        if standing.usable and one.credential is not None:
            standing = health.credential(one.provider.id, one.credential.id)
        if standing.usable:
            kept.append(one)
        else:
            waiting.append((standing.wait_s, one))
            reasons.append(
                Reason(one.provider.id, one.offer.upstream_id, kept=False, why=standing.why)
            )
    return kept, waiting


def _distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    seen = {
        (
            one.provider.id,
            one.offer.upstream_id,
            one.credential.id if one.credential is not None else "",
        ): one
        for one in reversed(list(candidates))
    }
    return tuple(reversed(seen.values()))


def _nothing(named: Named, reasons: list[Reason]) -> Fault:
    """Why no offer is left at all."""
    whys = "; ".join(f"{reason.provider}: {reason.why}" for reason in reasons if not reason.kept)
    told = f"No provider can serve '{named.model}' for this request"
    if any(reason.why.startswith("unpriced") for reason in reasons):
        return Fault(
            "unpriced", f"'{named.model}' has no price and is not sold without one. {whys}"
        )
    if reasons and all(reason.why.startswith("off") for reason in reasons):
        return Fault("unavailable", f"{told}: {whys}.")
    return Fault("unsupported", f"{told}: {whys or 'nobody offers it'}.")
