"""Gates: what no price may be, whoever lists it. A price that does not pass is quarantined and shown, never used."""

from collections.abc import Container, Iterable
from statistics import median

from gatewayz.core.money import FALLBACKS, MAX_PICO_PER_TOKEN, MAX_PICO_PER_UNIT, Listed
from gatewayz.core.usage import MILLION_BUCKETS

MAX_APART = 5
"""How many times a price may be above or below the median of the model's other offers."""
COMPARED = ("input", "output", "images")
"""The figures by which offers are compared; the others follow from them or are rarely listed."""
PAID_BY = ("output", "requests", "images", "pixels", "seconds")
"""What answers are paid by; a list that says none of these has left something out."""


def believed(listed: Listed) -> dict[str, int]:
    """The figures without the zeros that mean "no charge of its own": such a bucket costs what it falls back on."""
    return {
        bucket: pico
        for bucket, pico in listed.items()
        if pico or not listed.get(FALLBACKS.get(bucket, ""), 0)
    }


def why_not_sane(listed: Listed, serves: Container[str], *, free: bool) -> str:
    """What is wrong with a price in itself; empty when nothing is."""
    for bucket, pico in listed.items():
        limit = MAX_PICO_PER_TOKEN if bucket in MILLION_BUCKETS else MAX_PICO_PER_UNIT
        if not 0 <= pico <= limit:
            return f"{bucket} is {'below zero' if pico < 0 else 'above any price there is'}"
    if free:
        return ""
    if not any(listed.values()):
        return "listed at zero, and not known to be free"
    if "chat" in serves and not any(listed.get(bucket) for bucket in PAID_BY):
        return "output is listed at zero"
    return ""


def why_far(listed: Listed, others: Iterable[Listed]) -> str:
    """Which figure is too far from the median of the others'; empty when none is, or none can be compared."""
    known = [other for other in others if any(other.values())]
    for bucket in COMPARED:
        theirs = [other[bucket] for other in known if other.get(bucket)]
        own = listed.get(bucket, 0)
        if not theirs or not own:
            continue
        middle = median(theirs)
        if own > middle * MAX_APART or own * MAX_APART < middle:
            times = own / middle if own > middle else middle / own
            return f"{bucket} is {times:.1f} times {'above' if own > middle else 'below'} the model's other offers"
    return ""
