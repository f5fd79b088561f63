"""Settlement: the one ending that every call has, in whatever state it is left, and what is stored
under its key.
"""

import asyncio

from msgspec.structs import replace

from gatewayz.core.calls import Outcome
from gatewayz.core.clock import Clock
from gatewayz.core.facts import Warned
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Nanos
from gatewayz.engine.background import ShieldedTasks
from gatewayz.engine.call_state import CallState
from gatewayz.engine.charge import charge
from gatewayz.engine.replay import ReplayRecorder
from gatewayz.ports.books import Books, ReplayRecord
from gatewayz.ports.facts import Bus
from gatewayz.ports.replays import Replays, StoredReply
from gatewayz.routing.plan import Plan


class Settlement:
    """Ends calls in the books.

    Whoever waits for an ending may leave; the ending goes on in `tasks`.
    """

    def __init__(
        self, books: Books, replays: Replays, clock: Clock, bus: Bus, tasks: ShieldedTasks
    ) -> None:
        self._books = books
        self._replays = replays
        self._clock = clock
        self._bus = bus
        self._tasks = tasks

    async def claim(self, state: CallState) -> StoredReply | None:
        """Takes the idempotency key of the call, or finds the answer that was given under it.

        Faults: `in_flight`, `replay_unavailable`, `idempotency_mismatch`, `unavailable`.
        """
        state.claimed = True
        try:
            state.replayed = await self._replays.claim(state.call)
        except Fault as fault:
            # A store that went away in between may have taken the key.
            state.claimed = fault.kind == "unavailable"
            raise
        state.replay_recorder = ReplayRecorder() if state.replayed is None else None
        return state.replayed

    async def settle(self, state: CallState) -> Fault | None:
        """Settles the call, once, whoever asks; the fault if its money could not be made safe."""
        if state.settlement_task is None:
            state.settlement_task = self._tasks.start(self._settle_in_books(state))
        # A client that leaves now cancels the wait, never the settlement.
        return await asyncio.shield(state.settlement_task)

    async def _settle_in_books(self, state: CallState) -> Fault | None:
        if state.hold is None:
            return None
        outcome = outcome_from_state(state, self._clock.now())
        if state.meter.beyond_bounds:
            claim = f"{state.call.id}: {state.served} reported {state.meter.beyond_bounds}"
            message = f"{claim}; what is beyond was not charged."
            self._bus.emit(Warned(subject="usage_beyond_bounds", message=message))
        try:
            await self._books.settle(state.call, state.hold, outcome, self._replay_record(state))
        except Fault as fault:
            message = f"{state.call.id}: {fault.operator_message}"
            self._bus.emit(Warned(subject="unsettled", message=message))
            return fault
        state.cost, state.settled_outcome = outcome.cost, outcome
        return None

    def _replay_record(self, state: CallState) -> ReplayRecord | None:
        """What is stored under the call's key: the whole answer, or that there is none; nothing
        without a key.
        """
        call, recorder = state.call, state.replay_recorder
        if recorder is None or state.progress.candidate is None:
            return None
        reply = recorder.reply()
        if reply is None:
            return ReplayRecord(call.idempotency_key)
        stored = StoredReply(
            call=call.id,
            received_ms=call.received_ms,
            provider=state.served,
            reply=reply,
            source=recorder.source,
        )
        return ReplayRecord(call.idempotency_key, self._replays.encrypt_reply(call, stored))

    async def finish(self, state: CallState) -> None:
        """The end of a call that nobody reads any more: settled, or recorded as refused.

        Its idempotency key is free again if nothing was delivered under it.
        """
        call = state.call
        if state.hold is not None:
            await self.settle(state)
        elif state.admitted:
            outcome = outcome_from_state(state, self._clock.now())
            self._tasks.start(self._books.record_refused_call(call, outcome))
        if state.claimed and state.progress.candidate is None and state.replayed is None:
            await asyncio.shield(self._tasks.start(self._replays.release(call)))


def outcome_from_state(state: CallState, now: float) -> Outcome:
    """All that came of the call, as of `now` (monotonic seconds)."""
    progress, meter, plan, fault = state.progress, state.meter, state.plan, state.fault
    offer = state.offer
    price = offer.price if offer is not None else None
    markup_bp = state.call.principal.markup_bp
    usage = meter.usage(offer)
    whole = meter.full_cost(usage, offer)
    late = now >= state.call.deadline
    first_event_at = progress.first_event_at
    return Outcome(
        served=state.served,
        upstream_id=offer.upstream_id if offer is not None else "",
        model=plan.model if plan is not None else "",
        usage=usage,
        # With the markup that holds for this account, as the record keeps it.
        price=replace(price, markup_bp=markup_bp)
        if price is not None and markup_bp is not None
        else price,
        cost=charge(whole, state.hold, fault, late=late) if whole is not None else Nanos(0),
        unpriced=offer is not None and price is None,
        upstream_cost_usd=meter.upstream_cost_usd,
        attempts=tuple(progress.attempts),
        stop=meter.stop,
        fault=fault.kind if fault is not None else "",
        message=fault.message if fault is not None else "",
        # What the client saw: the head of a stream has left by then, a whole answer has not.
        status=200
        if fault is None or (offer is not None and state.call.request.streamed)
        else FAULTS[fault.kind].status,
        first_event_ms=state.ms_since_received(first_event_at)
        if first_event_at is not None
        else None,
        duration_ms=state.ms_since_received(now),
        dropped=progress.dropped,
        reasons=_reasons(plan),
    )


def _reasons(plan: Plan | None) -> tuple[str, ...]:
    if plan is None:
        return ()
    limits = {
        f"{candidate.provider.id}/{candidate.offer.upstream_id}: "
        f"told to keep within {candidate.output_limit} tokens, which is what could be held"
        for candidate in plan.candidates
        if candidate.output_limit is not None
    }
    whys = [f"{reason.provider}/{reason.upstream_id}: {reason.why}" for reason in plan.reasons]
    return (*sorted(limits), *whys)
