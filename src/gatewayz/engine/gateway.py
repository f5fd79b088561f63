"""The gateway: admits a call, streams its answer, settles it exactly once.

There is no second handler.

The life of a call, by function names (`docs/architecture.md` tells the same walk with what each
step promises):

    Inference.serve                         a request has come in
      Gateway.principal_from_headers        whose key it is
      ClientRole.decode                     what it asks for
      Gateway.answer                        yields the answer in batches of frames
        Limiter.take, Settlement.claim      it is within its limits, and repeats no earlier call
        Planner.plan                        which candidates may serve it, in what order
        Books.hold                          what it may cost is reserved
        CallEstimate.limit_outputs          and told to a provider where it is less than its model's
        Attempts.answer                     candidates are tried until one commits
          UpstreamClient.answer             one of them is asked, under its deadlines
            StepRunner.next_frames          its role's steps: requests, responses, decoded
              Transport.send, Exchange.chunks    the socket
        CallState.watch                     usage is counted, our cost put beside it
        Books.extend                        more is reserved while a shown answer goes on
        Settlement.settle                   what it cost is booked, once, before the end is yielded
      ResponseWriter.write_answer           frames become bytes for the client
"""

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from gatewayz.core.calls import Call, Outcome, Principal
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.facts import CallEnded
from gatewayz.core.faults import Fault
from gatewayz.engine.attempts import Attempts
from gatewayz.engine.authenticator import Authenticator
from gatewayz.engine.background import ShieldedTasks
from gatewayz.engine.call_state import CallState
from gatewayz.engine.charge import allowance_from_hold
from gatewayz.engine.health import Health
from gatewayz.engine.output_limits import CallEstimate
from gatewayz.engine.replay import replay
from gatewayz.engine.settlement import Settlement, outcome_from_state
from gatewayz.engine.usage_drains import UsageDrains
from gatewayz.limits.rules import client_network
from gatewayz.ports.books import Books
from gatewayz.ports.facts import Bus
from gatewayz.ports.limiter import Decision, Limiter
from gatewayz.ports.replays import Replays, StoredReply
from gatewayz.routing.plan import Planner, PlanRefusal

MAX_AFFINITIES = 50_000
"""Conversations whose offer is remembered; the one that spoke longest ago is forgotten first."""


