"""The log: one JSON line a call, no prompts, no keys; on a terminal the same for people.

Fields are an allow-list: what is not named is not written. Lines of a batch leave in one write.
Strings pass a second net that hides anything that looks like a key.
"""

import os
import re
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.facts import (
    AttemptEnded,
    BreakerMoved,
    CallEnded,
    CallRefused,
    Fact,
    ListingRead,
    NotificationAttempted,
    Warned,
)
from gatewayz.core.faults import OWN_WORDS
from gatewayz.core.money import usd_text
from gatewayz.core.redaction import Redactor
from gatewayz.core.text_bounds import shorten

SECRETS = re.compile(rb"(?:gw_(?:live|test)_|sk-|gsk_|xai-|hf_|Bearer )[A-Za-z0-9_\-.]{6,}")
MASK = b"***"
MAX_WAITING_BATCHES = 256
MAX_LINE_BYTES, MAX_FIELD_CHARS = 4_096, 256
"""A longer line is written with each of its texts cut to so many characters."""
CLOSE_TIMEOUT_S = 2.0
STOP = b""
HEAD_FIELDS = ("ts", "level", "event", "message")


class LogLine(Struct, omit_defaults=True, kw_only=True):
    """One line of the log; a field that is not set is left out. Money is decimal text.

    Example: `LogLine(ts="2026-01-31T12:00:00.000+00:00", level="info", event="call", status=200)`
    """

    ts: str
    level: str
    event: str
    request_id: str = ""
    trace: str = ""
    account: str = ""
    key: str = ""
    client: str = ""
    endpoint: str = ""
    model: str = ""
    provider: str = ""
    upstream_id: str = ""
    status: int = 0
    fault: str = ""
    message: str = ""
    stream: bool = False
    first_event_ms: int | None = None
    duration_ms: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    estimated: bool = False
    unpriced: bool = False
    cost_usd: str = ""
    attempts: int = 0
    stop: str = ""
    state: str = ""
    worker: int = 0


def line_from_fact(fact: Fact, ts: str) -> LogLine | None:
    """The line that a fact is worth; successful attempts are in the line of their call."""
    match fact:
        case CallEnded():
            return _call_line(fact, ts)
        case CallRefused(id=call, endpoint=endpoint, fault=fault, status=status, path=path):
            return LogLine(
                ts=ts,
                level="info",
                event="refused",
                request_id=call,
                endpoint=path or endpoint,
                fault=fault,
                status=status,
            )
        case AttemptEnded(call=call, endpoint=endpoint, attempt=attempt):
            if not attempt.fault or attempt.fault == "client_gone":
                return None
            return LogLine(
                ts=ts,
                level="warning",
                event="attempt_failed",
                request_id=call,
                endpoint=endpoint,
                provider=attempt.provider,
                upstream_id=attempt.upstream_id,
                status=attempt.status,
                fault=attempt.fault,
                # No text of a provider's is in the log.
                message=attempt.message.partition(OWN_WORDS)[0],
                duration_ms=attempt.ended_ms - attempt.started_ms,
            )
        case BreakerMoved(provider=provider, subject=subject, state=state, why=why):
            return LogLine(
                ts=ts,
                level="warning",
                event="breaker",
                provider=provider,
                upstream_id=subject,
                state=state,
                fault=why,
            )
        case ListingRead():
            return _listing_line(fact, ts)
        case NotificationAttempted(
            account=account, id=id, kind=kind, outcome=outcome, status=status, why=why
        ):
            return LogLine(
                ts=ts,
                level="info" if outcome == "delivered" else "warning",
                event="notification",
                request_id=id,
                account=account,
                status=status,
                message=f"{kind}: {outcome}{f', {why}' if why else ''}",
            )
        case Warned(subject=subject, message=message):
            return LogLine(ts=ts, level="error", event=subject, message=message)


def _shorten_line(line: LogLine) -> LogLine:
    texts = {
        name: text
        for name in line.__struct_fields__
        if isinstance(text := getattr(line, name), str)
    }
    return replace(line, **{name: shorten(text, MAX_FIELD_CHARS) for name, text in texts.items()})


def _listing_line(fact: ListingRead, ts: str) -> LogLine:
    counts = f"{fact.models} models, {fact.prices} prices, {fact.quarantined} quarantined"
    return LogLine(
        ts=ts,
        level="warning" if fact.fault or fact.doubted else "info",
        event="listing",
        provider=fact.provider,
        fault=fact.fault,
        message=fact.message or "; ".join(filter(None, (counts, fact.doubted))),
    )


def _call_line(fact: CallEnded, ts: str) -> LogLine:
    outcome = fact.outcome
    usage = outcome.usage
    failed = outcome.fault and outcome.fault != "client_gone"
    return LogLine(
        ts=ts,
        level="warning" if failed else "info",
        event="call",
        request_id=fact.id,
        trace=fact.trace,
        account=fact.account,
        key=fact.key,
        client=fact.address,
        endpoint=fact.endpoint,
        model=fact.model,
        provider=outcome.served,
        upstream_id=outcome.upstream_id,
        status=outcome.status,
        fault=outcome.fault,
        message=outcome.message,
        stream=fact.streamed,
        first_event_ms=outcome.first_event_ms,
        duration_ms=outcome.duration_ms,
        input_tokens=usage.prompt,
        output_tokens=usage.completion,
        cached_tokens=usage.cache_read,
        reasoning_tokens=usage.reasoning,
        images=usage.images,
        estimated=usage.estimated,
        unpriced=outcome.unpriced,
        cost_usd=usd_text(outcome.cost),
        attempts=len(outcome.attempts),
        stop=outcome.stop,
    )


