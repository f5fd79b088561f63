"""Faults: our only exception, one closed table of kinds named by what the reader must do.

The table says for each kind: the status a client sees, what happens before the commit point, what the breaker makes
of it, and how the hold ends: `release` is paid by nobody. Verdicts: `next` another candidate, `wait` another one now
and this one after its `Retry-After`, `larger` a candidate with a larger context, `stop` the client's own affair.
"""

from typing import Literal

from msgspec import Struct

Verdict = Literal["next", "wait", "larger", "stop"]
BreakerEffect = Literal["none", "count", "trip_credential", "trip_offer", "hide", "cool"]
Ending = Literal["release", "settle"]


class FaultRule(Struct, frozen=True):
    """What follows from a kind of fault. `free`: the attempt was refused, it does not count against `attempts`."""

    status: int
    verdict: Verdict = "stop"
    breaker: BreakerEffect = "none"
    ending: Ending = "release"
    free: bool = False


FAULTS: dict[str, FaultRule] = {
    "bad_request": FaultRule(400),
    "too_large": FaultRule(413),
    "unsupported": FaultRule(400),
    "unauthenticated": FaultRule(401),
    "forbidden": FaultRule(403),
    "unknown_model": FaultRule(404),
    "unknown_route": FaultRule(404),
    "wrong_method": FaultRule(405),
    "unpriced": FaultRule(503),
    "insufficient_credit": FaultRule(402),
    "credit_held": FaultRule(429),
    "rate_limited": FaultRule(429),
    "in_flight": FaultRule(409),
    "replay_unavailable": FaultRule(409),
    "other_request": FaultRule(422),
    "set_in_file": FaultRule(409),
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


class Fault(Exception):
    """Something that the reader must act on; `kind` is a key of `FAULTS`.

    `param` names the field that the client got wrong; `upstream` holds a provider's own words.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        param: str = "",
        provider: str = "",
        upstream: "UpstreamWords | None" = None,
    ) -> None:
        if kind not in FAULTS:
            raise KeyError(kind)
        super().__init__(message)
        self.kind = kind
        self.message = message[:MAX_MESSAGE]
        self.retry_after_s = retry_after_s
        self.param = param
        self.provider = provider
        self.upstream = upstream

    @property
    def rule(self) -> FaultRule:
        return FAULTS[self.kind]

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, {self.message!r})"


class UpstreamWords(Struct, frozen=True):
    """What a provider said when it refused: its status, and type, code, param and message where it gave them."""

    dialect: str
    status: int
    type: str = ""
    code: str = ""
    param: str = ""
    message: str = ""
    raw: bytes = b""
    retry_after_s: float | None = None
