"""Steps: what an upstream role wants done for one answer, carried out in order, counted and
bounded.

Most answers are one request, whose response is decoded as it comes; a queue that is polled or a
file that is fetched are more steps of the same attempt.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import NamedTuple, Self

from msgspec.structs import replace

from gatewayz.core.calls import HttpRequest
from gatewayz.core.clock import Clock
from gatewayz.core.events import Frame, is_end
from gatewayz.core.faults import Fault
from gatewayz.core.redaction import Redactor
from gatewayz.core.secrets import Secret
from gatewayz.core.text_bounds import MAX_REQUEST_ID_CHARS, shorten
from gatewayz.dialects.kit.base import Decoder, Draft, OnAbort, Send, Step, UpstreamAnswer, Wait
from gatewayz.engine.background import ShieldedTasks
from gatewayz.ports.transport import Exchange, Transport
from gatewayz.providers.error_classes import classify
from gatewayz.providers.request import UpstreamRequest
from gatewayz.providers.retry_after import retry_after_s
from gatewayz.providers.spec import Provider

MAX_STEPS = 512
MAX_WAIT_MS = 20 * 60_000
"""All waits of one attempt together; the call's own deadline usually comes first."""
MAX_WHOLE_BYTES = 128 * 2**20
"""All answers of one attempt that are fed back to its role together."""
MAX_ERROR_BYTES = 256 * 2**10
ABORT_S = 5.0
"""How long the request that cancels a broken attempt at its provider may take."""
UPSTREAM_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-generation-id",
    "cf-ray",
    "x-fal-request-id",
)


class AttemptInfo:
    """What an attempt learns on the way, for its row: HTTP status, the provider's id, fields that
    were not sent; and what it authenticated with, which no row may hold.
    """

    def __init__(self) -> None:
        self.status = 0
        self.upstream_request = ""
        self.dropped: tuple[str, ...] = ()
        self.secret = Secret("")


class StepResources(NamedTuple):
    """What steps need of the outside; `tasks` send what is owed after an attempt was broken off."""

    transport: Transport
    clock: Clock
    tasks: ShieldedTasks
    redactor: Redactor


class AnswerStream(NamedTuple):
    """The model's answer under way, and the decoder that understands it."""

    chunks: AsyncIterator[bytes]
    decoder: Decoder


