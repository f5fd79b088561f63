"""Who pays: what a call is charged, as a table of how it ended; and how much output a hold covers.

Decisions only.

| ended by | charged |
|---|---|
| nobody accepted it, an error before or in the answer, an empty answer | nothing |
| the answer's end, or our stop when no more can be held | the usage of the attempt that served |
| a client that left, or whose own time limit passed | what was delivered; at most the hold |
"""

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.pricing import worst_case_usage
from gatewayz.core.calls import Call
from gatewayz.core.estimates import BYTES_PER_TOKEN
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, Price, cost
from gatewayz.core.usage import Usage
from gatewayz.ports.books import Hold
from gatewayz.routing.plan import Candidate

EXTEND_AT = 0.8
"""How much of what a hold covers is delivered before more is held."""
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
    max_tokens: int | None

    @property
    def extend_at_bytes(self) -> float:
        """Bytes of output after which more is to be held; none when the model cannot say more."""
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            return float("inf")
        return self.tokens * EXTEND_AT * BYTES_PER_TOKEN

    def extend(self) -> "Allowance":
        """The allowance after the hold was extended by `amount`."""
        return replace(self, tokens=self.tokens + self.step)


def allowance_from_hold(call: Call, hold: Hold, candidate: Candidate) -> Allowance | None:
    """What the hold covers of an answer without a limit; nothing where output is not counted."""
    request, offer = call.request, candidate.offer
    if not (hold.recorded and request.open_ended and request.streamed) or offer.price is None:
        return None
    usage = worst_case_usage(request, offer)
    markup_bp = call.principal.markup_bp
    prompt_cost = cost(replace(usage, output=0), offer.price, markup_bp)
    amount = Nanos(cost(usage, offer.price, markup_bp) - prompt_cost)
    if not amount:
        return None
    max_tokens = None if offer.max_output is None else offer.max_output * request.choices
    return Allowance(tokens=usage.output, step=usage.output, amount=amount, max_tokens=max_tokens)
