"""Faults: our only exception, one closed table of kinds named by what the reader must do.

The table says for each kind: the status a client sees, what happens before the commit point, what
the breaker makes of it, and how the hold ends: `release` is paid by nobody. Verdicts: `next`
another candidate, `wait` another one now and this one after its `Retry-After`, `larger` a candidate
with a larger context, `stop` the client's own affair.
"""

from typing import Any, Literal

from msgspec import Struct

Verdict = Literal["next", "wait", "larger", "stop"]
BreakerEffect = Literal["none", "count", "trip_credential", "trip_offer", "hide", "cool"]
Ending = Literal["release", "settle"]
Blame = Literal["request", "provider", "gateway"]
"""Whose doing a failure of an attempt may be. What came back may be what the request's body has
caused; a connection that could not be made is the provider's doing; the rest is our own.
"""


class FaultRule(Struct, frozen=True):
    """What follows from a kind of fault.

    `free`: the attempt was refused, it does not count against `attempts`.

    Example: `FaultRule(503, "next", "trip_credential", free=True)`
    """

    status: int
    verdict: Verdict = "stop"
    breaker: BreakerEffect = "none"
    ending: Ending = "release"
    free: bool = False


FAULTS: dict[str, FaultRule] = {
    "bad_request": FaultRule(400),
    "too_large": FaultRule(413),
    "unsupported_encoding": FaultRule(415),
    "unsupported": FaultRule(400),
    "too_long": FaultRule(400),
    "unauthenticated": FaultRule(401),
    "forbidden": FaultRule(403),
    "unknown_model": FaultRule(404),
    "unknown_route": FaultRule(404),
    "not_found": FaultRule(404),
    "wrong_method": FaultRule(405),
    "unpriced": FaultRule(404),
    "insufficient_credit": FaultRule(402),
    "credit_held": FaultRule(429),
    "rate_limited": FaultRule(429),
    "in_flight": FaultRule(409),
    "replay_unavailable": FaultRule(409),
    "idempotency_mismatch": FaultRule(422),
    "config_locked": FaultRule(409),
    "upstream_auth": FaultRule(503, "next", "trip_credential", free=True),
    "upstream_forbidden": FaultRule(503, "next", "trip_offer", free=True),
    "upstream_unpaid": FaultRule(503, "next", "trip_credential", free=True),
    "upstream_unknown_model": FaultRule(503, "next", "hide", free=True),
    "upstream_rejected": FaultRule(400, "stop"),
    "upstream_too_long": FaultRule(400, "larger"),
    "upstream_limited": FaultRule(429, "wait", "cool", free=True),
    "upstream_overloaded": FaultRule(503, "next", "count"),
    "upstream_error": FaultRule(502, "next", "count"),
    "upstream_timeout": FaultRule(504, "next", "count"),
    "upstream_unreachable": FaultRule(502, "next", "count", free=True),
    "upstream_broken": FaultRule(502, "next", "count"),
    "upstream_cut": FaultRule(502, "next", "count"),
    "filtered": FaultRule(400),
    "client_gone": FaultRule(499, ending="settle"),
    "unavailable": FaultRule(503),
    "internal": FaultRule(500),
}

MAX_MESSAGE = 600
"""Characters of a message that anyone is shown."""
OWN_WORDS = " It said: "
"""Within a whole message: what follows are a provider's own words, for operators alone."""
MAX_PARAM = 200
"""Characters of the name of a field: it is the client's own."""


class ContextOverflow(Struct, frozen=True):
    """By how much a prompt is too long, in tokens; `None` where nobody has said.

    `output` is the limit of the answer that was asked for, where it counts against the same context.

    Example: `ContextOverflow(tokens=200_000, limit=128_000)`
    """

    tokens: int | None = None
    limit: int | None = None
    output: int | None = None


class Fault(Exception):
    """Something that the reader must act on; `kind` is a key of `FAULTS`.

    `param` names the field that the client got wrong; `upstream` holds a provider's own words;
    `blame` says whose doing it may be, for a kind that counts against an offer. `overflow` goes
    with `too_long` and `upstream_too_long`: each dialect says it in its API's own words. `details`
    are for machines, where a dialect's SDK reads them. `detail` is for operators alone: hosts, files,
    what a driver said; clients are shown the message.

    Example: `Fault("rate_limited", "Rate limit reached (key_rpm: 60); retry in 0.8 s.",
    retry_after_s=0.8)`
    """

    def __init__(  # noqa: PLR0913 - each of them is named where a fault is raised
        self,
        kind: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        param: str = "",
        provider: str = "",
        upstream: "UpstreamError | None" = None,
        blame: Blame = "request",
        overflow: ContextOverflow | None = None,
        details: "dict[str, Any] | None" = None,
        detail: str = "",
    ) -> None:
        if kind not in FAULTS:
            raise KeyError(kind)
        super().__init__(message)
        self.kind = kind
        self.message = message[:MAX_MESSAGE]
        self.retry_after_s = retry_after_s
        self.param = param[:MAX_PARAM]
        self.provider = provider
        self.upstream = upstream
        self.blame = blame
        self.overflow = overflow
        self.details = details
        self.detail = detail[:MAX_MESSAGE]

    @property
    def whole_message(self) -> str:
        """The message, and after `OWN_WORDS` the provider's words where it does not repeat them."""
        words = self.upstream.message if self.upstream is not None else ""
        said = f"{OWN_WORDS}{words}" if words and words not in self.message else ""
        return f"{self.message}{said}"[:MAX_MESSAGE]

    @property
    def operator_message(self) -> str:
        """The message with what only operators may read."""
        return f"{self.message.removesuffix('.')}: {self.detail}" if self.detail else self.message

    @property
    def rule(self) -> FaultRule:
        return FAULTS[self.kind]

    @property
    def is_suspected(self) -> bool:
        """Whether it counts against an offer, unless the request itself has caused it."""
        return self.blame == "request" and self.rule.breaker == "count"

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, {self.message!r})"


class UpstreamError(Struct, frozen=True):
    """What a provider said when it refused: its status, and type, code, param and message where it
    gave them.

    `unsupported_parameters` are fields of the request that the words name as unknown to the provider
    (they are not shown, only left out of the next attempt); `details` is
    what it says to machines, for clients of its own dialect.

    Example: `UpstreamError("openai_chat", 400, code="context_length_exceeded", param="messages")`
    """

    dialect: str
    status: int
    type: str = ""
    code: str = ""
    param: str = ""
    message: str = ""
    raw: bytes = b""
    retry_after_s: float | None = None
    unsupported_parameters: tuple[str, ...] = ()
    details: dict[str, Any] | None = None
