"""Money is an integer: amounts in nano-dollars, prices in pico-dollars per unit.

`cost` is a dot product over the usage buckets, rounded up once per call, so a cost above zero is always charged.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import NewType

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.core.usage import BUCKETS, TOKEN_BUCKETS, Usage

Nanos = NewType("Nanos", int)
"""1e-9 US dollar."""

_counts, _prices = attrgetter(*BUCKETS), attrgetter(*BUCKETS)

PICO_PER_NANO = 1_000
BASIS_POINTS = 10_000
MAX_PICO_PER_UNIT = 10**12
"""A bound against unit mistakes for prices per image, request or second; tokens: `MAX_PICO_PER_TOKEN`."""
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


class Price(Struct, frozen=True, kw_only=True):
    """Pico-dollars per unit, one field a bucket of `Usage`. $1 per million tokens is 1,000,000."""

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
    requests: int = 0
    seconds: int = 0
    free: bool = False
    version: str = ""
    valid_from_ms: int = 0


FREE = Price(free=True, version="free")


def cost(usage: Usage, price: Price, markup_bp: int = 0) -> Nanos:
    """What `usage` costs at `price`, rounded up once; `markup_bp` in basis points on top."""
    pico = sum([count * each for count, each in zip(_counts(usage), _prices(price), strict=True) if count])
    return Nanos(-(-pico * (BASIS_POINTS + markup_bp) // (PICO_PER_NANO * BASIS_POINTS)))


def price_from_usd(listed: Mapping[str, str], version: str = "") -> Price:
    """A price from decimal text: USD per million tokens; images, requests, seconds in USD each.

    Buckets that are not listed take the price of their fallback. Faults: `bad_request` names the figure.
    """
    pico: dict[str, int] = {}
    for bucket, text in listed.items():
        if bucket not in BUCKETS:
            raise Fault("bad_request", f"a price has no bucket named {bucket!r}; it has {', '.join(BUCKETS)}")
        pico[bucket] = pico_from_usd(bucket, text)
    for bucket, source in FALLBACKS.items():
        pico.setdefault(bucket, pico.get(source, 0))
    return replace(Price(version=version), **pico)


def pico_from_usd(bucket: str, text: str) -> int:
    """Pico-dollars per unit of `bucket` from decimal text; exact, or a `bad_request` fault."""
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise Fault("bad_request", f"the price of {bucket} is not a decimal number: {text!r}") from None
    token = bucket in TOKEN_BUCKETS
    scaled = usd * (10**6 if token else 10**12)
    limit = MAX_PICO_PER_TOKEN if token else MAX_PICO_PER_UNIT
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or not 0 <= scaled <= limit:
        raise Fault("bad_request", f"the price of {bucket} must be 0 or more, finite and sane: {text!r}")
    return int(scaled)


def usd_text(amount: Nanos) -> str:
    """The amount in US dollars as plain decimal text of at most nine decimals."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**9)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"
