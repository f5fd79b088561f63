"""Settling: the one ending that every call has, in whatever state it is left, and what is kept under its key."""

import asyncio

from gatewayz.core.calls import Call
from gatewayz.core.clock import Clock
from gatewayz.core.facts import Warned
from gatewayz.core.faults import Fault
from gatewayz.engine.endings import Endings
from gatewayz.engine.keeping import Keeping
from gatewayz.engine.tally import Tally
from gatewayz.ports.books import Books, Replay
from gatewayz.ports.facts import Bus
from gatewayz.ports.replays import Kept, Replays


class Settling:
    """Ends calls in the books; whoever waits for an ending may leave, the ending goes on."""

    def __init__(self, books: Books, replays: Replays, clock: Clock, bus: Bus) -> None:
        self._books = books
        self._replays = replays
        self._clock = clock
        self._bus = bus
        self.endings = Endings()

    async def claim(self, call: Call, tally: Tally) -> Kept | None:
        """Takes the key that the client gave the call, or finds the answer that was given under it."""
        tally.claimed = True
        try:
            tally.replayed = await self._replays.claim(call)
        except Fault as fault:
            # A store that went away in between may have taken the key.
            tally.claimed = fault.kind == "unavailable"
            raise
        tally.keeping = Keeping() if tally.replayed is None else None
        return tally.replayed

    async def settled(self, call: Call, tally: Tally) -> Fault | None:
        """Settles the call, once, whoever asks for it; the fault if its money could not be made safe."""
        if tally.ending is None:
            tally.ending = self.endings.start(self._settle(call, tally))
        return await asyncio.shield(tally.ending)

    async def _settle(self, call: Call, tally: Tally) -> Fault | None:
        if tally.hold is None:
            return None
        outcome = tally.outcome(self._clock.now())
        try:
            await self._books.settle(call, tally.hold, outcome, self._replay(call, tally))
        except Fault as fault:
            self._bus.emit(Warned(subject="unsettled", message=f"{call.id}: {fault.message}"))
            return fault
        tally.cost, tally.settled = outcome.cost, outcome
        return None

    def _replay(self, call: Call, tally: Tally) -> Replay | None:
        """What is kept under the call's key: the whole answer, or that it was not kept; nothing for nothing."""
        if tally.keeping is None or tally.candidate is None:
            return None
        reply = tally.keeping.reply()
        if reply is None:
            return Replay(call.idempotency_key)
        source = tally.keeping.source
        kept = Kept(
            call=call.id,
            received_ms=call.received_ms,
            provider=tally.served,
            reply=reply,
            source=source,
        )
        return Replay(call.idempotency_key, self._replays.sealed(call, kept))

    async def over(self, call: Call, tally: Tally) -> None:
        """The end of a call that is left: settled, or recorded as refused; its key is free if nothing was delivered."""
        if not tally.finished and tally.fault is None:
            tally.fault = Fault("client_gone", "The client left before the answer was complete.")
        if tally.hold is not None:
            await self.settled(call, tally)
        elif tally.admitted:
            self.endings.start(self._books.refused(call, tally.outcome(self._clock.now())))
        if tally.claimed and tally.candidate is None and tally.replayed is None:
            await asyncio.shield(self.endings.start(self._replays.free(call)))
