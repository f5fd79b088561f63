"""One attempt: a candidate is asked, and its answer heard, as batches of frames."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.engine.deadline import Deadline
from gatewayz.engine.endings import Endings
from gatewayz.engine.errand import Errand, Heard, Rim
from gatewayz.ports.tokens import Tokens
from gatewayz.ports.transport import Transport
from gatewayz.providers.asking import Terms, ask
from gatewayz.providers.spec import TOKEN_AUTHS, Credential
from gatewayz.routing.plan import Candidate
from gatewayz.routing.rules import Deadlines

NO_CREDENTIAL = Credential(id="no credential", key=Secret(""))
DRAIN_S = 0.25
"""How long the end of a finished answer is waited for, so that its connection can be used again."""


class Asker:
    """Asks candidates over the transport, each under its deadlines."""

    def __init__(
        self, transport: Transport, tokens: Tokens, deadlines: Deadlines, clock: Clock
    ) -> None:
        self.endings = Endings()
        self._rim = Rim(transport, clock, self.endings)
        self._tokens = tokens
        self._deadlines = deadlines
        self._clock = clock
        self._loop_time = asyncio.get_running_loop().time

    async def answer(
        self, call: Call, candidate: Candidate, heard: Heard, without: tuple[str, ...] = ()
    ) -> AsyncGenerator[list[Frame], None]:
        """Batches as they come; the last one ends with `Finished`, or a fault is raised."""
        name, idle_s = candidate.provider.id, self._deadlines.idle_s
        wait_s = self._deadlines.first_event_for(call.request)
        # The call's deadline is on our clock, the timer on the loop's.
        total = self._loop_time() + call.deadline - self._clock.now()
        until, why = (
            min(self._loop_time() + wait_s, total),
            f"{name} sent nothing within {wait_s:g} s",
        )
        silent = f"{name} went silent for {idle_s:g} s"
        with Deadline(until, why) as deadline:
            asked = self._tokened if candidate.provider.auth in TOKEN_AUTHS else self._asked
            async with aclosing(asked(call, candidate, heard, without)) as batches:
                async for frames in batches:
                    # Whoever takes the frames has deadlines of its own; the provider's clock stands still meanwhile.
                    deadline.pause()
                    yield frames
                    if is_end(frames):
                        deadline.move(self._loop_time() + DRAIN_S, "")
                        await _drained(batches)
                        return
                    if frames[-1].events or any(frame.events for frame in frames):
                        until, why = min(self._loop_time() + idle_s, total), silent
                    deadline.move(until, why)

    async def _tokened(
        self, call: Call, candidate: Candidate, heard: Heard, without: tuple[str, ...]
    ) -> AsyncGenerator[list[Frame], None]:
        """Asks with a token in the credential's place, and once more with a fresh one when that was refused."""
        held = candidate.credential or NO_CREDENTIAL
        for fresh in (False, True):
            token = await self._tokens.token(held)
            ready = replace(candidate, credential=replace(held, key=token))
            try:
                async with aclosing(self._asked(call, ready, heard, without)) as batches:
                    async for frames in batches:
                        yield frames
            except Fault as fault:
                if fresh or fault.kind != "upstream_auth" or not self._tokens.refused(held, token):
                    raise
            else:
                return

    async def _asked(
        self, call: Call, candidate: Candidate, heard: Heard, without: tuple[str, ...]
    ) -> AsyncGenerator[list[Frame], None]:
        provider = candidate.provider
        upstream_id = candidate.offer.upstream_id
        terms = Terms(call.trace, without, candidate.offer.max_output)
        asked = ask(call.request, provider, candidate.credential, upstream_id, terms)
        async with Errand(asked, provider, heard, self._rim) as errand:
            while (said := await errand.frames()) is not None:
                yield said
                if is_end(said):
                    return
            exchange = errand.exchange
            if exchange is None:
                return
            decoder = asked.role.decoder(exchange.headers.get("content-type", ""), asked.reading)
            cut: Fault | None = None
            try:
                async for chunk in exchange.chunks():
                    frames = decoder.feed(chunk)
                    if frames:
                        yield frames
            except Fault as fault:
                if fault.kind != "upstream_cut":
                    raise
                cut = fault
            # A connection that broke after the answer was complete has lost nothing: the decoder knows.
            frames = decoder.close()
            if cut is not None and not is_end(frames):
                raise cut
            if frames:
                yield frames


async def _drained(batches: AsyncGenerator[list[Frame], None]) -> None:
    """Reads what follows a finished answer; nothing there can change it any more."""
    try:
        async for _ in batches:
            pass
    except Fault:
        return
