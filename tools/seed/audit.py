"""The audit: what the committed rows are worth, said so that a person can judge it.

Four questions: which bucket is from which source; where sources differ, and who decided; which rows
have a dear bucket without a price, and whether anybody could use it; whether what is shown is what
is charged. Read-only, and without the lists: everything it needs was written with the rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct
from tools.seed.claims import DISAGREEMENTS, Disagreement, difference_text

from gatewayz.catalog.cards import model_card
from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.dear_buckets import buckets_in_use
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.pricing import why_unpriced
from gatewayz.catalog.report import callable_offers, why_not_sold
from gatewayz.catalog.seed import SeedFile, SeedRow, seed_files, seed_names
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Audio, Message, Text
from gatewayz.core.faults import Fault
from gatewayz.core.money import DEARER_BUCKETS, FALLBACKS, Price, cost
from gatewayz.core.requests import ChatRequest, ImageRequest, Request
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules

POPULAR = 200
"""Models whose shown price is compared with what a call is charged: those that most providers sell.
"""
DRAWS = (0.0, 0.25, 0.5, 0.75, 0.999)
"""Random numbers that a plan may draw: every one of them must lead to the same price."""
Places = list[tuple[str, SeedRow]]


class Audit(Struct, frozen=True, kw_only=True):
    """What was found; `faults` are what must not be."""

    by_bucket: dict[str, dict[str, int]]
    fallbacks: dict[str, dict[str, int]]
    disagreements: tuple[Disagreement, ...]
    unpriced: dict[str, tuple[str, ...]]
    later: dict[str, tuple[str, ...]]
    compared: int
    faults: tuple[str, ...]


def main() -> int:
    """Prints the audit; 1 where something is found that must not be."""
    found = audit(seed_files(), int(datetime.now(UTC).timestamp() * 1000))
    for line in _lines(found):
        print(line)
    return 1 if found.faults else 0


def audit(seed: dict[str, SeedFile], now_ms: int) -> Audit:
    """Everything that is asked, at a moment."""
    rows = [(provider, row) for provider, file in seed.items() for row in file.rows]
    listed = [(provider, row) for provider, row in rows if seed[provider].listed]
    told = tuple(msgspec.json.decode(DISAGREEMENTS.read_bytes(), type=list[Disagreement]))
    catalog = _catalog(seed, now_ms)
    unpriced = _unpriced_buckets(listed)
    popular = _popular_models(catalog)
    return Audit(
        by_bucket=_by_bucket(rows),
        fallbacks=_fallbacks(rows),
        disagreements=told,
        unpriced={f"{provider} {row.id}": buckets for provider, row, buckets in unpriced},
        later={
            f"{provider} {row.id}": (
                *(one.valid_from for one in row.later),
                *(hours for window in row.windows for hours in window.hours),
            )
            for provider, row in rows
            if row.later or row.windows
        },
        compared=len(popular),
        faults=(
            *(f"{one.provider} {one.id}: unexplained" for one in told if not one.why),
            *_sold_without_a_price(unpriced, catalog),
            *_twins(rows),
            *(fault for model in popular for fault in _shown_is_not_charged(model, catalog)),
        ),
    )


def _by_bucket(rows: Places) -> dict[str, dict[str, int]]:
    """Bucket → source → rows whose figure is from there."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for _, row in rows:
        for bucket in row.price:
            found[bucket][row.filled.get(bucket, row.source)] += 1
    return {bucket: dict(found[bucket].most_common()) for bucket in BUCKETS if bucket in found}


