"""The gateway: admits a call, streams its answer, settles it exactly once. There is no second handler."""

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from gatewayz.catalog.pricing import ceiling
from gatewayz.core.calls import Call, Outcome, Principal
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.facts import CallEnded
from gatewayz.core.faults import Fault
from gatewayz.engine.attempts import Attempts
from gatewayz.engine.charging import allowance
from gatewayz.engine.drains import Drains
from gatewayz.engine.gate import Gate
from gatewayz.engine.health import Health
from gatewayz.engine.keeping import again
from gatewayz.engine.settling import Settling
from gatewayz.engine.tally import Tally
from gatewayz.limits.rules import place_of
from gatewayz.ports.books import Books, Hold
from gatewayz.ports.facts import Bus
from gatewayz.ports.limiter import Decision, Limiter
from gatewayz.ports.replays import Kept, Replays
from gatewayz.routing.plan import Planner

MAX_AFFINITIES = 50_000


class Gateway:
    """The one pipeline; it knows ports, never adapters."""

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        gate: Gate,
        limiter: Limiter,
        planner: Planner,
        books: Books,
        replays: Replays,
        attempts: Attempts,
        health: Health,
        clock: Clock,
        bus: Bus,
    ) -> None:
        self._gate = gate
        self._limiter = limiter
        self._planner = planner
        self._books = books
        self._attempts = attempts
        self._health = health
        self._clock = clock
        self._bus = bus
        self._settling = Settling(books, replays, clock, bus)
        self.drains = Drains()
        self._affinities: OrderedDict[str, str] = OrderedDict()

    async def who(self, headers: Mapping[str, str], address: str) -> Principal:
        """Who calls, from headers with lower-case names, from which address.

        Faults: `unauthenticated`, `bad_request`, `forbidden`, `unavailable`; `rate_limited` for an address that tries
        one key after the other.
        """
        try:
            return await self._gate.who(headers, address)
        except Fault as fault:
            if fault.kind == "unauthenticated":
                self.turn_page(f"refused:{place_of(address)}")
            raise

    def turn_page(self, subject: str) -> None:
        """Counts something that is no call: a page, or a refused key. Faults: `rate_limited`."""
        decision = self._limiter.page(subject)
        if not decision.allowed:
            raise _too_fast(decision)

    def goes_on(self, tally: Tally, task: "asyncio.Task[Any]") -> bool:
        """Whether a call whose client has left is heard on, unseen, because its provider bills for all of it."""
        if not self.drains.begin(tally, task):
            return False
        if tally.decision is not None:
            self._limiter.give_back(tally.decision)
        return True

    async def answer(self, call: Call, tally: Tally) -> AsyncGenerator[list[Frame], None]:
        """The call's answer in batches. Raises a fault while nothing was yielded; later a failure is a frame.

        What ends the answer is yielded alone, after the settlement.
        """
        try:
            kept = await self._admitted(call, tally)
            if kept is None:
                tally.hold = await self._held(call, tally)
            source = self._attempts.answer(call, tally) if kept is None else again(kept, call)
            async with aclosing(source) as batches:
                async for heard in batches:
                    frames = tally.watch(heard)
                    if is_end(frames):
                        async for part in self._ending(call, tally, frames):
                            yield part
                        continue
                    yield frames
                    if tally.heard >= tally.room and not await self._may_go_on(call, tally):
                        end = tally.stop()
                        break
            if tally.stopped:
                async for part in self._ending(call, tally, tally.watch(end)):
                    yield part
        except Fault as fault:
            tally.fault = tally.fault or fault
            raise
        finally:
            try:
                await self._settling.over(call, tally)
            finally:
                self._ended(call, tally)

    async def _admitted(self, call: Call, tally: Tally) -> Kept | None:
        """Lets the call in; the answer that is given again when its client has asked for it before."""
        self._health.call_begun()
        decision = await self._limiter.take(call.id, call.principal)
        tally.decision = decision
        if not decision.allowed:
            raise _too_fast(decision)
        return await self._settling.claim(call, tally) if call.idempotency_key else None

    async def _held(self, call: Call, tally: Tally) -> Hold:
        """Plans the call, and holds what it may cost."""
        tally.admitted = True
        conversation = _conversation(call)
        tally.plan = self._planner.plan(
            call.request, call.principal, self._health, self._affinities.get(conversation, "")
        )
        offers = tuple(candidate.offer for candidate in tally.plan.candidates)
        return await self._books.hold(call, ceiling(call.request, offers, call.principal.markup_bp))

    async def _may_go_on(self, call: Call, tally: Tally) -> bool:
        """Whether what is held covers more of the answer; extends the hold where it does not."""
        hold, allowed = tally.hold, tally.allowance
        if hold is None or tally.candidate is None or tally.left:
            return True
        if allowed is None:
            allowed = allowance(call, hold, tally.candidate)
        if allowed is not None and tally.heard >= allowed.room:
            try:
                tally.hold = await self._books.extend(hold, allowed.amount)
            except Fault:
                return False
            allowed = allowed.extended()
        tally.allowance, tally.room = allowed, allowed.room if allowed is not None else math.inf
        return True

    async def _ending(
        self, call: Call, tally: Tally, frames: list[Frame]
    ) -> AsyncGenerator[list[Frame], None]:
        before, end = _parted(frames, call)
        if before:
            yield before
        fault = await self._settling.settled(call, tally)
        if fault is not None:
            raise fault
        yield end

    def _ended(self, call: Call, tally: Tally) -> None:
        """What every call comes to, however it ended: its slot is free, its fact is told."""
        self.drains.over(tally)
        if tally.decision is not None:
            self._limiter.give_back(tally.decision)
        if tally.finished and tally.candidate is not None:
            self._remember(
                _conversation(call), f"{tally.served}/{tally.candidate.offer.upstream_id}"
            )
        self._bus.emit(_fact(call, tally.settled or tally.outcome(self._clock.now())))

    def _remember(self, conversation: str, offer: str) -> None:
        if not conversation:
            return
        self._affinities[conversation] = offer
        self._affinities.move_to_end(conversation)
        while len(self._affinities) > MAX_AFFINITIES:
            self._affinities.popitem(last=False)

    async def finished(self) -> None:
        """Waits until every settlement under way is done."""
        await self._settling.endings.finished()


def _too_fast(decision: Decision) -> Fault:
    message = f"Rate limit reached ({decision.rule}: {decision.limit}); retry in {decision.retry_after_s:.1f} s."
    return Fault("rate_limited", message, retry_after_s=decision.retry_after_s)


def _parted(frames: list[Frame], call: Call) -> tuple[list[Frame], list[Frame]]:
    """What may leave at once, and the end that leaves after the settlement; a whole answer is all end."""
    if not call.request.streamed:
        return [], frames
    last = frames[-1]
    if len(last.events) == 1 or (last.source is not None and not last.whole):
        return frames[:-1], frames[-1:]
    # A provider that answered a stream with one body: what it says is no end yet.
    return [*frames[:-1], Frame(last.events[:-1])], [Frame(last.events[-1:])]


def _conversation(call: Call) -> str:
    """Which conversation this is: the session, or what the conversation began with; empty for none.

    Tenants never share one.
    """
    request = call.request
    beginning = request.session or request.beginning()
    if not beginning:
        return ""
    return hashlib.blake2b(
        f"{call.principal.account}|{request.model}|{beginning}".encode(), digest_size=12
    ).hexdigest()


def _fact(call: Call, outcome: Outcome) -> CallEnded:
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
