"""Delivery of one answer: when the status line leaves, what it carries, and what keeps a quiet stream open.

The status line of a stream waits for the first frames, at most 15 s; then 200 and keep-alive comments, still
uncommitted. One timer a response, which looks again when it fires: nothing is paid per chunk.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.events import Failed, Frame, is_end
from gatewayz.core.faults import Fault
from gatewayz.core.money import usd_text
from gatewayz.dialects.base import ClientRole, Encoder, Spoken
from gatewayz.engine.tally import Tally
from gatewayz.web.asgi import RawHeaders, Send, raw

STREAM_HEADERS: RawHeaders = [
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
BODY_HEADERS: RawHeaders = [(b"cache-control", b"no-store")]


class Pace(Struct, frozen=True, kw_only=True):
    """Seconds: the longest silence on a stream, the longest a client may not read, and how often to look."""

    keep_alive_s: float = 15.0
    unread_s: float = 30.0
    look_s: float = 5.0


class Delivery:
    """Sends one call's answer to its client."""

    def __init__(self, call: Call, role: ClientRole, tally: Tally, send: Send, pace: Pace) -> None:
        self._call = call
        self._role = role
        self._tally = tally
        self._send = send
        self._pace = pace
        self._encoder: Encoder | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._beats: set[asyncio.Task[None]] = set()
        # A timer looks at these now and then, so that a chunk pays two assignments and no clock.
        self._sent, self._sending = 0, False
        self._seen: tuple[int, bool] = (0, False)
        self._seen_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.started = False
        self.over = False

    async def deliver(self, batches: AsyncGenerator[list[Frame], None]) -> None:
        """Writes the batches. A fault before anything was sent is a refusal; after that it ends the stream."""
        streamed, send = self._call.request.streamed, self._send
        if streamed:
            self._timer = self._loop.call_later(self._pace.look_s, self._look)
        try:
            async with aclosing(batches):
                async for frames in batches:
                    encoder = self._encoder or self._speaking()
                    body = encoder.feed(frames)
                    if self.over or not (body or is_end(frames)):
                        continue
                    if not self.started or not streamed or is_end(frames):
                        await self._write(body, more=streamed and not is_end(frames))
                        continue
                    # As `_write`, without a coroutine of its own: every event but the first and last comes this way.
                    self._sending = True
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    self._sent, self._sending = self._sent + 1, False
        except Fault as fault:
            await self.fail(fault)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _speaking(self) -> Encoder:
        """The encoder, made when there is something to say: an answer that is given again keeps its id and date."""
        if self._encoder is None:
            call, kept = self._call, self._tally.replayed
            if kept is not None:
                call = replace(call, id=kept.call, received_ms=kept.received_ms)
            self._encoder = self._role.encoder(call, call.received_ms // 1000)
        return self._encoder

    async def fail(self, fault: Fault) -> None:
        """Ends the answer with a fault, in the client's dialect."""
        if self.over:
            return
        if self.started:
            await self._write(self._speaking().feed([Frame((Failed(fault),))]), more=False)
        else:
            self.started = self.over = True
            await refuse(self._send, self._role.refusal(fault, self._call.id), self._headers(fault))

    async def _write(self, body: bytes, *, more: bool) -> None:
        self._sending = True
        if not self.started:
            await self._start(len(body) if not self._call.request.streamed else None)
        self.over = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._sent, self._sending = self._sent + 1, False

    async def _start(self, length: int | None) -> None:
        self.started = True
        headers = [(b"content-type", self._speaking().content_type.encode()), *self._headers(None)]
        if length is None:
            headers += STREAM_HEADERS
        else:
            headers += [*BODY_HEADERS, (b"content-length", str(length).encode())]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _headers(self, fault: Fault | None) -> RawHeaders:
        tally = self._tally
        headers = call_headers(self._call.id)
        kept = tally.replayed
        if kept is not None:
            headers.append((b"idempotent-replayed", b"true"))
        if tally.served or kept is not None:
            provider = kept.provider if kept is not None else tally.served
            headers.append((b"x-gatewayz-provider", provider.encode()))
        if tally.attempts or tally.served:
            # The attempt that serves has its row only at its end.
            running = bool(tally.served) and not any(not row.fault for row in tally.attempts)
            headers.append((b"x-gatewayz-attempts", str(len(tally.attempts) + running).encode()))
        if tally.cost is not None and tally.served:
            headers.append((b"x-gatewayz-cost", usd_text(tally.cost).encode()))
        if tally.dropped:
            headers += raw((("x-gatewayz-dropped", ", ".join(tally.dropped)),))
        decision = tally.decision
        if decision is not None and decision.limit:
            headers += [
                (b"x-ratelimit-limit-requests", str(decision.limit).encode()),
                (b"x-ratelimit-remaining-requests", str(decision.remaining).encode()),
                (b"x-ratelimit-reset-requests", b"%.3fs" % decision.reset_s),
            ]
        return headers + (retry_headers(fault) if fault is not None else [])

    def _look(self) -> None:
        """The timer: a client that does not read is given up, a quiet stream is kept open."""
        now, seen = self._loop.time(), (self._sent, self._sending)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        elif self._sending and now - self._seen_at >= self._pace.unread_s:
            if self._task is not None:
                self._task.cancel()
            return
        elif not self._sending and now - self._seen_at >= self._pace.keep_alive_s and not self.over:
            self._keep_open()
        self._timer = self._loop.call_later(self._pace.look_s, self._look)

    def _keep_open(self) -> None:
        if self._role.keep_alive:
            beat = self._loop.create_task(self._beat())
            self._beats.add(beat)
            beat.add_done_callback(self._beats.discard)

    async def _beat(self) -> None:
        await self._write(self._role.keep_alive, more=True)


def call_headers(call_id: str) -> RawHeaders:
    """Both names under which SDKs look for the id of a request."""
    return [(b"x-request-id", call_id.encode()), (b"request-id", call_id.encode())]


def retry_headers(fault: Fault) -> RawHeaders:
    """`Retry-After` where waiting helps, in whole seconds, at least one."""
    if fault.rule.status not in {429, 503} and fault.kind != "in_flight":
        return []
    wait_s = fault.retry_after_s if fault.retry_after_s is not None else 1.0
    return [(b"retry-after", str(max(round(wait_s + 0.499), 1)).encode())]


async def refuse(send: Send, spoken: Spoken, headers: RawHeaders) -> None:
    """Sends a whole answer that is no success."""
    length = (b"content-length", str(len(spoken.body)).encode())
    closing: RawHeaders = [(b"connection", b"close")] if spoken.status in {408, 413} else []
    # A page may say itself how long it holds; what has no body has no length.
    kept = [] if any(name == "cache-control" for name, _ in spoken.headers) else BODY_HEADERS
    lengths = [] if spoken.status == 304 else [length]
    every = [*raw(spoken.headers), *headers, *kept, *lengths, *closing]
    await send({"type": "http.response.start", "status": spoken.status, "headers": every})
    await send({"type": "http.response.body", "body": spoken.body, "more_body": False})