class Gateway:
    """The one pipeline; it knows ports, never adapters.

    `tasks` hold what must end even if its caller leaves.
    """

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        authenticator: Authenticator,
        limiter: Limiter,
        planner: Planner,
        books: Books,
        replays: Replays,
        attempts: Attempts,
        health: Health,
        clock: Clock,
        bus: Bus,
        tasks: ShieldedTasks,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._planner = planner
        self._books = books
        self._attempts = attempts
        self._health = health
        self._clock = clock
        self._bus = bus
        self._tasks = tasks
        self._settlement = Settlement(books, replays, clock, bus, tasks)
        self._affinities: OrderedDict[str, str] = OrderedDict()
        self.usage_drains = UsageDrains()

    async def principal_from_headers(self, headers: Mapping[str, str], address: str) -> Principal:
        """Who calls, from headers with lower-case names, from which address.

        Faults: `unauthenticated`, `bad_request`, `forbidden`, `unavailable`; `rate_limited` for an
        address that tries one key after the other.
        """
        try:
            return await self._authenticator.principal_from_headers(headers, address)
        except Fault as fault:
            if fault.kind == "unauthenticated":
                self.count_request(f"refused:{client_network(address)}")
            raise

    def count_request(self, subject: str, account: str = "", units: int = 1) -> None:
        """Counts a request of `subject` that is no call: to the API, or with a refused key.

        `units` is what it costs beside the others; keys of one account share a bucket too.

        Faults: `rate_limited`.
        """
        decision = self._limiter.count_request(subject, account, units)
        if not decision.allowed:
            raise _rate_limit_fault(decision)

    async def answer(self, state: CallState) -> AsyncGenerator[list[Frame], None]:
        """The call's answer in batches.

        Raises a fault while nothing was yielded; later a failure is a frame.

        What ends the answer is yielded alone, after the settlement.
        """
        call = state.call
        try:
            stored = await self._admit(state)
            if stored is None:
                await self._plan_and_hold(state)
            source = replay(stored, call) if stored is not None else self._attempts.answer(state)

            async with aclosing(source) as batches:
                async for batch in batches:
                    if state.allowance is None:
                        _begin_allowance(state)
                    # A batch may reach beyond what is held: what is not paid for does not leave.
                    rest = batch
                    while rest:
                        frames = state.watch(rest)
                        rest = rest[len(frames) :]
                        if not is_end(frames):
                            yield frames
                            if state.is_covered or await self._extend(state):
                                continue
                            # The provider is stopped before we say how the answer ends.
                            state.stopped, rest = True, []
                            await batches.aclose()
                            frames = state.break_off()

                        content, end = _split_end(frames, call)
                        if content:
                            yield content
                        await self._settle(state)
                        yield end
        except Fault as fault:
            state.interrupt(fault)
            raise
        finally:
            self._note_client_gone(state)
            try:
                await self._settlement.finish(state)
            finally:
                self._finish_call(state)

    def start_drain(self, state: CallState, task: "asyncio.Task[Any]") -> bool:
        """Whether the answer is read on, unseen, though its client has left, because its provider
        bills for all of it.

        Otherwise `task`, which serves the call, is to be cancelled.
        """
        self._note_client_gone(state)
        if not self.usage_drains.start(state, task):
            return False
        state.client_left = True
        if state.decision is not None:
            self._limiter.release(state.decision)
        return True

    def interrupt(self, state: CallState, fault: Fault) -> None:
        """Says why a call that is about to be cancelled ends; the first reason counts."""
        state.interrupt(fault)

    async def finish(self) -> None:
        """Waits until every settlement under way is done, and everything is sent that was owed."""
        await self._tasks.finish()

    async def _admit(self, state: CallState) -> StoredReply | None:
        """Lets the call in; a reply when its client has asked for the same before."""
        call = state.call
        self._health.retry_budget.count_call()
        decision = state.decision = await self._limiter.take(call.id, call.principal)
        if not decision.allowed:
            raise _rate_limit_fault(decision)
        if not call.idempotency_key:
            return None
        # Rights come before a replay: the answer may have been given to a key that has more.
        try:
            self._planner.check_access(call.request, call.principal)
        except Fault:
            state.admitted = True
            raise
        return await self._settlement.claim(state)

    async def _plan_and_hold(self, state: CallState) -> None:
        """Plans the call, and holds what it may cost."""
        call = state.call
        state.admitted = True
        state.conversation = _conversation_id(call)
        affinity = self._affinities.get(state.conversation, "")
        try:
            state.plan = self._planner.plan(call.request, call.principal, self._health, affinity)
        except PlanRefusal as refusal:
            state.plan = refusal.plan
            raise
        estimate = state.estimate = CallEstimate(call)
        state.hold = await self._books.hold(call, estimate.ceiling(state.plan))
        state.plan = estimate.limit_outputs(state.plan, state.hold)

    async def _extend(self, state: CallState) -> bool:
        """Whether more of the answer may leave; the hold is extended by a step where that is due."""
        hold, allowance = state.hold, state.allowance
        if hold is None or allowance is None or state.client_left:
            state.extend_at_bytes = math.inf
            return True
        if state.watch_allowance(allowance):
            return True
        try:
            state.hold = await self._books.extend(hold, allowance.amount)
        except Fault:
            return False
        state.allowance = allowance.extend()
        state.watch_allowance(state.allowance)
        return True

    async def _settle(self, state: CallState) -> None:
        """Settles the call. Faults: `unavailable` when its money could not be made safe."""
        fault = await self._settlement.settle(state)
        if fault is not None:
            raise fault

    def _note_client_gone(self, state: CallState) -> None:
        if not state.meter.finished and state.fault is None:
            state.interrupt(Fault("client_gone", "The client left before the answer was complete."))

    def _finish_call(self, state: CallState) -> None:
        """What every call comes to, however it ended: its slot is free, observers are told."""
        call, offer = state.call, state.offer
        self.usage_drains.finish(call.id)
        if state.decision is not None:
            self._limiter.release(state.decision)
        if state.meter.finished and offer is not None:
            self._remember_affinity(state.conversation, f"{state.served}/{offer.upstream_id}")
        outcome = state.settled_outcome or outcome_from_state(state, self._clock.now())
        self._bus.emit(_call_ended_fact(call, outcome))

    def _remember_affinity(self, conversation: str, offer_key: str) -> None:
        if not conversation:
            return
        self._affinities[conversation] = offer_key
        self._affinities.move_to_end(conversation)
        while len(self._affinities) > MAX_AFFINITIES:
            self._affinities.popitem(last=False)


def _begin_allowance(state: CallState) -> None:
    """Says how far what is held goes, once it is known who answers."""
    hold, candidate, estimate = state.hold, state.progress.candidate, state.estimate
    if hold is None or candidate is None or estimate is None:
        return
    terms = estimate.terms(candidate) if hold.recorded else None
    state.allowance = allowance_from_hold(state.call, hold, candidate, terms)
    state.watch_allowance(state.allowance)


def _rate_limit_fault(decision: Decision) -> Fault:
    wait_s = decision.retry_after_s
    message = f"Rate limit reached ({decision.rule}: {decision.limit}); retry in {wait_s:.1f} s."
    return Fault("rate_limited", message, retry_after_s=wait_s)


def _split_end(frames: list[Frame], call: Call) -> tuple[list[Frame], list[Frame]]:
    """What may leave now, and the end that leaves after the settlement: of a whole answer, all."""
    if not call.request.streamed:
        return [], frames
    last = frames[-1]
    if len(last.events) == 1 or (last.source is not None and not last.whole):
        return frames[:-1], frames[-1:]
    # A provider that answered a stream with one body: its content is no end yet.
    return [*frames[:-1], Frame(last.events[:-1])], [Frame(last.events[-1:])]


def _conversation_id(call: Call) -> str:
    """Which conversation this is: the session, or what the conversation began with; empty for none.

    Tenants never share one.
    """
    request = call.request
    beginning = request.session or request.conversation_prefix()
    if not beginning:
        return ""
    return hashlib.blake2b(
        f"{call.principal.account}|{request.model}|{beginning}".encode(), digest_size=12
    ).hexdigest()


def _call_ended_fact(call: Call, outcome: Outcome) -> CallEnded:
    return CallEnded(
        id=call.id,
        endpoint=call.endpoint,
        dialect=call.request.dialect,
        model=call.request.model,
        streamed=call.request.streamed,
        account=call.principal.account,
        key=call.principal.key,
        received_ms=call.received_ms,
        address=call.address,
        outcome=outcome,
        trace=call.trace,
    )
