"""Who pays: what a call is charged, as a table of how it ended; and how much output a hold covers. Decisions only.

| ended by | charged |
|---|---|
| nobody accepted it, an error before or in the answer, an empty answer | nothing |
| the answer's end, or our stop because nothing more could be held | the usage of the attempt that served |
| a client that left, or whose own time limit passed | what was delivered; at most the hold |
"""

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.pricing import expected
from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, Price, cost
from gatewayz.core.requests import BYTES_PER_TOKEN
from gatewayz.core.usage import Usage
from gatewayz.ports.books import Hold
from gatewayz.routing.plan import Candidate

EXTEND_AT = 0.8
"""How much of what a hold covers is delivered before more is held."""
NOTHING = Nanos(0)


def worth(usage: Usage, price: Price, markup_bp: int | None, *, empty: bool) -> Nanos:
    """What a whole answer costs. `empty`: nothing was said; it is free unless the model was paid for thinking."""
    return NOTHING if empty and not usage.completion else cost(usage, price, markup_bp)


def charged(whole: Nanos, hold: Hold | None, fault: Fault | None, *, late: bool) -> Nanos:
    """What is taken of what the answer is worth. `late`: the call's own time has passed, which is like leaving."""
    if fault is None:
        return whole
    if fault.rule.ending == "release" and not (late and fault.kind == "upstream_timeout"):
        return NOTHING
    return min(whole, hold.amount) if hold is not None and hold.kept else whole


class Allowance(Struct, frozen=True):
    """Output that a hold covers, in tokens; `amount` is what `step` more of them cost, `most` what the model can."""

    tokens: int
    step: int
    amount: Nanos
    most: int | None

    @property
    def room(self) -> float:
        """Bytes of output after which more is to be held; none when the model cannot say more."""
        if self.most is not None and self.tokens >= self.most:
            return float("inf")
        return self.tokens * EXTEND_AT * BYTES_PER_TOKEN

    def extended(self) -> "Allowance":
        return replace(self, tokens=self.tokens + self.step)


def allowance(call: Call, hold: Hold, candidate: Candidate) -> Allowance | None:
    """What the hold covers of an answer without a limit; nothing where output is not counted."""
    request, offer = call.request, candidate.offer
    if not (hold.kept and request.open_ended and request.streamed) or offer.price is None:
        return None
    usage = expected(request, offer)
    markup_bp = call.principal.markup_bp
    amount = cost(usage, offer.price, markup_bp) - cost(
        replace(usage, output=0), offer.price, markup_bp
    )
    most = None if offer.max_output is None else offer.max_output * request.choices
    return Allowance(usage.output, usage.output, Nanos(amount), most) if amount else None
