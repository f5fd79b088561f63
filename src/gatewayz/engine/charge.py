"""Who pays: what a call is charged, as a table of how it ended; and how much output a hold covers.

Decisions only.

| ended by | charged |
|---|---|
| nobody accepted it, an error before or in the answer, an empty answer | nothing |
| the answer's end, or our stop when no more can be held | the usage of the attempt that served |
| a client that left, or whose own time limit passed | what was delivered; at most the hold |
"""

import math

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, Price, cost
from gatewayz.core.usage import Usage
from gatewayz.engine.output_limits import OutputKind, OutputTerms
from gatewayz.ports.books import Hold
from gatewayz.routing.candidates import Candidate

EXTEND_AT = 0.8
"""How much of a step is delivered before the next one is held."""
MIN_BYTES_BETWEEN = 64
"""A token has a byte at least, so many more bytes are at most so many tokens: it is looked again
after as many bytes as tokens are left, and not at every one of the last.
"""
NO_CHARGE = Nanos(0)


def answer_cost(usage: Usage, price: Price, markup_bp: int | None, *, empty: bool) -> Nanos:
    """What a whole answer costs.

    `empty`: it has no block; it is free unless the model was paid for thinking.
    """
    return NO_CHARGE if empty and not usage.completion else cost(usage, price, markup_bp)


def charge(whole: Nanos, hold: Hold | None, fault: Fault | None, *, late: bool) -> Nanos:
    """What a client is charged of `whole`, the full cost.

    `late`: the call's own time has passed, which is like leaving.
    """
    if fault is None:
        return whole
    if fault.rule.ending == "release" and not (late and fault.kind == "upstream_timeout"):
        return NO_CHARGE
    return min(whole, hold.amount) if hold is not None and hold.recorded else whole


class Allowance(Struct, frozen=True):
    """Output that a hold covers, in tokens.

    `step` more of them cost `amount`; the model can say `max_tokens`.

    Example: `Allowance(tokens=4_096, step=4_096, amount=Nanos(40_960_000), max_tokens=16_384)`
    """

    tokens: int
    step: int
    amount: Nanos
    max_tokens: int

    def bytes_until_due(self, tokens: int) -> float:
        """How many more bytes may leave, after so many tokens, before it is looked again whether
        more is to be held; zero when it is, infinite when the model cannot say more.
        """
        if self.tokens >= self.max_tokens:
            return math.inf
        left = self.tokens - self.step * (1 - EXTEND_AT) - tokens
        return max(left, MIN_BYTES_BETWEEN) if left > 0 else 0.0

    def extend(self) -> "Allowance":
        """The allowance after the hold was extended by `amount`."""
        return replace(self, tokens=self.tokens + self.step)


UNBOUNDED = Allowance(tokens=0, step=0, amount=Nanos(0), max_tokens=0)
"""All that there is: what is held was decided before the call."""


def allowance_from_hold(
    call: Call, hold: Hold, candidate: Candidate, terms: OutputTerms | None
) -> Allowance:
    """What the hold covers of an answer that is shown; no other one is extended."""
    if terms is None or terms.kind is not OutputKind.SHOWN or not terms.token_pico:
        return UNBOUNDED
    amount = Nanos(terms.amount(terms.step) - terms.fixed)
    choices = call.request.choices
    return Allowance(
        tokens=terms.tokens(hold.amount) * choices,
        step=terms.step * choices,
        amount=amount,
        max_tokens=(candidate.output_limit or terms.cap) * choices,
    )
