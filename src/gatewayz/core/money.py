"""Money is an integer: amounts in nano-dollars, prices in pico-dollars per unit.

`cost` is a dot product over the usage buckets at the rates that hold for the call's prompt and
service tier, rounded up once per call, so a cost above zero is always charged.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from operator import attrgetter, gt
from typing import NewType

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from gatewayz.core.faults import Fault
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS, Usage

Nanos = NewType("Nanos", int)
"""1e-9 US dollar."""

_counts, _prices = attrgetter(*BUCKETS), attrgetter(*BUCKETS)

NANOS_PER_USD = 10**9
PICO_PER_USD = 10**12
PICO_PER_NANO = 1_000
MAX_USD = 10**9
"""The largest amount that moves at once; more is a slip of the hand."""
BASIS_POINTS = 10_000
MAX_PICO_PER_UNIT = 10**12
"""A bound against unit mistakes for prices per image, request, second or search; tokens:
`MAX_PICO_PER_TOKEN`.
"""
MAX_PICO_PER_TOKEN = 10**9

FALLBACKS = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
    "image_output": "output",
}
"""The bucket whose price holds where a price list does not name one."""
DEARER_BUCKETS = ("cache_write", "cache_write_1h", "audio_input", "audio_output", "image_output")
"""Buckets that cost a multiple of their fallback at many models: where a price list does not name
one of them, requests that use it are not admitted.
"""


class Tier(Struct, frozen=True):
    """Other rates, in the order of `BUCKETS`: for prompts of more than `above` tokens, or for a
    service tier.

    Example: `Tier(above=200_000, rates=(5_000_000, …))`
    """

    above: int = 0
    service: str = ""
    rates: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if 0 < len(self.rates) < len(BUCKETS):
            # Written before the last buckets were known: its price says nothing of them.
            force_setattr(self, "rates", self.rates + (0,) * (len(BUCKETS) - len(self.rates)))


class Price(Struct, frozen=True, kw_only=True):
    """Pico-dollars per unit, one field for each bucket of `Usage`. $1 per million tokens is
    1,000,000.

    `tiers` are sorted by service and threshold; the last that fits a call holds for all of it.
    `markup_bp` is what we add, in basis points. `unpriced_buckets` are the `DEARER_BUCKETS` that
    its list does not name. A call keeps the price that it was admitted with.

    Example: `Price(input=2_500_000, output=10_000_000)` is $2.50 and $10.00 per million tokens.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    images: int = 0
    pixels: int = 0
    requests: int = 0
    seconds: int = 0
    searches: int = 0
    free: bool = False
    tiers: tuple[Tier, ...] = ()
    markup_bp: int = 0
    version: str = ""
    source: str = ""
    valid_from_ms: int = 0
    unpriced_buckets: tuple[str, ...] = ()


FREE = Price(free=True, version="free")


def cost(usage: Usage, price: Price, markup_bp: int | None = None) -> Nanos:
    """What `usage` costs at `price`, rounded up once; `markup_bp` takes the place of the price's
    own.

    Example: `cost(Usage(input=12, output=3), Price(input=2_500_000, output=10_000_000))` is 60,000
    nano-dollars.
    """
    rates = rates_of(price, usage.prompt, usage.service) if price.tiers else _prices(price)
    pico = sum([count * rate for count, rate in zip(_counts(usage), rates, strict=True) if count])
    return cost_of_pico(pico, price, markup_bp)


