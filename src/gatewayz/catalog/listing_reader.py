"""A provider's own listing, read: its rows become offers whose prices were checked, or are counted.

Nothing here trusts the list: not its length, not its types, not its numbers. Prices that do not
pass are quarantined; when many are far from what is known, the unit is in doubt and no price is
believed.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import msgspec

from gatewayz.catalog.canonical_ids import canonical_id, parse_native_id
from gatewayz.catalog.fact_checks import (
    missing_parameters,
    missing_words,
    modalities_from_words,
    why_odd_context,
    why_odd_output,
)
from gatewayz.catalog.kinds import ModelKind, kind_from_id, kind_from_words
from gatewayz.catalog.listing_prices import ListingBaseline, ListingPrices
from gatewayz.catalog.offers import Offer, capabilities
from gatewayz.catalog.price_checks import without_implied_zeros
from gatewayz.catalog.sources import Listing
from gatewayz.core.faults import Fault
from gatewayz.core.money import BucketRates
from gatewayz.core.usage import TOKEN_BUCKETS
from gatewayz.providers.listing_formats import (
    PICO_PER,
    ListingFormat,
    first_value,
    price_objects,
    unread_price_fields,
)
from gatewayz.providers.spec import Provider

MAX_OFFERS = 20_000
"""Models of one provider that are kept; the largest list known has about as many."""
MAX_UNREAD_FIELDS = 50
"""Fields of prices that are named as unread."""
MAX_ID_CHARS = 200
MAX_NAME_CHARS = 200
MAX_FIGURE_CHARS = 40
MAX_TOKENS = 10**9
"""A context beyond this is a mistake."""
MAX_WORDS = 100
MAX_WORD_CHARS = 64
MAX_DIGITS = 15
ABSURD_PICO = 10**15
"""Pico-dollars that stand for any number too large to be looked at."""

JsonRow = dict[str, Any]


def listing_from_body(
    body: bytes,
    provider: Provider,
    form: ListingFormat,
    baseline: ListingBaseline,
    now_s: int,
    previous: Listing | None = None,
) -> Listing:
    """The list as offers. Faults: `upstream_broken` when it is no list or names no model at all.

    `previous` is the provider's last good list, with what it remembers of prices.
    """
    reader = _ListingReader(
        provider, form, baseline, ListingPrices(provider.id, baseline, previous, now_s), now_s
    )
    for row in _rows(body, form):
        reader.read_row(row)
    if not reader.prices.offers:
        raise Fault("upstream_broken", f"{provider.id} lists no model")
    return reader.listing()


def _rows(body: bytes, form: ListingFormat) -> Iterator[JsonRow]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault("upstream_broken", f"the list is no JSON: {error}") from None
    rows = first_value(document, (form.root,)) if form.root else document
    if not isinstance(rows, list):
        raise Fault("upstream_broken", f"the list has no rows at {form.root or 'its top'}")
    yield from (row for row in rows if isinstance(row, dict))


class _ListingReader:
    """Takes rows one by one; the prices are judged together at the end."""

    def __init__(
        self,
        provider: Provider,
        form: ListingFormat,
        baseline: ListingBaseline,
        prices: ListingPrices,
        now_s: int,
    ) -> None:
        self._provider = provider
        self._form = form
        self._baseline = baseline
        self._now_s = now_s
        self.prices = prices
        self._names: dict[str, str] = {}
        self._created: dict[str, int] = {}
        self._duplicates = 0
        self._unusable = 0
        self._price_objects = price_objects(form)
        self._unread_fields: Counter[str] = Counter()
        self._ignored_facts: Counter[str] = Counter()

    def read_row(self, row: JsonRow) -> None:
        """Reads a row; the first of several with one id holds."""
        native = self._native_id(row)
        if not native:
            self._unusable += 1
            return
        if self._form.only and first_value(row, (self._form.only,)) is False:
            return
        if native in self.prices.offers:
            self._duplicates += 1
            return
        if len(self.prices.offers) >= MAX_OFFERS:
            self._unusable += 1
            return

        offer = self._offer(row, native)
        self._add_name_and_date(row, offer)
        self._unread_fields.update(unread_price_fields(row, self._price_objects))
        marked_free = bool(self._form.free) and native.endswith(self._form.free)
        self.prices.add(offer, self._row_rates(row), marked_free=marked_free)

    def _native_id(self, row: JsonRow) -> str:
        native = first_value(row, self._form.id)
        if (
            not isinstance(native, str)
            or not 0 < len(native) <= MAX_ID_CHARS
            or not native.isprintable()
            or " " in native
        ):
            return ""
        return native.removeprefix(self._form.strip)

    def _offer(self, row: JsonRow, native: str) -> Offer:
        provider = self._provider.id
        before = self._baseline.offers.get((provider, native))
        model = before.model if before is not None else self._model(native)
        context, max_output = self._limits(row, model, before)
        package = self._baseline.package.get((provider, native))
        kind = None if package is not None else self._kind(row, native)
        inputs = self._inputs(row, package)
        outputs = self._outputs(row, package)
        parameters = self._parameters(row, package)
        return Offer(
            model=model,
            provider=provider,
            upstream_id=native,
            unserved_reason=kind.does if kind is not None else "",
            serves=kind.serves if kind is not None and "chat" not in kind.serves else (),
            context=context,
            max_output=max_output,
            can=capabilities(inputs, parameters) if inputs and parameters else None,
            inputs=inputs or ("text",),
            outputs=outputs or ("text",),
            parameters=parameters,
            quantization=parse_native_id(provider, native).quantization,
        )

    def _inputs(self, row: JsonRow, package: Offer | None) -> tuple[str, ...]:
        """What may go in: what the list says, and what the package knows besides."""
        listed = modalities_from_words(_parse_words(first_value(row, self._form.inputs)))
        lost = missing_words(listed, package.inputs) if package is not None and listed else ()
        self._ignored_facts["inputs"] += bool(lost)
        return (*listed, *lost)

    def _outputs(self, row: JsonRow, package: Offer | None) -> tuple[str, ...]:
        """What comes out: what the package knows, else what the list says."""
        listed = modalities_from_words(_parse_words(first_value(row, self._form.outputs)))
        if package is None or not listed:
            return listed
        self._ignored_facts["outputs"] += set(listed) != set(package.outputs)
        return package.outputs

    def _parameters(self, row: JsonRow, package: Offer | None) -> tuple[str, ...]:
        """What a request may carry; what the package knows that it can do, it can."""
        listed = _parse_words(first_value(row, self._form.parameters))
        lost = (
            missing_parameters(listed, package.features) if package is not None and listed else ()
        )
        self._ignored_facts["parameters"] += bool(lost)
        return (*listed, *lost)

    def _kind(self, row: JsonRow, native: str) -> ModelKind | None:
        """What the list says that the model does, else what its id says."""
        words = [first_value(row, (path,)) for path in (*self._form.kind, *self._form.outputs)]
        kinds = (kind_from_words(word) for word in words if word is not None)
        return next(filter(None, kinds), None) or kind_from_id(self._provider.id, native)

    def _model(self, native: str) -> str:
        """Which model it is. A server that the operator made calls its models as it likes: `gpt-4o`
        there is nobody else's, and no call for another goes there.
        """
        if self._provider.own:
            return f"{self._provider.id}/{native}"
        return canonical_id(self._provider.id, native, self._baseline.canonical_ids)

    def _limits(
        self, row: JsonRow, model: str, before: Offer | None
    ) -> tuple[int | None, int | None]:
        """Context and longest output; those that were known where the list's are not believed."""
        known_context = before.context if before is not None else None
        known_output = before.max_output if before is not None else None
        context = _parse_tokens(first_value(row, self._form.context))
        max_output = _parse_tokens(first_value(row, self._form.max_output))
        if context and why_odd_context(context, known_context, self._baseline.contexts.get(model)):
            self._ignored_facts["context"] += 1
            context = known_context
        if max_output and why_odd_output(max_output, known_output, context or known_context):
            self._ignored_facts["max_output"] += 1
            max_output = known_output
        return context, max_output

    def _add_name_and_date(self, row: JsonRow, offer: Offer) -> None:
        name, created = first_value(row, self._form.name), first_value(row, self._form.created)
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable():
            self._names.setdefault(offer.model, name)
        if isinstance(created, int) and 0 < created <= self._now_s:
            self._created.setdefault(offer.model, created)

    def _row_rates(self, row: JsonRow) -> BucketRates:
        rates: dict[str, int] = {}
        for bucket, paths in self._form.prices.items():
            value = first_value(row, paths)
            if value is not None:
                scale = PICO_PER[self._form.unit] if bucket in TOKEN_BUCKETS else 10**12
                rates[bucket] = _parse_pico(value, scale)
        return without_implied_zeros(rates)

    def listing(self) -> Listing:
        """Everything that was read, after the prices were judged together."""
        doubt_reason = self.prices.judge()
        return Listing(
            provider=self._provider.id,
            read_s=self._now_s,
            offers=tuple(self.prices.offers.values()),
            names=self._names,
            created=self._created,
            quarantined=tuple(self.prices.quarantined),
            doubt_reason=doubt_reason,
            duplicate_rows=self._duplicates,
            unusable_rows=self._unusable,
            unread_fields={
                name[:MAX_NAME_CHARS]: count
                for name, count in self._unread_fields.most_common(MAX_UNREAD_FIELDS)
                if name.isprintable()
            },
            ignored_facts={name: count for name, count in self._ignored_facts.items() if count},
            memory=self.prices.memory,
        )


def _parse_pico(value: Any, scale: int) -> int:
    """Pico-dollars, what is finer rounded up; what is no number counts as absurd, to be refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ABSURD_PICO
    text = str(value).strip().removeprefix("$").replace(",", "")
    try:
        figure = Decimal(text) if len(text) <= MAX_FIGURE_CHARS else Decimal("NaN")
    except InvalidOperation:
        return ABSURD_PICO
    if not figure.is_finite() or figure.adjusted() > MAX_DIGITS:
        return -ABSURD_PICO if figure.is_signed() else ABSURD_PICO
    if figure.adjusted() <= -MAX_FIGURE_CHARS:
        # A number with a thousand zeros after the point is nothing; writing it out costs something.
        return 0
    return int((figure * scale).quantize(Decimal(1), ROUND_CEILING))


def _parse_tokens(value: Any) -> int | None:
    """A count of tokens; some lists write it as text, some as a float."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_FIGURE_CHARS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value <= MAX_TOKENS else None


def _parse_words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    words = (word for word in value[:MAX_WORDS] if isinstance(word, str))
    return tuple(dict.fromkeys(word for word in words if 0 < len(word) <= MAX_WORD_CHARS))
