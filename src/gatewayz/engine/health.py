"""Health: the breakers of offers and credentials, and how quickly offers answer; in memory, per
process.

The engine asks before it sends and records afterwards; plans read. Bounded: the least recently
recorded are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.clock import Clock
from gatewayz.core.facts import BreakerMoved, Fact
from gatewayz.core.faults import Blame, BreakerEffect, Fault
from gatewayz.engine.retry_budget import RetryBudget
from gatewayz.routing.breaker import (
    Breaker,
    LeaseOwner,
    Signal,
    account_open_until,
    admit,
    after_attempt,
    count_closed_accounts,
    goes_last,
    is_degraded,
    state_of,
)
from gatewayz.routing.candidates import Candidate, OfferHealth
from gatewayz.routing.plan import Rng
from gatewayz.routing.rules import RoutingRules

MAX_SUBJECTS = 20_000
ACCOUNT_OPEN = "open for one account"
"""What a fact says of a breaker that opened for the account that asked, and for nobody else."""
LATENCY_DECAY = 0.2
"""Weight of the newest latency in the running mean."""
LAST_RESORT_EVERY_S = 1.0
"""How often a model all of whose breakers are open is tried all the same."""

Subject = tuple[str, str]
"""What has a breaker: provider and upstream id, or provider and credential."""
Breakers = OrderedDict[Subject, Breaker]

COUNTED: dict[Blame, Signal] = {
    "request": Signal.SUSPECTED,
    "provider": Signal.FAILED,
    "gateway": Signal.NEUTRAL,
}
"""What a failure that counts tells a breaker, by whose doing it may be."""
SIGNALS: dict[BreakerEffect, Signal] = {
    "none": Signal.NEUTRAL,
    "trip_offer": Signal.TRIPPED,
    "trip_credential": Signal.TRIPPED,
    "hide": Signal.UNKNOWN_MODEL,
    "cool": Signal.LIMITED,
}


class AttemptPermit(Struct, frozen=True):
    """Permission to send; it is given back exactly once, to `Health.record`.

    Example: `AttemptPermit(LeaseOwner("01JX…", "acme"), offer=("openai", "gpt-4o"), credential=("openai", "openai#1"))`
    """

    caller: LeaseOwner
    offer: Subject
    credential: Subject | None


class Health:
    """The breakers of this process, its latencies and its retry budget."""

    def __init__(
        self, rules: RoutingRules, clock: Clock, emit: Callable[[Fact], None], rng: Rng
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._emit = emit
        self._rng = rng
        self._offers: Breakers = OrderedDict()
        self._credentials: Breakers = OrderedDict()
        self._latencies_ms: dict[Subject, float] = {}
        self._last_resort_at: dict[str, float] = {}
        self.retry_budget = RetryBudget(rules.retry_share, rules.retry_floor_per_s, clock)

    def offer_health(self, provider: str, upstream_id: str, account: str = "") -> OfferHealth:
        """How an offer does now, for this account."""
        subject = (provider, upstream_id)
        breaker = self._offers.get(subject)
        latency_ms = self._latencies_ms.get(subject, 0.0)
        if breaker is None:
            return OfferHealth(latency_ms=latency_ms)
        now = self._clock.now()
        until = account_open_until(breaker, account, now)
        if until:
            why = "its breaker is open for this account"
            return OfferHealth(usable=False, why=why, wait_s=until - now)
        return self._breaker_health(breaker, latency_ms)

    def credential_health(self, provider: str, credential: str) -> OfferHealth:
        """How a credential does now."""
        breaker = self._credentials.get((provider, credential))
        return OfferHealth() if breaker is None else self._breaker_health(breaker, 0.0)

    def _breaker_health(self, breaker: Breaker, latency_ms: float) -> OfferHealth:
        now = self._clock.now()
        state = state_of(breaker, now)
        if state == "closed":
            rule = self._rules.breaker
            degraded = is_degraded(breaker, now, rule) or goes_last(breaker, now, rule, self._rng())
            return OfferHealth(degraded=degraded, latency_ms=latency_ms)
        if state == "half_open" and (not breaker.probe or now >= breaker.probe_until):
            # In its own rank, or a recovery behind a healthy offer would never be noticed.
            return OfferHealth(why="its breaker wants a probe", latency_ms=latency_ms)
        ends = {"open": breaker.open_until, "cooling": breaker.cool_until}
        until = ends.get(state, breaker.probe_until)
        limited = state == "cooling"
        why = "its provider asked to wait" if limited else f"its breaker is {state}"
        return OfferHealth(usable=False, why=why, wait_s=max(until - now, 0.0), limited=limited)

    def admit(self, candidate: Candidate, caller: LeaseOwner) -> AttemptPermit | None:
        """A permit, or nothing when a breaker refuses now; takes the lease of a probe."""
        now, rule = self._clock.now(), self._rules.breaker
        permit = _permit_for(candidate, caller)
        for breakers, subject in self._subjects(permit):
            breaker = breakers.get(subject)
            if breaker is None:
                continue
            after, admitted = admit(breaker, caller, now, rule)
            if not admitted:
                return None
            _put_breaker(breakers, subject, after)
        return permit

    def admit_last_resort(self, candidate: Candidate, caller: LeaseOwner) -> AttemptPermit | None:
        """With every breaker open: one probe a second for a model, so that a recovery is
        noticed.

        Where they are open for one account, its probes are no other's.
        """
        now, model = self._clock.now(), candidate.offer.model
        offer = self._offers.get((candidate.provider.id, candidate.offer.upstream_id))
        if offer is not None and not offer.open_until:
            model = f"{model} {caller.account}"
        if now < self._last_resort_at.get(model, 0.0):
            return None
        if len(self._last_resort_at) > MAX_SUBJECTS:
            self._last_resort_at.clear()
        self._last_resort_at[model] = now + LAST_RESORT_EVERY_S

        permit = _permit_for(candidate, caller)
        lease = now + self._rules.breaker.lease_s
        for breakers, subject in self._subjects(permit):
            breaker = breakers.get(subject)
            if breaker is not None and breaker.open_until:
                probing = replace(breaker, open_until=now, probe=caller.call, probe_until=lease)
                _put_breaker(breakers, subject, probing)
        return permit

    def record(
        self,
        permit: AttemptPermit,
        fault: Fault | None,
        first_event_ms: float | None,
        *,
        sent: bool = True,
    ) -> None:
        """What became of an attempt: no fault is a success, unless nothing was `sent`."""
        if fault is None and not sent:
            self.forgive(permit)
            return

        if fault is None and first_event_ms is not None:
            self._note_latency(permit.offer, first_event_ms)
        effect = fault.rule.breaker if fault is not None else None
        for breakers, subject in self._subjects(permit):
            # A fault of the credential is no fault of the offer, nor the other way round.
            concerned = permit.credential is None or (effect == "trip_credential") == (
                breakers is self._credentials
            )
            signal = Signal.NEUTRAL
            if effect is None:
                signal = Signal.OK
            elif concerned and fault is not None:
                signal = COUNTED[fault.blame] if effect == "count" else SIGNALS[effect]
            self._signal(breakers, subject, permit.caller, signal, fault)

    def forgive(self, permit: AttemptPermit) -> None:
        """Gives a permit back without a word on how its offer does."""
        for breakers, subject in self._subjects(permit):
            self._signal(breakers, subject, permit.caller, Signal.NEUTRAL, None)

    def _note_latency(self, offer: Subject, first_event_ms: float) -> None:
        if len(self._latencies_ms) > MAX_SUBJECTS:
            self._latencies_ms.clear()
        mean = self._latencies_ms.get(offer, first_event_ms)
        self._latencies_ms[offer] = mean + LATENCY_DECAY * (first_event_ms - mean)

    def _signal(
        self,
        breakers: Breakers,
        subject: Subject,
        caller: LeaseOwner,
        signal: Signal,
        fault: Fault | None,
    ) -> None:
        breaker = breakers.get(subject)
        if breaker is None:
            # What was never in trouble needs no breaker.
            if signal in {Signal.OK, Signal.NEUTRAL}:
                return
            breaker = Breaker()

        now, rule = self._clock.now(), self._rules.breaker
        wait_s = fault.retry_after_s if fault is not None else None
        after = after_attempt(breaker, caller, signal, now, rule, draw=self._rng(), wait_s=wait_s)
        _put_breaker(breakers, subject, after)

        (provider, name), account = subject, caller.account
        why = fault.kind if fault is not None else "recovered"
        before_state, state = state_of(breaker, now), state_of(after, now)
        if before_state != state and state != "half_open":
            self._emit(BreakerMoved(provider=provider, subject=name, state=state, why=why))
        until = account_open_until(after, account, now)
        if until and until != account_open_until(breaker, account, now):
            moved = BreakerMoved(provider=provider, subject=name, state=ACCOUNT_OPEN, why=why)
            self._emit(moved)

    def breaker_states(self) -> dict[Subject, str]:
        """The states of all offers that have a breaker, for everybody."""
        now = self._clock.now()
        return {subject: state_of(breaker, now) for subject, breaker in self._offers.items()}

    def operator_breaker_states(self) -> dict[Subject, str]:
        """The states of all offers that have a breaker, and for how many accounts one is open.

        Example: `{("openai", "gpt-4o"): "closed, open for 1 account"}`
        """
        now = self._clock.now()
        states: dict[Subject, str] = {}
        for subject, breaker in self._offers.items():
            state, count = state_of(breaker, now), count_closed_accounts(breaker, now)
            accounts = f", open for {count} account{'s' if count > 1 else ''}" if count else ""
            states[subject] = f"{state}{accounts}"
        return states

    def open_breaker_counts(self) -> dict[tuple[str, ...], float]:
        """How many offers of each provider have a breaker that is not closed."""
        counts: dict[tuple[str, ...], float] = {}
        for (provider, _), state in self.breaker_states().items():
            if state != "closed":
                counts[provider,] = counts.get((provider,), 0.0) + 1.0
        return counts

    def _subjects(self, permit: AttemptPermit) -> list[tuple[Breakers, Subject]]:
        """The breakers that a permit concerns: the offer's, and the credential's if there is
        one.
        """
        if permit.credential is None:
            return [(self._offers, permit.offer)]
        return [(self._offers, permit.offer), (self._credentials, permit.credential)]


def _permit_for(candidate: Candidate, caller: LeaseOwner) -> AttemptPermit:
    provider, credential = candidate.provider.id, candidate.credential
    return AttemptPermit(
        caller,
        (provider, candidate.offer.upstream_id),
        (provider, credential.id) if credential is not None else None,
    )


def _put_breaker(breakers: Breakers, subject: Subject, breaker: Breaker) -> None:
    breakers[subject] = breaker
    breakers.move_to_end(subject)
    while len(breakers) > MAX_SUBJECTS:
        breakers.popitem(last=False)