class StepRunner:
    """Runs the steps of one attempt; `next_frames` answers batch by batch.

    Leaving it early breaks the connection, and sends the draft of the role's last `OnAbort`.
    """

    def __init__(
        self,
        request: UpstreamRequest,
        provider: Provider,
        info: AttemptInfo,
        resources: StepResources,
    ) -> None:
        self._request = request
        self._provider = provider
        self._info = info
        self._resources = resources

        # The answer, once there is one, and the exchange that it comes from.
        self._stream: AnswerStream | None = None
        self._sending: AbstractAsyncContextManager[Exchange] | None = None

        # The steps before it: what the last one brought, what is owed, and what bounds them.
        self._answer: UpstreamAnswer | None = None
        self._last_answer: UpstreamAnswer | None = None
        self._on_abort: Draft | None = None
        self._step_count = 0
        self._waited_ms = 0
        self._whole_bytes = 0

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
        if self._on_abort is not None:
            self._resources.tasks.start(self._send_abort(self._request.wire(self._on_abort)))

    async def next_frames(self) -> list[Frame]:
        """The next batch: what the role itself has to say, or what comes of the provider's answer.

        Faults: that of the provider's last refusal when the steps end without an answer; those of
        `Transport` and `Exchange`; `upstream_timeout` and `upstream_broken` for what is out of
        bounds.
        """
        stream = self._stream
        cut: Fault | None = None
        try:
            if stream is None:
                brought = await self._run_steps()
                if isinstance(brought, list):
                    return brought
                stream = self._stream = brought

            try:
                async for chunk in stream.chunks:
                    frames = stream.decoder.feed(chunk)
                    if frames:
                        return frames
            except Fault as fault:
                if fault.kind != "upstream_cut":
                    raise
                cut = fault

            self._stream = None
            frames = stream.decoder.close()
        except RecursionError:
            # Whichever reader went down into it: nobody's answer nests like that.
            name = self._provider.name
            raise Fault("upstream_broken", f"{name} sent JSON that nests too deep.") from None

        # A connection that broke after the answer was complete has lost nothing: the decoder knows.
        if not is_end(frames):
            raise cut or Fault("upstream_broken", f"{self._provider.name}'s answer has no end.")
        return frames

    async def drain(self) -> None:
        """Reads what follows a finished answer, so that its connection can be used again."""
        if self._stream is not None:
            # Nothing that comes now can change the answer any more.
            with suppress(Fault):
                async for _ in self._stream.chunks:
                    pass

    async def _run_steps(self) -> "list[Frame] | AnswerStream":
        """What the role itself has to say next, or the provider's answer once it has begun."""
        for step in self._remaining_steps():
            if isinstance(step, list):
                if is_end(step):
                    self._on_abort = None
                return step
            if not isinstance(step, Send) or step.read_whole:
                await self._run_step(step)
                continue
            stream = await self._open_answer(step)
            if stream is not None:
                return stream
        raise self._error_fault()

    def _remaining_steps(self) -> Iterator[Step]:
        steps = self._request.steps
        while self._step_count < MAX_STEPS:
            self._step_count += 1
            answer, self._answer = self._answer, None
            try:
                yield steps.send(answer)
            except StopIteration as end:
                self._last_answer = end.value or self._last_answer
                return
        raise Fault("upstream_timeout", f"The answer was not there after {MAX_STEPS} steps.")

    async def _open_answer(self, step: Send) -> "AnswerStream | None":
        """The model's answer; a refusal is fed back instead, because the role may know another
        way.
        """
        sending = self._resources.transport.send(self._http_request(step.draft))
        exchange = await sending.__aenter__()
        self._sending = sending
        self._note_response(exchange)
        if exchange.status == 200:
            self._on_abort = self._request.body = None
            content_type = exchange.headers.get("content-type", "")
            decoder = self._request.role.decoder(content_type, self._request.decode_options)
            return AnswerStream(exchange.chunks(), decoder)

        body = await exchange.read(MAX_ERROR_BYTES)
        self._feed(UpstreamAnswer(exchange.status, exchange.headers, body))
        self._sending = None
        await sending.__aexit__(None, None, None)
        return None

    def _http_request(self, draft: Draft) -> HttpRequest:
        wire = self._request.wire(draft)
        self._info.dropped = self._request.dropped
        return wire

    def _note_response(self, exchange: Exchange) -> None:
        info, headers = self._info, exchange.headers
        info.status = exchange.status
        redact_name = self._resources.redactor.redact_name
        info.upstream_request = next(
            (
                redact_name(shorten(headers[name], MAX_REQUEST_ID_CHARS))
                for name in UPSTREAM_ID_HEADERS
                if name in headers
            ),
            "",
        )

    async def _run_step(self, step: Send | Wait | OnAbort) -> None:
        """Does a step whose answer is not for the client."""
        match step:
            case OnAbort(draft=draft):
                self._on_abort = draft
            case Wait(ms=ms):
                self._waited_ms += ms
                if self._waited_ms > MAX_WAIT_MS:
                    raise Fault(
                        "upstream_timeout",
                        f"The answer was not there after {MAX_WAIT_MS // 1000} s.",
                    )
                await asyncio.sleep(ms / 1000)
            case Send():
                await self._fetch(step)

    async def _fetch(self, step: Send) -> None:
        wire = self._http_request(step.draft)
        limit_s = None if step.timeout_ms is None else step.timeout_ms / 1000
        try:
            async with asyncio.timeout(limit_s), self._resources.transport.send(wire) as exchange:
                if not wire.public:
                    self._note_response(exchange)
                # One byte more than may come tells a body that is too large from one that just
                # fits.
                body = await exchange.read(step.limit_bytes + 1)
        except TimeoutError as error:
            raise Fault(
                "upstream_timeout", f"A file was not there within {limit_s:g} s."
            ) from error

        self._whole_bytes += len(body)
        if len(body) > step.limit_bytes or self._whole_bytes > MAX_WHOLE_BYTES:
            raise Fault("upstream_broken", f"The provider sent more than {step.limit_bytes} bytes.")
        self._feed(UpstreamAnswer(exchange.status, exchange.headers, body))

    def _feed(self, answer: UpstreamAnswer) -> None:
        self._answer = self._last_answer = answer

    def _error_fault(self) -> Fault:
        last, provider = self._last_answer, self._provider
        if last is None or last.status < 300:
            return Fault("upstream_broken", f"{provider.name} gave no answer.")
        error = self._request.role.error_from_response(last.status, last.headers, last.body)
        wait_s = retry_after_s(last.headers, last.body, self._resources.clock.wall_ms())
        return classify(provider, replace(error, retry_after_s=wait_s), self._request.body)

    async def _send_abort(self, wire: HttpRequest) -> None:
        try:
            async with asyncio.timeout(ABORT_S), self._resources.transport.send(wire) as exchange:
                await exchange.read(MAX_ERROR_BYTES)
        except (Fault, TimeoutError):
            return
