"""A ceiling: how much is held for a call before it, as an amount or as a range.

A range is decided where the money is locked: what is held follows from what is free at that moment.
"""

from msgspec import Struct

from gatewayz.core.money import PICO_PER_NANO, Nanos

SHARE = 4
"""Of what is free, one call of unknown length holds one part in so many."""


class Ceiling(Struct, frozen=True):
    """What a call may cost, in nano-dollars.

    `step` is held where nothing else is said. `least` is the smallest hold with which the call is
    of any use, `most` what it can cost; `base` is what of them a share of what is free comes on top
    of. Without `least` and `most` the ceiling is exact. `fixed` is what of them is for all but the
    answer, and a token of the answer costs `token_pico` pico-dollars, for all its choices.

    Example: `Ceiling(Nanos(41_000_000), least=Nanos(2_600_000), most=Nanos(164_000_000))`
    """

    step: Nanos
    least: Nanos | None = None
    most: Nanos | None = None
    base: Nanos = Nanos(0)
    fixed: Nanos = Nanos(0)
    token_pico: int = 0

    @property
    def smallest(self) -> Nanos:
        """The smallest hold with which the call goes on."""
        return self.step if self.least is None else self.least

    @property
    def largest(self) -> Nanos:
        """The largest hold that the call can need."""
        return self.step if self.most is None else self.most

    def amount(self, free: int | None) -> Nanos:
        """What is held of `free`: at least `smallest`, or `None` where nothing bounds it."""
        if free is None:
            return self.largest
        return Nanos(min(self.largest, max(self.step, self.base + free // SHARE), free))

    def tokens(self, amount: int) -> int:
        """Tokens of each answer that `amount` covers, not below zero."""
        if not self.token_pico:
            return 0
        return max((amount - self.fixed) * PICO_PER_NANO // self.token_pico, 0)
