"""Responses: when the status line leaves, what it carries, and what keeps a quiet stream open.

The status line of a stream waits for the first frames, at most 15 s; then 200 and keep-alive
comments, still uncommitted. There is one timer per response, which looks again when it fires:
chunks cost nothing for it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.events import Failed, Frame, is_end
from gatewayz.core.faults import Fault
from gatewayz.core.money import usd_text
from gatewayz.dialects.kit.base import ClientRole, Encoder, HttpResponse
from gatewayz.engine.call_state import CallState
from gatewayz.web.asgi import RawHeaders, Send, raw_headers
from gatewayz.web.request_bodies import ACCEPTED

STREAM_HEADERS: RawHeaders = [
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
BODY_HEADERS: RawHeaders = [(b"cache-control", b"no-store")]


INTERNAL = "The gateway failed; its operator can find out why by the request id."
"""What a client is told of an error of ours."""


class StreamTiming(Struct, frozen=True, kw_only=True):
    """Seconds: how long a stream may be quiet and a client not read, and how often to look."""

    keep_alive_s: float = 15.0
    unread_s: float = 30.0
    check_every_s: float = 5.0


class ResponseWriter:
    """Sends one call's answer to its client."""

    def __init__(
        self, role: ClientRole, state: CallState, send: Send, timing: StreamTiming
    ) -> None:
        self._call = state.call
        self._role = role
        self._state = state
        self._send = send
        self._timing = timing
        self._encoder: Encoder | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._keep_alive_tasks: set[asyncio.Task[None]] = set()
        # A timer looks at these, so that a chunk pays two assignments and no clock.
        self._sent, self._sending = 0, False
        self._last_progress: tuple[int, bool] = (0, False)
        self._last_progress_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.started = False
        self.finished = False

    async def write_answer(self, batches: AsyncGenerator[list[Frame], None]) -> None:
        """Writes the batches. A fault before the first is a refusal; later it ends the stream."""
        streamed, send = self._call.request.streamed, self._send
        if streamed:
            self._timer = self._loop.call_later(self._timing.check_every_s, self._check_progress)
        try:
            async with aclosing(batches):
                async for frames in batches:
                    encoder = self._encoder or self._get_encoder()
                    body = encoder.feed(frames)
                    if self.finished or not (body or is_end(frames)):
                        continue
                    if not self.started or not streamed or is_end(frames):
                        await self._write(body, more=streamed and not is_end(frames))
                        continue

                    # `_write` without its coroutine: all but the first and last come here.
                    self._sending = True
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    self._sent, self._sending = self._sent + 1, False
        except Fault as fault:
            await self.fail(fault)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _get_encoder(self) -> Encoder:
        """The encoder, made for the first batch; a replayed answer keeps its id and date."""
        if self._encoder is None:
            call, replayed = self._call, self._state.replayed
            if replayed is not None:
                call = replace(call, id=replayed.call, received_ms=replayed.received_ms)
            self._encoder = self._role.encoder(call, call.received_ms // 1000)
        return self._encoder

    async def fail(self, fault: Fault) -> None:
        """Ends the answer with a fault, in the client's dialect."""
        if self.finished:
            return
        if self.started:
            await self._write(self._get_encoder().feed([Frame((Failed(fault),))]), more=False)
        else:
            self.started = self.finished = True
            await send_response(
                self._send, self._role.error_response(fault, self._call.id), self._headers(fault)
            )

    async def _write(self, body: bytes, *, more: bool) -> None:
        self._sending = True
        if not self.started:
            await self._start(len(body) if not self._call.request.streamed else None)
        self.finished = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._sent, self._sending = self._sent + 1, False

    async def _start(self, length: int | None) -> None:
        self.started = True
        headers = [
            (b"content-type", self._get_encoder().content_type.encode()),
            *self._headers(None),
        ]
        if length is None:
            headers += STREAM_HEADERS
        else:
            headers += [*BODY_HEADERS, (b"content-length", str(length).encode())]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _headers(self, fault: Fault | None) -> RawHeaders:
        state, progress, served = self._state, self._state.progress, self._state.served
        headers = call_headers(self._call.id)

        replayed = state.replayed
        if replayed is not None:
            headers.append((b"idempotent-replayed", b"true"))
        if served or replayed is not None:
            provider = served if replayed is None else replayed.provider
            headers.append((b"x-gatewayz-provider", provider.encode()))

        if progress.attempts or served:
            # The attempt that serves has its row only at its end.
            count = len(progress.attempts) + progress.has_open_attempt
            headers.append((b"x-gatewayz-attempts", str(count).encode()))
        if state.cost is not None and served:
            headers.append((b"x-gatewayz-cost", usd_text(state.cost).encode()))
        if progress.dropped:
            headers += raw_headers((("x-gatewayz-dropped", ", ".join(progress.dropped)),))

        if progress.candidate is not None and progress.candidate.output_limit is not None:
            limit = str(progress.candidate.output_limit).encode()
            headers.append((b"x-gatewayz-output-limit", limit))

        decision = state.decision
        if decision is not None and decision.burst:
            headers += [
                (b"x-ratelimit-limit-requests", str(decision.burst).encode()),
                (b"x-ratelimit-remaining-requests", str(decision.remaining).encode()),
                (b"x-ratelimit-reset-requests", b"%.3fs" % decision.reset_s),
            ]
        return headers + (fault_headers(fault) if fault is not None else [])

    def _check_progress(self) -> None:
        """The timer: ends the call of a client that does not read, keeps a quiet stream open."""
        now, progress = self._loop.time(), (self._sent, self._sending)
        if progress != self._last_progress:
            self._last_progress, self._last_progress_at = progress, now
        elif self._sending and now - self._last_progress_at >= self._timing.unread_s:
            if self._task is not None:
                self._task.cancel()
            return
        elif (
            not self._sending
            and now - self._last_progress_at >= self._timing.keep_alive_s
            and not self.finished
        ):
            self._start_keep_alive()
        self._timer = self._loop.call_later(self._timing.check_every_s, self._check_progress)

    def _start_keep_alive(self) -> None:
        if self._role.keep_alive:
            # In a task of its own: a timer cannot wait for a client that does not read.
            task = self._loop.create_task(self._send_keep_alive())
            self._keep_alive_tasks.add(task)
            task.add_done_callback(self._keep_alive_tasks.discard)

    async def _send_keep_alive(self) -> None:
        await self._write(self._role.keep_alive, more=True)


def call_headers(call_id: str) -> RawHeaders:
    """Both names under which SDKs look for the id of a request."""
    return [(b"x-request-id", call_id.encode()), (b"request-id", call_id.encode())]


PERMANENT_STATUSES = frozenset({400, 403, 404, 413})
"""Statuses of what stays as it is until somebody changes something."""
NO_RETRY: RawHeaders = [(b"x-should-retry", b"false")]
"""What the official SDKs read before they look at the status."""


def fault_headers(fault: Fault) -> RawHeaders:
    """`Retry-After` where waiting helps, in whole seconds, at least one, and that it does not, else;
    what may be sent instead where an encoding is refused.
    """
    if fault.kind == "unsupported_encoding":
        return [(b"accept-encoding", ACCEPTED.encode())]
    if fault.rule.status in PERMANENT_STATUSES:
        return NO_RETRY
    if fault.rule.status not in {429, 503} and fault.kind != "in_flight":
        return []
    wait_s = fault.retry_after_s if fault.retry_after_s is not None else 1.0
    return [(b"retry-after", str(max(round(wait_s + 0.499), 1)).encode())]


async def send_response(send: Send, response: HttpResponse, headers: RawHeaders) -> None:
    """Sends a whole response: a refusal, or what a handler answered."""
    # A handler may say itself how long its answer holds.
    has_own = any(name == "cache-control" for name, _ in response.headers)
    caching = [] if has_own else BODY_HEADERS
    # 304 has no body, and so no length.
    length = (b"content-length", str(len(response.body)).encode())
    lengths = [] if response.status == 304 else [length]
    # After these the rest of the request may still be on its way.
    closing: RawHeaders = [(b"connection", b"close")] if response.status in {408, 413} else []

    headers = [*raw_headers(response.headers), *headers, *caching, *lengths, *closing]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
