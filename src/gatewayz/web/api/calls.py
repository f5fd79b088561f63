"""`/v1/calls`: every call that was made, and what came of each: who was tried, what it used, what it cost, and why."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from msgspec import convert
from pydantic import ConfigDict, Field

from gatewayz.core.money import BASIS_POINTS, PICO_PER_NANO, Price, rates_of
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS
from gatewayz.store.sql import calls
from gatewayz.store.sql.calls import Story, Wanted, Whose
from gatewayz.store.sql.slices import Cut
from gatewayz.web.api.account import Transaction, transaction
from gatewayz.web.api.export import AsCsv, exported
from gatewayz.web.api.shapes import (
    After,
    Given,
    Here,
    Id,
    Limit,
    Listed,
    Moment,
    Shown,
    Usd,
    money,
    sliced,
)
from gatewayz.web.api.visit import Visit

PICO_PER_USD = 10**12
Text = Annotated[str, Field(max_length=256)]


class CallShown(Shown):
    """A call. `fault` is empty when it was answered; `model` and `provider` are who answered."""

    id: str
    object: Literal["call"] = "call"
    received_ms: int
    endpoint: str
    streamed: bool
    account: str
    key: str
    end_user: str
    session: str
    tags: list[str]
    asked_model: str
    model: str
    provider: str
    status: int
    fault: str
    stop: str
    input_tokens: int
    output_tokens: int
    cost: Usd
    cost_nanos: int
    first_event_ms: int | None
    duration_ms: int


class AttemptShown(Shown):
    """One candidate that was tried. Milliseconds since the call came in; `fault` is empty when it served."""

    number: int
    provider: str
    model: str
    upstream_id: str
    credential: str
    started_ms: int
    first_event_ms: int | None
    ended_ms: int
    status: int
    fault: str
    message: str
    upstream_request: str


class Line(Shown):
    """So many units of a bucket, at so many dollars for each (`per`: 1, or a million of them)."""

    bucket: str
    units: int
    price: Usd
    per: int
    amount: Usd


class Reckoning(Shown):
    """Usage times price: the lines, what is added to their sum, and the cost, rounded up once to a nano-dollar."""

    lines: list[Line]
    sum: Usd
    markup_bp: int
    price_version: str
    price_source: str
    free: bool
    estimated: bool
    unpriced: bool
    repaired: bool
    charged: bool
    cost: Usd
    cost_nanos: int
    upstream_cost: str | None


class HoldShown(Shown):
    """What is reserved for a call that is under way."""

    amount: Usd
    amount_nanos: int
    opened_ms: int
    deadline_ms: int


class CallStory(Shown):
    """All that is known of a call. `call` is empty while it is under way; then `hold` says what is reserved."""

    id: str
    object: Literal["call.story"] = "call.story"
    call: CallShown | None
    message: str
    upstream_id: str
    trace: str
    dropped: list[str]
    candidates: list[str]
    attempts: list[AttemptShown]
    reckoning: Reckoning | None
    held: Usd
    held_nanos: int
    transactions: list[Transaction]
    hold: HoldShown | None


SAME = ("id", "received_ms", "endpoint", "streamed", "end_user", "tags", "asked_model", "model", "provider", "status")
ALSO = ("fault", "stop", "input_tokens", "output_tokens", "first_event_ms", "duration_ms")


def call_shown(row: dict[str, Any]) -> CallShown:
    """A record as it is shown."""
    same = {name: row[name] for name in (*SAME, *ALSO)}
    return CallShown(
        **same, account=row["account_id"], key=row["key_id"], session=row["session_id"], **money(cost=row["cost"])
    )


def usd_of_pico(pico: int) -> str:
    """Pico-dollars as decimal text, whole."""
    dollars, rest = divmod(pico, PICO_PER_USD)
    return f"{dollars}.{rest:012d}".rstrip("0").rstrip(".")


def reckoning(row: dict[str, Any]) -> Reckoning:
    """How the cost of a record came about."""
    usage, price = row["usage"], convert(row["price"], Price)
    prompt = sum(usage.get(name, 0) for name in PROMPT)
    rates = dict(zip(BUCKETS, rates_of(price, prompt, str(usage.get("service", ""))), strict=True))
    lines = [_line(bucket, usage[bucket], rates[bucket]) for bucket in BUCKETS if usage.get(bucket)]
    pico = sum(usage.get(bucket, 0) * rates[bucket] for bucket in BUCKETS)
    whole = -(-pico * (BASIS_POINTS + price.markup_bp) // (PICO_PER_NANO * BASIS_POINTS))
    return Reckoning(
        lines=lines,
        sum=usd_of_pico(pico),
        markup_bp=price.markup_bp,
        price_version=price.version,
        price_source=price.source,
        free=price.free,
        estimated=bool(row["estimated"]),
        unpriced=bool(row["unpriced"]),
        repaired=bool(usage.get("repaired")),
        charged=row["cost"] == whole,
        upstream_cost=row["upstream_cost"] or None,
        **money(cost=row["cost"]),
    )


PROMPT = ("input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input")
"""The buckets of a prompt, by which a price with tiers is chosen."""


def _line(bucket: str, units: int, rate: int) -> Line:
    per = 10**6 if bucket in MILLION_BUCKETS else 1
    return Line(bucket=bucket, units=units, price=usd_of_pico(rate * per), per=per, amount=usd_of_pico(units * rate))


def story_shown(call_id: str, story: Story) -> CallStory:
    """A call with everything that explains it."""
    record, hold = story.record, story.hold
    shown = call_shown(record) if record else None
    return CallStory(
        id=call_id,
        call=shown,
        message=record.get("message", ""),
        upstream_id=record.get("upstream_id", ""),
        trace=record.get("trace", ""),
        dropped=record.get("dropped", []),
        candidates=record.get("reasons", []),
        attempts=[AttemptShown(**{name: row[name] for name in AttemptShown.model_fields}) for row in story.attempts],
        reckoning=reckoning(record) if record else None,
        transactions=[transaction(row) for row in story.transfers],
        hold=_hold(hold) if hold is not None else None,
        **money(held=record.get("held", 0)),
    )


def _hold(row: dict[str, Any]) -> HoldShown:
    return HoldShown(
        opened_ms=row["opened_ms"], deadline_ms=row["deadline_ms"], **money(amount=row["promo"] + row["paid"])
    )


class Filter(Given):
    """Which calls: those that have all that is named, and a slice of them."""

    model_config = ConfigDict(extra="forbid", strict=False)

    model: Text = ""
    provider: Text = ""
    key_id: Text = ""
    end_user: Text = ""
    session: Text = ""
    tag: Text = ""
    fault: Text = ""
    failed: bool | None = None
    from_ms: Moment | None = None
    until_ms: Moment | None = None
    limit: Limit = 100
    after: After = ""

    @property
    def wanted(self) -> Wanted:
        """What the store is asked for."""
        same = {name: getattr(self, name) for name in ("model", "provider", "end_user", "tag", "fault", "failed")}
        return Wanted(**same, key_id=self.key_id, session_id=self.session, from_ms=self.from_ms, until_ms=self.until_ms)


Asked = Annotated[Filter, Query()]
ANSWERS = EXPORTED = {"several": Listed[CallShown]}


async def listed(here: Visit, whose: Whose, asked: Filter, cut: Cut) -> Listed[CallShown]:
    """A slice of somebody's calls, as it is shown."""
    found = await calls.listed(here.database, whose, asked.wanted, cut)
    return sliced(found, [call_shown(row) for row in found.rows])


async def answered(here: Visit, whose: Whose, asked: Filter, csv: AsCsv) -> Listed[CallShown] | Response:
    """Somebody's calls: a slice, or all of them as a file."""
    if not csv:
        return await listed(here, whose, asked, Cut(after=asked.after, limit=asked.limit))
    return await exported(here, "calls", CallShown, lambda cut: listed(here, whose, asked, cut), asked.after)


async def several(here: Here, asked: Asked, csv: AsCsv) -> Listed[CallShown] | Response:
    """The calls of the account, or those of this person or key; the newest first."""
    return await answered(here, here.whose, asked, csv)


async def show(here: Here, id: Id) -> CallStory:
    """All that came of a call, by any id that its client saw: `chatcmpl-…`, `msg_…`, `resp_…`, `x-request-id`."""
    call_id = calls.call_id_of(id)
    story = await calls.story(here.database, here.who.account, call_id)
    if not here.keeps_account and not await calls.is_of(here.database, here.whose, call_id):
        raise calls.unknown(call_id)
    return story_shown(call_id, story)
