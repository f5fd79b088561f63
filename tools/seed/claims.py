"""Claims: what several sources say of one native id, and which of them is believed.

Laws: an exact id beats a pattern. Sources that name the id and differ by more than a tenth hold the
row until a person has decided (`decisions.toml`). An older list contradicts no newer one. What the
believed source leaves out is taken from another only where both name the same prices in and out.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from tools.seed.figures import GENAI, LITELLM, MODELS_DEV, Figures, Rates

from gatewayz.core.money import FALLBACKS
from gatewayz.core.usage import MILLION_BUCKETS

DISAGREEMENTS = Path(__file__).parent / "disagreements.json"
"""Where what was found is written, for the audit."""
TOLERANCE = 0.1
"""The share by which figures may differ before a person must look."""
BASE_BUCKETS = ("input", "output", "images", "pixels", "requests")
FILLABLE_BUCKETS = (*FALLBACKS, "searches")
"""Buckets that another source may tell."""
FACTS_FROM = (LITELLM, GENAI, MODELS_DEV)
"""Who is asked first for what is no price; GENAI knows prices only, and does not say what a model
serves.
"""
Difference = dict[str, dict[str, int]]
"""Bucket (or tier and bucket) → source → pico-dollars."""


class Decision(Struct, frozen=True, kw_only=True):
    """Whom a person believed of one id, on which day and why. `figures` are those that were seen:
    USD as text.
    """

    provider: str
    id: str
    source: str
    date: str
    why: str
    figures: dict[str, str]


class Disagreement(Struct, frozen=True, kw_only=True):
    """Sources that differ by more than a tenth on an id, and why one of them is believed; empty
    while nobody knows.
    """

    provider: str
    id: str
    figures: Difference
    believed: str
    why: str


class Verdict(Struct, frozen=True, kw_only=True):
    """The figures that are believed; `decided` by a person. `held` says why nobody should be
    charged by them yet.
    """

    figures: Figures
    disagreement: Disagreement | None = None
    decided: bool = False
    held: str = ""


def believe(provider: str, claims: list[Figures], decision: Decision | None) -> Verdict:
    """The one believed, with what the others add. `claims` come in the order in which sources are
    preferred.
    """
    exact = [one for one in claims if one.exact and one.price] or claims
    newer = [one for one in exact if one.source != MODELS_DEV] or exact
    # Of rows of one source that say the same, the one that says most.
    first = max((one for one in newer if one.source == newer[0].source), key=_richness)
    first = next((one for one in newer if _is_flat(one)), first)
    difference = _difference(first, exact)
    if not difference:
        return Verdict(figures=_filled(first, exact))

    believed, why, held = first, "", ""
    decided = decision is not None
    if decision is not None:
        found = [one for one in exact if one.source == decision.source]
        believed = max(found, key=_richness, default=first)
        why = f"{decision.date}: {decision.why}"
        if not found or not _fits(decision, believed):
            decided, why, held = (
                False,
                "",
                f"the decision of {decision.date} was about other figures",
            )
    elif not _difference(first, newer):
        why = f"{MODELS_DEV} tells what held on {_changed(exact)}"
    else:
        held = f"sources differ: {difference_text(_difference(first, newer))}"
    return Verdict(
        figures=_filled(believed, exact),
        disagreement=Disagreement(
            provider=provider,
            id=believed.id,
            figures=difference,
            believed=believed.source,
            why=why,
        ),
        decided=decided,
        held=held,
    )


def _richness(one: Figures) -> tuple[int, int]:
    return sum(1 for pico in one.price.values() if pico), len(one.tiers)


def _is_flat(one: Figures) -> bool:
    """A price per image says more than the tokens that nobody counts."""
    return bool(one.price.get("images") or one.price.get("pixels"))


def _changed(claims: Iterable[Figures]) -> str:
    return max(one.changed for one in claims if one.source == MODELS_DEV)


def _difference(first: Figures, claims: Iterable[Figures]) -> Difference:
    """Where the others name other figures than the first: each bucket with what everybody says."""
    claims = list(claims)
    found: Difference = {}
    for name, own in _flattened(first):
        told = {one.source: pico for one in claims for key, pico in _flattened(one) if key == name}
        told[first.source] = own
        if max(told.values()) > min(told.values()) * (1 + TOLERANCE):
            found[name] = told
    return found


def _flattened(one: Figures) -> Iterator[tuple[str, int]]:
    yield from ((bucket, pico) for bucket, pico in one.price.items() if pico)
    for key, rates in one.tiers.items():
        yield from ((f"{key} {bucket}", pico) for bucket, pico in rates.items() if pico)


def difference_text(difference: Difference) -> str:
    """What each source says, in US dollars."""
    return "; ".join(f"{name} {_told_text(name, told)}" for name, told in difference.items())


def _told_text(name: str, told: dict[str, int]) -> str:
    bucket = name.split()[-1]
    return ", ".join(f"{usd_text(bucket, pico)} ({source})" for source, pico in told.items())


def _fits(decision: Decision, believed: Figures) -> bool:
    return all(
        usd_text(bucket, believed.price.get(bucket, 0)) == usd
        for bucket, usd in decision.figures.items()
    )


def usd_text(bucket: str, pico: int) -> str:
    """USD as people write a price: for a million tokens or pixels, else for one."""
    figure = Decimal(pico) / (10**6 if bucket in MILLION_BUCKETS else 10**12)
    return f"{figure:f}".rstrip("0").rstrip(".") if "." in f"{figure:f}" else f"{figure:f}"


def _filled(believed: Figures, claims: Iterable[Figures]) -> Figures:
    """With what other sources add: single figures and tiers of those that agree on the base, facts
    of all.
    """
    claims = list(claims)
    for other in claims:
        if other is not believed and _same_base(believed.price, other.price):
            believed = _with_figures(believed, other)
    return _with_facts(believed, sorted(claims, key=lambda one: FACTS_FROM.index(one.source)))


def _same_base(mine: Rates, theirs: Rates) -> bool:
    both = [
        (mine[name], theirs[name]) for name in BASE_BUCKETS if mine.get(name) and theirs.get(name)
    ]
    return bool(both) and all(max(pair) <= min(pair) * (1 + TOLERANCE) for pair in both)


def _with_figures(mine: Figures, other: Figures) -> Figures:
    more = {
        bucket: pico
        for bucket, pico in other.price.items()
        if pico and bucket in FILLABLE_BUCKETS and not mine.price.get(bucket)
    }
    tiers = {key: rates for key, rates in other.tiers.items() if key not in mine.tiers}
    return replace(
        mine,
        price=mine.price | more,
        tiers=mine.tiers | tiers,
        windows=mine.windows or other.windows,
        later=mine.later or other.later,
        filled=mine.filled
        | dict.fromkeys((bucket for bucket in more if other.source != mine.source), other.source),
    )


def _with_facts(mine: Figures, claims: list[Figures]) -> Figures:
    facts: dict[str, Any] = {
        name: next((told for one in claims if (told := getattr(one, name))), getattr(mine, name))
        for name in ("context", "max_output", "inputs", "outputs", "features")
    }
    serves = next((one.serves for one in claims if one.source != GENAI), mine.serves)
    return replace(mine, serves=serves, **facts)
