"""A provider's own listing, read: whatever it says becomes offers that hold the gates, or is left out and counted.

Nothing here trusts the list: not its length, not its types, not its numbers. Prices that do not pass are quarantined;
when many are far from what is known, the unit is in doubt and no price of the list is believed.
"""

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.gates import believed, why_far, why_not_sane
from gatewayz.catalog.grouping import canonical_of, key_of, spelled
from gatewayz.catalog.merge import Held, Listing, capabilities
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.faults import Fault
from gatewayz.core.money import Listed, Price, price_from_pico, repriced
from gatewayz.core.usage import BUCKETS, TOKEN_BUCKETS
from gatewayz.providers.listings import PICO_PER, Format, first
from gatewayz.providers.spec import Provider

MAX_OFFERS = 20_000
"""Models of one provider that are kept; the largest list known has about as many."""
MAX_HELD = 500
"""Quarantined prices that are remembered, to be shown."""
MAX_ID = 200
MAX_NAME = 200
MAX_FIGURE = 40
"""Characters of a number."""
MAX_TOKENS = 10**9
"""A context beyond this is no context."""
DOUBTED_SHARE = 0.5
DOUBTED_ROWS = 3
"""When this share of the prices that can be compared is far off, and at least so many, the unit is in doubt."""
MAX_DIGITS = 15
ABSURD = 10**15
"""Pico-dollars that stand for any number too large to be looked at."""

Row = dict[str, Any]


class Known(Struct, frozen=True):
    """What is known before the list is read: canonical ids by key, and each model's prices by provider."""

    keys: dict[str, str]
    prices: dict[str, dict[str, Price]]
    places: dict[tuple[str, str], Offer]


def known_from(models: Mapping[str, Model]) -> Known:
    """What the shelf knows. Prices of free offers compare with nothing."""
    prices: dict[str, dict[str, Price]] = {}
    places: dict[tuple[str, str], Offer] = {}
    for model in models.values():
        for offer in (*model.offers, *model.spare):
            places[offer.provider, offer.upstream_id] = offer
            if offer.price is not None and not offer.price.free:
                prices.setdefault(model.id, {})[offer.provider] = offer.price
    return Known({key_of(name): name for name in models}, prices, places)


def listing_from(
    body: bytes, provider: Provider, form: Format, known: Known, now_s: int
) -> Listing:
    """The list as offers. Faults: `upstream_broken` when it is no list or names no model at all."""
    reader = _Reader(provider, form, known, now_s)
    for row in _rows(body, form):
        reader.take(row)
    if not reader.offers:
        raise Fault("upstream_broken", f"{provider.id} lists no model")
    return reader.listing()


def _rows(body: bytes, form: Format) -> Iterator[Row]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Fault("upstream_broken", f"the list is no JSON: {wrong}") from None
    found = first(document, (form.root,)) if form.root else document
    if not isinstance(found, list):
        raise Fault("upstream_broken", f"the list has no rows at {form.root or 'its top'}")
    yield from (row for row in found if isinstance(row, dict))


class _Priced(NamedTuple):
    offer: Offer
    listed: Listed
    far: str


