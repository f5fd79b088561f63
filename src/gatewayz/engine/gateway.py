"""The gateway: admits a call, streams its answer, settles it exactly once. There is no second handler."""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from gatewayz.catalog.pricing import ceiling
from gatewayz.core.calls import Call, Outcome, Principal
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.facts import CallEnded
from gatewayz.core.faults import Fault
from gatewayz.engine.attempts import Attempts
from gatewayz.engine.endings import Endings
from gatewayz.engine.gate import Gate
from gatewayz.engine.health import Health
from gatewayz.engine.tally import Tally
from gatewayz.ports.books import Books, Hold
from gatewayz.ports.facts import Bus
from gatewayz.ports.limiter import Limiter
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
        self._endings = Endings()
        self._affinities: OrderedDict[str, str] = OrderedDict()

    async def who(self, headers: Mapping[str, str]) -> Principal:
        """Who calls, from headers with lower-case names. Faults: `unauthenticated`, `bad_request`, `unavailable`."""
        return await self._gate.who(headers)

    async def answer(self, call: Call, tally: Tally) -> AsyncGenerator[list[Frame], None]:
        """The call's answer in batches. Raises a fault while nothing was yielded; later a failure is a frame.

        The batch that ends the answer is yielded alone, after the settlement.
        """
        hold: Hold | None = None
        try:
            hold = await self._admitted(call, tally)
            async with aclosing(self._attempts.answer(call, tally)) as batches:
                async for frames in batches:
                    tally.watch(frames)
                    if not is_end(frames):
                        yield frames
                        continue
                    before, end = _parted(frames, call)
                    if before:
                        yield before
                    await self._endings.run(self._settled(call, hold, tally))
                    yield end
        except Fault as fault:
            tally.fault = tally.fault or fault
            raise
        finally:
            if hold is not None and tally.cost is None:
                await self._endings.run(self._unfinished(call, hold, tally))
            self._ended(call, tally)

    async def _admitted(self, call: Call, tally: Tally) -> Hold:
        self._health.call_begun()
        decision = await self._limiter.take(call.id, call.principal)
        tally.decision = decision
        if not decision.allowed:
            message = (
                f"Rate limit reached ({decision.rule}: {decision.limit}); retry in {decision.retry_after_s:.1f} s."
            )
            raise Fault("rate_limited", message, retry_after_s=decision.retry_after_s)
        conversation = _conversation(call)
        tally.plan = self._planner.plan(
            call.request, call.principal, self._health, self._affinities.get(conversation, "")
        )
        offers = tuple(candidate.offer for candidate in tally.plan.candidates)
        return await self._books.hold(call, ceiling(call.request, offers, call.principal.markup_bp))

    async def _settled(self, call: Call, hold: Hold, tally: Tally) -> Outcome:
        outcome = tally.outcome(self._clock.now())
        if await self._books.settle(call, hold, outcome):
            tally.cost, tally.settled = outcome.cost, outcome
        return outcome

    async def _unfinished(self, call: Call, hold: Hold, tally: Tally) -> None:
        """The settlement of a call that did not come to its end."""
        if not tally.finished and tally.fault is None:
            tally.fault = Fault("client_gone", "The client left before the answer was complete.")
        await self._settled(call, hold, tally)

    def _ended(self, call: Call, tally: Tally) -> None:
        """What every call comes to, however it ended: its slot is free, its fact is told."""
        if tally.decision is not None:
            self._limiter.give_back(tally.decision)
        if tally.finished and tally.candidate is not None:
            self._remember(_conversation(call), f"{tally.served}/{tally.candidate.offer.upstream_id}")
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
        await self._endings.finished()


def _parted(frames: list[Frame], call: Call) -> tuple[list[Frame], list[Frame]]:
    """What may leave at once, and the end that leaves after the settlement; a whole answer is all end."""
    return (frames[:-1], frames[-1:]) if call.request.streamed else ([], frames)


def _conversation(call: Call) -> str:
    """Which conversation this is: the session, or what the conversation began with; empty for none.

    Tenants never share one.
    """
    request = call.request
    beginning = request.session or request.beginning()
    if not beginning:
        return ""
    return hashlib.blake2b(f"{call.principal.account}|{request.model}|{beginning}".encode(), digest_size=12).hexdigest()


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