class LogWriter:
    """Writes the lines of a batch in one go, in a thread of its own: a stuck sink holds no call up.

    Bounded: beyond `max_waiting` batches that wait for the sink, lines are dropped and counted.
    `shared`: other processes write there too, so lines leave in pieces that a pipe takes whole;
    `worker` is this one's number.
    """

    def __init__(
        self,
        descriptor: int,
        max_waiting: int = MAX_WAITING_BATCHES,
        *,
        shared: bool = False,
        worker: int = 0,
        redactor: Redactor | None = None,
    ):
        """On a terminal lines are for people."""
        self._descriptor = descriptor
        self._worker = worker
        self._redact = (redactor or Redactor()).redact
        self._pieces = split_for_pipe if shared else _one_piece
        is_terminal = os.isatty(descriptor)
        self._encode = readable_line if is_terminal else msgspec.json.Encoder().encode
        self._waiting: Queue[bytes] = Queue(max_waiting)
        self._thread = Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def on_facts(self, facts: Sequence[Fact]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = []
        for fact in facts:
            line = line_from_fact(fact, now)
            if line is not None:
                line.worker = self._worker
                if line.message:
                    line.message = self._redact(line.message)
                if line.event == "refused":
                    # The path is a stranger's: whatever it holds, no secret of ours stays in it.
                    line.endpoint = self._redact(line.endpoint)
                text = self._encode(line)
                if len(text) > MAX_LINE_BYTES:
                    text = self._encode(_shorten_line(line))
                lines.append(text)
        if not lines:
            return

        try:
            self._waiting.put_nowait(SECRETS.sub(MASK, b"\n".join(lines) + b"\n"))
        except Full:
            self.dropped += len(lines)

    def close(self, wait_s: float = CLOSE_TIMEOUT_S) -> None:
        """Writes what still waits, for at most `wait_s`."""
        try:
            self._waiting.put(STOP, timeout=wait_s)
        except Full:
            return
        self._thread.join(wait_s)

    def _write_all(self) -> None:
        while (text := self._waiting.get()) != STOP:
            for piece in self._pieces(text):
                self._write(piece)

    def _write(self, text: bytes) -> None:
        try:
            while text:
                text = text[os.write(self._descriptor, text) :]
        except OSError:
            self.dropped += text.count(b"\n")


def readable_line(line: LogLine) -> bytes:
    """A line for people: `12:00:01 call 200 openai/gpt-4o → openai/gpt-4o 12+5 tokens $0.00002`.

    Nothing in it moves the cursor or begins a line: texts may be a stranger's.
    """
    level = "" if line.level == "info" else f"{line.level.upper()} "
    if line.event == "call":
        offer = f"{line.provider}/{line.upstream_id}" if line.provider else "–"
        ending = f" {line.fault}: {line.message}" if line.fault else ""
        parts = (
            f"{line.status}{ending} {line.model} → {offer} "
            f"{line.input_tokens}+{line.output_tokens} tokens ${line.cost_usd} "
            f"{line.duration_ms} ms {line.account} {line.request_id}"
        )
    else:
        fields = [name for name in line.__struct_fields__ if name not in HEAD_FIELDS]
        shown = [f"{name}={getattr(line, name)}" for name in fields if getattr(line, name)]
        parts = " ".join((line.message, *shown)).strip()
    text = f"{line.ts[11:19]} {level}{line.event} {parts}"
    return "".join(char if char.isprintable() else "?" for char in text).encode()


def _one_piece(text: bytes) -> tuple[bytes, ...]:
    return (text,)


def split_for_pipe(text: bytes, limit: int = select.PIPE_BUF) -> Iterator[bytes]:
    """Whole lines, as many together as a pipe takes without another process's between them."""
    start = end = 0
    while end < len(text):
        after = text.find(b"\n", end) + 1 or len(text)
        if after - start > limit and end > start:
            yield text[start:end]
            start = end
        end = after
    if end > start:
        yield text[start:end]


def open_log(
    target: str,
    stack: AsyncExitStack,
    *,
    shared: bool = False,
    worker: int = 0,
    redactor: Redactor | None = None,
) -> LogWriter | None:
    """The writer for `stdout`, `stderr`, a file, or `off`. Raises `OSError` for the file."""
    if target == "off":
        return None
    if target in {"stdout", "stderr"}:
        descriptor = (sys.stdout if target == "stdout" else sys.stderr).fileno()
    else:
        descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        stack.callback(os.close, descriptor)
    writer = LogWriter(descriptor, shared=shared, worker=worker, redactor=redactor)
    stack.callback(writer.close)
    return writer
