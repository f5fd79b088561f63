"""An errand: the steps that an upstream role wants done for one answer, counted and bounded.

The engine streams the answer that is the model's; everything else that a role may want is done here.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import NamedTuple, Self

from msgspec.structs import replace

from gatewayz.core.calls import Wire
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import Answer, Draft, Owe, Send, Step, Wait
from gatewayz.engine.endings import Endings
from gatewayz.ports.transport import Exchange, Transport
from gatewayz.providers.asking import Asked
from gatewayz.providers.classify import classify
from gatewayz.providers.spec import Provider
from gatewayz.providers.waiting import retry_after_s

MAX_STEPS = 512
MAX_WAITED_MS = 20 * 60_000
"""All waits of one attempt together; the call's own deadline usually comes first."""
MAX_WHOLE_BYTES = 128 * 2**20
"""All answers of one attempt that are fed back to its role together."""
MAX_REFUSAL_BYTES = 256 * 2**10
OWED_S = 5.0
"""How long what is owed after a broken attempt may take."""
UPSTREAM_IDS = ("x-request-id", "request-id", "x-generation-id", "cf-ray", "x-fal-request-id")


class Heard:
    """What an attempt learns on the way, for its row."""

    def __init__(self) -> None:
        self.status = 0
        self.upstream_request = ""
        self.dropped: tuple[str, ...] = ()


class Rim(NamedTuple):
    """What an errand needs of the outside."""

    transport: Transport
    clock: Clock
    endings: Endings


class Errand:
    """One attempt's steps, done in order. `exchange` is the model's answer under way, once there is one.

    Leaving it early breaks the connection, and sends what the role said it owes.
    """

    def __init__(self, asked: Asked, provider: Provider, heard: Heard, rim: "Rim") -> None:
        self.asked = asked
        self.exchange: Exchange | None = None
        self._provider = provider
        self._heard = heard
        self._rim = rim
        self._sending: AbstractAsyncContextManager[Exchange] | None = None
        self._answer: Answer | None = None
        self._last: Answer | None = None
        self._owed: Draft | None = None
        self._steps = 0
        self._waited_ms = 0
        self._bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sending is not None:
            await self._sending.__aexit__(kind, error, trace)
        if self._owed is not None:
            self._rim.endings.start(self._paid(self.asked.wire(self._owed)))

    async def frames(self) -> list[Frame] | None:
        """What the role itself has to say next; nothing when the answer is in `exchange`, or was complete.

        Raises the fault of the last refusal when the steps end without an answer.
        """
        for step in self._left():
            if isinstance(step, list):
                if is_end(step):
                    self._owed = None
                return step
            if not isinstance(step, Send) or step.whole:
                await self._do(step)
            elif await self._opened(step):
                return None
        raise self._refusal()

    def _left(self) -> Iterator[Step]:
        steps = self.asked.steps
        while self._steps < MAX_STEPS:
            self._steps += 1
            answer, self._answer = self._answer, None
            try:
                yield steps.send(answer)
            except StopIteration as end:
                self._last = end.value or self._last
                return
        raise Fault("upstream_timeout", f"The answer was not there after {MAX_STEPS} steps.")

    async def _opened(self, step: Send) -> bool:
        """Whether the request is being answered by the model; a refusal is fed back, the role may know another way."""
        sending = self._rim.transport.send(self._wire(step.draft))
        exchange = await sending.__aenter__()
        self._sending = sending
        self._met(exchange)
        if exchange.status == 200:
            self.exchange, self._owed = exchange, None
            return True
        self._fed(Answer(exchange.status, exchange.headers, await exchange.read(MAX_REFUSAL_BYTES)))
        self._sending = None
        await sending.__aexit__(None, None, None)
        return False

    def _wire(self, draft: Draft) -> Wire:
        wire = self.asked.wire(draft)
        self._heard.dropped = self.asked.dropped
        return wire

    def _met(self, exchange: Exchange) -> None:
        heard, headers = self._heard, exchange.headers
        heard.status = exchange.status
        heard.upstream_request = next(
            (headers[name] for name in UPSTREAM_IDS if name in headers), ""
        )

    async def _do(self, step: Send | Wait | Owe) -> None:
        """Does a step whose answer is not for the client."""
        match step:
            case Owe(draft=draft):
                self._owed = draft
            case Wait(ms=ms):
                self._waited_ms += ms
                if self._waited_ms > MAX_WAITED_MS:
                    raise Fault(
                        "upstream_timeout",
                        f"The answer was not there after {MAX_WAITED_MS // 1000} s.",
                    )
                await asyncio.sleep(ms / 1000)
            case Send():
                await self._fetch(step)

    async def _fetch(self, step: Send) -> None:
        wire = self._wire(step.draft)
        limit_s = None if step.within_ms is None else step.within_ms / 1000
        try:
            async with asyncio.timeout(limit_s), self._rim.transport.send(wire) as exchange:
                if not wire.public:
                    self._met(exchange)
                # One byte more than may come tells an answer that is too large from one that just fits.
                body = await exchange.read(step.limit_bytes + 1)
        except TimeoutError as error:
            raise Fault(
                "upstream_timeout", f"A file was not there within {limit_s:g} s."
            ) from error
        self._bytes += len(body)
        if len(body) > step.limit_bytes or self._bytes > MAX_WHOLE_BYTES:
            raise Fault("upstream_broken", f"The provider sent more than {step.limit_bytes} bytes.")
        self._fed(Answer(exchange.status, exchange.headers, body))

    def _fed(self, answer: Answer) -> None:
        self._answer = self._last = answer

    def _refusal(self) -> Fault:
        last, provider = self._last, self._provider
        if last is None or last.status < 300:
            return Fault("upstream_broken", f"{provider.name} gave no answer.")
        words = self.asked.role.refused(last.status, last.headers, last.body)
        wait_s = retry_after_s(last.headers, last.body, self._rim.clock.wall_ms())
        return classify(provider, replace(words, retry_after_s=wait_s))

    async def _paid(self, wire: Wire) -> None:
        try:
            async with asyncio.timeout(OWED_S), self._rim.transport.send(wire) as exchange:
                await exchange.read(MAX_REFUSAL_BYTES)
        except (Fault, TimeoutError):
            return