def _fallbacks(rows: Places) -> dict[str, dict[str, int]]:
    """Bucket → provider → rows that charge it as what it falls back on."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for provider, row in rows:
        for bucket, fallback in FALLBACKS.items():
            if bucket in {"cache_read", "reasoning"} and row.price.get(fallback):
                found[bucket][provider] += bucket not in row.price
    return {bucket: dict(counts.most_common()) for bucket, counts in found.items()}


def _unpriced_buckets(rows: Places) -> list[tuple[str, SeedRow, tuple[str, ...]]]:
    """Rows with a price, and the dear buckets that their model can fill and nobody lists."""
    takes: dict[str, set[str]] = defaultdict(set)
    for _, row in rows:
        takes[row.model] |= {f"{word}_input" for word in row.inputs}
        takes[row.model] |= {f"{word}_output" for word in row.outputs}
    found = []
    for provider, row in rows:
        if not row.price or row.free or row.held:
            continue
        can = takes[row.model] | ({"cache_write", "cache_write_1h"} if _is_claude(row) else set())
        flat = row.price.get("images") or row.price.get("pixels")
        missing = tuple(
            bucket
            for bucket in DEARER_BUCKETS
            if bucket in can and bucket not in row.price and not (flat and bucket == "image_output")
        )
        if missing:
            found.append((provider, row, missing))
    return found


def _is_claude(row: SeedRow) -> bool:
    return "claude" in row.id.lower()


MARKS = {"cache_write": {"type": "ephemeral"}, "cache_write_1h": {"type": "ephemeral", "ttl": "1h"}}


def _request_that_uses(bucket: str, offer: Offer) -> Request:
    text = Text("Hello.", extra={"cache_control": MARKS[bucket]} if bucket in MARKS else {})
    sound = (Audio("UklGRg==", "wav"),) if bucket == "audio_input" else ()
    modalities = {"audio_output": ["text", "audio"], "image_output": ["text", "image"]}.get(bucket)
    if bucket == "image_output" and "chat" not in offer.serves:
        return ImageRequest(dialect="openai_images", model=offer.model, prompt="A red panda.")
    return ChatRequest(
        dialect="openai_chat",
        model=offer.model,
        messages=(Message("user", (text, *sound)),),
        extra={"modalities": modalities} if modalities else {},
    )


def _sold_without_a_price(
    unpriced: Iterable[tuple[str, SeedRow, tuple[str, ...]]], catalog: Catalog
) -> Iterator[str]:
    for provider, row, buckets in unpriced:
        offer = catalog.index.offers_by_key[provider, row.id]
        for bucket in buckets:
            request = _request_that_uses(bucket, offer)
            if not why_unpriced(offer, buckets_in_use(request)):
                yield f"{provider} {row.id}: {bucket} has no price and is sold"


def _twins(rows: Places) -> Iterator[str]:
    """A native id twice at one provider."""
    counts = Counter((provider, row.id) for provider, row in rows)
    yield from (
        f"{provider} {native}: two rows" for (provider, native), n in counts.items() if n > 1
    )


class _Calm:
    """Everything is well."""

    def offer_health(self, provider: str, upstream_id: str, account: str = "") -> OfferHealth:
        return OfferHealth()

    def credential_health(self, provider: str, credential: str) -> OfferHealth:
        return OfferHealth()


def _catalog(seed: dict[str, SeedFile], now_ms: int) -> Catalog:
    """The catalogue of somebody who has a key of every provider."""
    rows, rules = provider_rows(), RoutingRules()
    keys = {name: "key" for row in rows.values() for name in row.key_env}
    providers = providers_from(rows, keys, {})
    models = merge_catalog(CatalogSources(seed, {}, (), names=seed_names()), providers, now_ms)
    return Catalog(models, providers, rules.lockout_reason, rules.rank)


def _popular_models(catalog: Catalog) -> list[Model]:
    def sellers(model: Model) -> int:
        offers = callable_offers(model, catalog)
        return len({offer.provider for offer in offers if not why_not_sold(offer)})

    by_sellers = sorted(catalog.models.values(), key=lambda model: (-sellers(model), model.id))
    return [model for model in by_sellers if sellers(model)][:POPULAR]


class _Typical(NamedTuple):
    """A typical call of a surface, and the figures of a card that pay for it."""

    request: Request
    usage: Usage
    units: dict[str, int]


def _typical_call(model: Model, offer: Offer) -> _Typical | None:
    if "chat" in offer.serves:
        request: Request = ChatRequest(
            dialect="openai_chat", model=model.id, messages=(Message("user", (Text("Hello."),)),)
        )
        usage = Usage(input=1_000, output=1_000, requests=1)
        return _Typical(request, usage, {"prompt": 1_000, "completion": 1_000, "request": 1})
    if "image" in offer.serves and offer.price is not None and offer.price.images:
        request = ImageRequest(dialect="openai_images", model=model.id, prompt="A red panda.")
        return _Typical(request, Usage(images=1, requests=1), {"image": 1, "request": 1})
    return None


def _shown_is_not_charged(model: Model, catalog: Catalog) -> Iterator[str]:
    offers = callable_offers(model, catalog)
    typical = _typical_call(model, offers[0])
    if typical is None:
        return
    card = model_card(model, offers, catalog.providers)
    shown = _nanos_of_card(card["pricing"], typical.units)
    for draw in DRAWS:
        planner = Planner(catalog, RoutingRules(), partial(float, draw))
        try:
            plan = planner.plan(typical.request, Principal("a", "k", billing="prepaid"), _Calm())
        except Fault as fault:
            yield f"{model.id}: shown, and refused: {fault.message[:80]}"
            return
        charged = cost(typical.usage, plan.candidates[0].offer.price or Price())
        if charged != shown:
            first = plan.candidates[0].offer
            yield f"{model.id}: {shown} nanos shown, {charged} charged by {first.provider}"
            return


def _nanos_of_card(pricing: dict[str, str], units: dict[str, int]) -> int:
    """What a card says that so many units cost."""
    usd = sum(number * Decimal(pricing.get(figure, "0")) for figure, number in units.items())
    return -int(-usd * 10**9 // 1)


def _lines(found: Audit) -> Iterator[str]:
    yield "Rows by bucket and source"
    for bucket, sources in found.by_bucket.items():
        yield f"  {bucket:15}{', '.join(f'{source} {n}' for source, n in sources.items())}"
    for bucket, providers in found.fallbacks.items():
        told = ", ".join(f"{provider} {n}" for provider, n in providers.items() if n)
        yield f"  {bucket:15}costs what {FALLBACKS[bucket]} costs: {told}"

    yield f"\nSources that differ by more than a tenth: {len(found.disagreements)} ids"
    for one in found.disagreements:
        yield f"  {one.provider} {one.id}: {difference_text(one.figures)}"
        yield f"    {one.believed}; {one.why or 'UNEXPLAINED'}"

    yield f"\nRows whose dear buckets have no price: {len(found.unpriced)}; who uses them is refused"
    for place, buckets in found.unpriced.items():
        yield f"  {place}: {', '.join(buckets)}"

    yield f"\nPrices of other days and hours: {len(found.later)} rows"
    for place, moments in found.later.items():
        yield f"  {place}: {', '.join(moments)}"

    yield f"\nShown against charged: {found.compared} models"
    yield f"\nWhat must not be: {len(found.faults)}"
    yield from (f"  {fault}" for fault in found.faults)