def cost_of_pico(pico: int, price: Price, markup_bp: int | None = None) -> Nanos:
    """So many pico-dollars with the markup, rounded up."""
    markup = price.markup_bp if markup_bp is None else markup_bp
    return Nanos(-(-pico * (BASIS_POINTS + markup) // (PICO_PER_NANO * BASIS_POINTS)))


def rates_of(price: Price, prompt: int, service: str = "") -> tuple[int, ...]:
    """The rates that hold for a call with so many prompt tokens, served at this service tier."""
    rates: tuple[int, ...] = _prices(price)
    for tier in price.tiers:
        if prompt > tier.above and tier.service in {"", service}:
            rates = tier.rates
    return rates


BucketRates = Mapping[str, int]
"""Pico-dollars per unit by bucket, as a price list names them: not every bucket."""


def price_from_pico(
    listed: BucketRates, tiers: Mapping[tuple[str, int], BucketRates] | None = None
) -> Price:
    """A whole price.

    Buckets that are not listed take the price of their fallback; in a tier, keyed by service and
    threshold, they keep their proportion to it. Every service has every threshold. Faults:
    `bad_request` for a tier in which a longer prompt is cheaper.
    """
    base = dict(listed)
    for bucket, source in FALLBACKS.items():
        base.setdefault(bucket, base.get(source, 0))
    standard = tuple(base.get(bucket, 0) for bucket in BUCKETS)
    rates_by_tier = {key: _tier_rates(base, rates) for key, rates in (tiers or {}).items()}
    return replace(
        Price(),
        **base,
        tiers=_complete_tiers(standard, rates_by_tier) if rates_by_tier else (),
        unpriced_buckets=tuple(bucket for bucket in DEARER_BUCKETS if bucket not in listed),
    )


def _tier_rates(base: BucketRates, listed: BucketRates) -> tuple[int, ...]:
    rates = {bucket: listed.get(bucket, base.get(bucket, 0)) for bucket in BUCKETS}
    for bucket, source in FALLBACKS.items():
        if bucket not in listed and base.get(source):
            rates[bucket] = -(-base[bucket] * rates[source] // base[source])
    return tuple(rates.values())


def _complete_tiers(
    base: tuple[int, ...], rates_by_tier: Mapping[tuple[str, int], tuple[int, ...]]
) -> tuple[Tier, ...]:
    standard = {0: base} | {
        above: rates for (service, above), rates in rates_by_tier.items() if not service
    }
    services = sorted({service for service, _ in rates_by_tier})
    thresholds = sorted({above for _, above in rates_by_tier} | {0})
    tiers: list[Tier] = []
    for service in services:
        below = rates_by_tier.get((service, 0), base)
        for above in thresholds:
            # A threshold that only another service names is taken at the dearer of what is known.
            own = rates_by_tier.get((service, above))
            rates = own or tuple(map(max, below, standard.get(above, below) if above else below))
            if any(map(gt, below, rates)):
                raise Fault("bad_request", f"above {above} tokens a price is lower than below")
            if (service, above) != ("", 0):
                tiers.append(Tier(above, service, rates))
            below = rates
    return tuple(tiers)


def reprice(before: Price, listed: BucketRates) -> Price:
    """The price with other figures: what `listed` does not name keeps its proportion, tiers too."""
    old = _prices(before)
    new = _tier_rates(dict(zip(BUCKETS, old, strict=True)), listed)
    tiers = tuple(
        replace(
            tier,
            rates=tuple(
                -(-rate * now // was) if was else max(rate, now)
                for rate, was, now in zip(tier.rates, old, new, strict=True)
            ),
        )
        for tier in before.tiers
    )
    unpriced = tuple(bucket for bucket in before.unpriced_buckets if bucket not in listed)
    return replace(
        before, **dict(zip(BUCKETS, new, strict=True)), tiers=tiers, unpriced_buckets=unpriced
    )


def rates_from_usd(listed: Mapping[str, str]) -> dict[str, int]:
    """The figures of a price list as integers. Faults: `bad_request` names the figure."""
    for bucket in listed:
        if bucket not in BUCKETS:
            raise Fault(
                "bad_request",
                f"a price has no bucket named {bucket!r}; it has {', '.join(BUCKETS)}",
            )
    return {bucket: pico_from_usd(bucket, text) for bucket, text in listed.items()}


def pico_from_usd(bucket: str, text: str) -> int:
    """Pico-dollars per unit of `bucket` from decimal text; exact, or a `bad_request` fault."""
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise Fault(
            "bad_request", f"the price of {bucket} is not a decimal number: {text!r}"
        ) from None
    per_million = bucket in MILLION_BUCKETS
    scale = 10**6 if per_million else PICO_PER_USD
    limit = MAX_PICO_PER_TOKEN if per_million else MAX_PICO_PER_UNIT
    scaled = usd * scale
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or not 0 <= scaled <= limit:
        raise Fault(
            "bad_request",
            f"the price of {bucket} must be from 0 to {limit // scale} US dollars, "
            f"in whole pico-dollars a unit: {text!r}",
        )
    return int(scaled)


def usd_from_pico(pico: int) -> str:
    """Pico-dollars as decimal text, exactly.

    Example: `usd_from_pico(2_500_000)` is `"0.0000025"`.
    """
    dollars, rest = divmod(pico, PICO_PER_USD)
    return f"{dollars}.{rest:012d}".rstrip("0").rstrip(".")


def usd_text(amount: Nanos) -> str:
    """The amount in US dollars as plain decimal text of at most nine decimals.

    Example: `usd_text(Nanos(60_000))` is `"0.00006"`.
    """
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**9)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"


def money_fields(**amounts: int) -> dict[str, str | int]:
    """Each amount in nano-dollars as text, and beside it as the whole number that it is.

    Example: money_fields(cost=1_500_000) is {"cost": "0.0015", "cost_nanos": 1_500_000}
    """
    fields: dict[str, str | int] = {}
    for name, nanos in amounts.items():
        fields |= {name: usd_text(Nanos(nanos)), f"{name}_nanos": nanos}
    return fields


def nanos_from_usd(text: str) -> Nanos:
    """US dollars as decimal text, exactly. Faults: `bad_request`."""
    try:
        nanos = Decimal(text) * NANOS_PER_USD
    except InvalidOperation:
        raise Fault(
            "bad_request", f"{text[:40]!r} is not an amount in US dollars, such as 12.50."
        ) from None
    if (
        not nanos.is_finite()
        or nanos != nanos.to_integral_value()
        or abs(nanos) > MAX_USD * NANOS_PER_USD
    ):
        raise Fault(
            "bad_request",
            f"{text[:40]!r} is not an amount of at most nine decimals and ${MAX_USD}.",
        )
    return Nanos(int(nanos))