class _Reader:
    """Takes rows one by one."""

    def __init__(self, provider: Provider, form: Format, known: Known, now_s: int) -> None:
        self._provider = provider
        self._form = form
        self._known = known
        self._now_s = now_s
        self._version = f"listing-{now_s}"
        self._priced: list[_Priced] = []
        self._held: list[Held] = []
        self._names: dict[str, str] = {}
        self._created: dict[str, int] = {}
        self._again = 0
        self._odd = 0
        self.offers: dict[str, Offer] = {}

    def take(self, row: Row) -> None:
        """Reads a row; the first of several with one id holds."""
        native = self._native(row)
        if not native or (self._form.only and first(row, (self._form.only,)) is False):
            self._odd += not native
            return
        if native in self.offers:
            self._again += 1
            return
        if len(self.offers) >= MAX_OFFERS:
            self._odd += 1
            return
        offer = self._offer(row, native)
        self.offers[native] = offer
        self._tell(row, offer)
        listed = self._listed(row)
        if listed:
            self._price(offer, listed)

    def _native(self, row: Row) -> str:
        found = first(row, self._form.id)
        if (
            not isinstance(found, str)
            or not 0 < len(found) <= MAX_ID
            or not found.isprintable()
            or " " in found
        ):
            return ""
        return found.removeprefix(self._form.strip)

    def _offer(self, row: Row, native: str) -> Offer:
        form = self._form
        place = self._known.places.get((self._provider.id, native))
        model = (
            place.model
            if place is not None
            else canonical_of(self._provider.id, native, self._known.keys)
        )
        inputs, outputs = _words(first(row, form.inputs)), _words(first(row, form.outputs))
        parameters = _words(first(row, form.parameters))
        return Offer(
            model=model,
            provider=self._provider.id,
            upstream_id=native,
            context=_tokens(first(row, form.context)),
            max_output=_tokens(first(row, form.max_output)),
            can=capabilities(inputs, parameters) if inputs and parameters else None,
            inputs=inputs or ("text",),
            outputs=outputs or ("text",),
            parameters=parameters,
            quantization=spelled(self._provider.id, native).quantization,
        )

    def _tell(self, row: Row, offer: Offer) -> None:
        name, created = first(row, self._form.name), first(row, self._form.created)
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable():
            self._names.setdefault(offer.model, name)
        if isinstance(created, int) and 0 < created <= self._now_s:
            self._created.setdefault(offer.model, created)

    def _listed(self, row: Row) -> Listed:
        found: dict[str, int] = {}
        for bucket, paths in self._form.prices.items():
            value = first(row, paths)
            if value is not None:
                scale = PICO_PER[self._form.unit] if bucket in TOKEN_BUCKETS else 10**12
                found[bucket] = _pico(value, scale)
        return believed(found)

    def _price(self, offer: Offer, listed: Listed) -> None:
        free = bool(self._form.free) and offer.upstream_id.endswith(self._form.free)
        why = why_not_sane(listed, offer.serves or ("chat",), free=free)
        if free and not why:
            price = replace(price_from_pico({}), **self._sign(), free=True)
            self.offers[offer.upstream_id] = replace(offer, price=price)
        elif why:
            self._hold(offer, listed, why)
        else:
            others = [
                _compared(price) for price in self._known.prices.get(offer.model, {}).values()
            ]
            self._priced.append(_Priced(offer, listed, why_far(listed, others)))

    def _sign(self) -> dict[str, Any]:
        return {"version": self._version, "source": f"{self._provider.id}'s own list"}

    def _hold(self, offer: Offer, listed: Listed, why: str) -> None:
        """The price is not used; what was known before stays, and without that the offer is unpriced."""
        if len(self._held) < MAX_HELD:
            self._held.append(Held(offer.upstream_id, offer.model, why, dict(listed)))
        before = self._known.places.get((self._provider.id, offer.upstream_id))
        if before is None or before.price is None:
            self.offers[offer.upstream_id] = replace(offer, held=why)

    def listing(self) -> Listing:
        """Everything that was read, after the prices were judged together."""
        comparable = [one for one in self._priced if one.offer.model in self._known.prices]
        far = sum(1 for one in comparable if one.far)
        doubted = far >= DOUBTED_ROWS and far >= DOUBTED_SHARE * len(comparable)
        told = (
            f"the unit of this list is in doubt: {far} of {len(comparable)} prices are far off"
            if doubted
            else ""
        )
        for one in self._priced:
            if one.far or told:
                self._hold(one.offer, one.listed, one.far or told)
            else:
                self._keep(one.offer, one.listed)
        return Listing(
            provider=self._provider.id,
            read_s=self._now_s,
            offers=tuple(self.offers.values()),
            names=self._names,
            created=self._created,
            held=tuple(self._held),
            doubted=told,
            again=self._again,
            odd=self._odd,
        )

    def _keep(self, offer: Offer, listed: Listed) -> None:
        place = self._known.places.get((self._provider.id, offer.upstream_id))
        before = place.price if place is not None else None
        if before is None or before.free:
            price = replace(price_from_pico(listed), **self._sign())
        elif all(getattr(before, bucket) == pico for bucket, pico in listed.items()):
            price = before
        else:
            price = replace(repriced(before, listed), **self._sign())
        self.offers[offer.upstream_id] = replace(offer, price=replace(price, markup_bp=0))


def _compared(price: Price) -> Listed:
    return {bucket: getattr(price, bucket) for bucket in BUCKETS}


def _pico(value: Any, scale: int) -> int:
    """Pico-dollars, what is finer rounded up; a figure that is none counts as absurd, and the gates refuse it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ABSURD
    text = str(value).strip().removeprefix("$").replace(",", "")
    try:
        figure = Decimal(text) if len(text) <= MAX_FIGURE else Decimal("NaN")
    except InvalidOperation:
        return ABSURD
    if not figure.is_finite() or figure.adjusted() > MAX_DIGITS:
        return -ABSURD if figure.is_signed() else ABSURD
    # A number with a thousand zeros after the point is nothing; writing it out would be something.
    return (
        int((figure * scale).quantize(Decimal(1), ROUND_CEILING))
        if figure.adjusted() > -MAX_FIGURE
        else 0
    )


def _tokens(value: Any) -> int | None:
    """A count of tokens; some lists write it as text, some as a float."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_FIGURE:
        value = int(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 1 <= value <= MAX_TOKENS
    ):
        return None
    return int(value)


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        dict.fromkeys(word for word in value[:100] if isinstance(word, str) and 0 < len(word) <= 64)
    )
