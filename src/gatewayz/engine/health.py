"""Health: the breakers of offers and credentials, and how quickly offers answer; in memory, per process.

The engine asks before it sends and tells afterwards; plans read. Bounded: the least recently told are forgotten.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.clock import Clock
from gatewayz.core.facts import BreakerMoved, Fact
from gatewayz.core.faults import BreakerEffect, Fault
from gatewayz.routing.breaker import Breaker, Told, admitted, shaky, state_of, step
from gatewayz.routing.plan import Candidate, Dice, Standing
from gatewayz.routing.rules import RoutingRules

MAX_SUBJECTS = 20_000
DECAY = 0.2
"""Weight of the newest latency in the running mean."""
Subject = tuple[str, str]

TELLS: dict[BreakerEffect, Told] = {
    "none": Told.NEUTRAL,
    "count": Told.FAILED,
    "trip_offer": Told.TRIPPED,
    "trip_credential": Told.TRIPPED,
    "hide": Told.UNKNOWN_MODEL,
    "cool": Told.LIMITED,
}


class Ticket(Struct, frozen=True):
    """Permission to send; it is given back exactly once, to `record`."""

    caller: str
    offer: Subject
    credential: Subject | None


class Health:
    """The breakers of this process."""

    def __init__(
        self, rules: RoutingRules, clock: Clock, emit: Callable[[Fact], None], dice: Dice
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._emit = emit
        self._dice = dice
        self._offers: OrderedDict[Subject, Breaker] = OrderedDict()
        self._credentials: OrderedDict[Subject, Breaker] = OrderedDict()
        self._latencies: dict[Subject, float] = {}
        self._last_resort: dict[str, float] = {}
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def offer(self, provider: str, upstream_id: str) -> Standing:
        subject = (provider, upstream_id)
        breaker = self._offers.get(subject)
        latency_ms = self._latencies.get(subject, 0.0)
        if breaker is None:
            return Standing(latency_ms=latency_ms)
        return self._standing(breaker, latency_ms)

    def credential(self, provider: str, credential: str) -> Standing:
        breaker = self._credentials.get((provider, credential))
        return Standing() if breaker is None else self._standing(breaker, 0.0)

    def _standing(self, breaker: Breaker, latency_ms: float) -> Standing:
        now = self._clock.now()
        state = state_of(breaker, now)
        if state == "closed":
            return Standing(
                degraded=shaky(breaker, now, self._rules.breaker), latency_ms=latency_ms
            )
        if state == "half_open" and (not breaker.probe or now >= breaker.probe_until):
            # In its own rank, or a recovery behind a healthy offer would never be noticed.
            return Standing(why="its breaker wants a probe", latency_ms=latency_ms)
        until = {"open": breaker.open_until, "cooling": breaker.cool_until}.get(
            state, breaker.probe_until
        )
        return Standing(usable=False, why=f"its breaker is {state}", wait_s=max(until - now, 0.0))

    def admit(self, candidate: Candidate, caller: str) -> Ticket | None:
        """A ticket, or nothing when a breaker refuses now; takes the lease of a probe."""
        now, rule = self._clock.now(), self._rules.breaker
        ticket = self._ticket(candidate, caller)
        for table, subject in self._subjects(ticket):
            breaker = table.get(subject)
            if breaker is None:
                continue
            after, may = admitted(breaker, caller, now, rule, self._dice())
            if not may:
                return None
            self._keep(table, subject, after)
        return ticket

    def last_resort(self, candidate: Candidate, caller: str) -> Ticket | None:
        """When every breaker is open: one probe a second for a model, so that a recovery is noticed."""
        now, model = self._clock.now(), candidate.offer.model
        if now < self._last_resort.get(model, 0.0):
            return None
        if len(self._last_resort) > MAX_SUBJECTS:
            self._last_resort.clear()
        self._last_resort[model] = now + 1.0
        ticket = self._ticket(candidate, caller)
        lease = now + self._rules.breaker.lease_s
        for table, subject in self._subjects(ticket):
            breaker = table.get(subject)
            if breaker is not None and breaker.open_until:
                self._keep(
                    table,
                    subject,
                    replace(breaker, open_until=now, probe=caller, probe_until=lease),
                )
        return ticket

    def record(
        self,
        ticket: Ticket,
        fault: Fault | None,
        first_event_ms: float | None,
        *,
        sent: bool = True,
    ) -> None:
        """What became of an attempt; no fault is a success, unless nothing was `sent`: then nobody was met."""
        if fault is None and not sent:
            for table, subject in self._subjects(ticket):
                self._tell(table, subject, ticket.caller, Told.NEUTRAL, None)
            return
        if fault is None and first_event_ms is not None:
            if len(self._latencies) > MAX_SUBJECTS:
                self._latencies.clear()
            known = self._latencies.get(ticket.offer, first_event_ms)
            self._latencies[ticket.offer] = known + DECAY * (first_event_ms - known)
        effect = fault.rule.breaker if fault is not None else None
        for table, subject in self._subjects(ticket):
            mine = (effect != "trip_credential") == (
                table is self._offers
            ) or ticket.credential is None
            told = Told.OK if effect is None else (TELLS[effect] if mine else Told.NEUTRAL)
            self._tell(table, subject, ticket.caller, told, fault)

    def _tell(
        self,
        table: OrderedDict[Subject, Breaker],
        subject: Subject,
        caller: str,
        told: Told,
        fault: Fault | None,
    ) -> None:
        before = table.get(subject)
        if before is None and told in {Told.OK, Told.NEUTRAL}:
            return
        now, wait_s = self._clock.now(), fault.retry_after_s if fault is not None else None
        had = before if before is not None else Breaker()
        after = step(had, caller, told, now, self._rules.breaker, dice=self._dice(), wait_s=wait_s)
        self._keep(table, subject, after)
        was, became = state_of(had, now), state_of(after, now)
        if was != became and "half_open" not in {became}:
            why = fault.kind if fault is not None else "recovered"
            self._emit(BreakerMoved(provider=subject[0], subject=subject[1], state=became, why=why))

    def may_fail_over(self, failovers: int) -> bool:
        """The first failover of a call is always allowed; later ones come out of a budget that all calls share."""
        if failovers < 1:
            return True
        now = self._clock.now()
        for times in (self._calls, self._retries):
            while times and times[0] < now - 10.0:
                times.popleft()
        allowed = max(
            self._rules.retry_floor_per_s * 10.0, self._rules.retry_share * len(self._calls)
        )
        if len(self._retries) >= allowed:
            return False
        self._retries.append(now)
        return True

    def call_begun(self) -> None:
        if len(self._calls) < MAX_SUBJECTS:
            self._calls.append(self._clock.now())
        elif self._calls[0] < self._clock.now() - 10.0:
            self._calls.popleft()
            self._calls.append(self._clock.now())

    def breakers(self) -> dict[Subject, str]:
        """The states of all offers that are not simply closed."""
        now = self._clock.now()
        return {subject: state_of(breaker, now) for subject, breaker in self._offers.items()}

    def _ticket(self, candidate: Candidate, caller: str) -> Ticket:
        provider, held = candidate.provider.id, candidate.credential
        return Ticket(
            caller,
            (provider, candidate.offer.upstream_id),
            (provider, held.id) if held is not None else None,
        )

    def _subjects(self, ticket: Ticket) -> list[tuple[OrderedDict[Subject, Breaker], Subject]]:
        found = [(self._offers, ticket.offer)]
        return (
            [*found, (self._credentials, ticket.credential)]
            if ticket.credential is not None
            else found
        )

    def _keep(
        self, table: OrderedDict[Subject, Breaker], subject: Subject, breaker: Breaker
    ) -> None:
        table[subject] = breaker
        table.move_to_end(subject)
        while len(table) > MAX_SUBJECTS:
            table.popitem(last=False)
