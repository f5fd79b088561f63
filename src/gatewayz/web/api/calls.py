"""`/v1/calls`: every call that was made, and what came of each: who was tried, what it used, what it cost, and why."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from msgspec import convert
from pydantic import ConfigDict, Field

from gatewayz.core import reckoning as reckoning_of
from gatewayz.core.money import Price, cost
from gatewayz.core.reckoning import lines_of, usage_from, usd_of_pico
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
    """Usage times price: the lines, what is added to their sum, and the cost, rounded up once to a nano-dollar.

    `markup_bp` is the account's own where it has one. `charged` is false where something else than this was taken:
    nothing for an answer that failed or was empty, at most the hold of a client that left.
    """

    lines: list[Line]
    sum: Usd
    markup_bp: int
    price_version: str
    price_source: str
    free: bool
    service: str | None
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


SAME = (
    "id",
    "received_ms",
    "endpoint",
    "streamed",
    "end_user",
    "tags",
    "asked_model",
    "model",
    "provider",
    "status",
)
ALSO = ("fault", "stop", "input_tokens", "output_tokens", "first_event_ms", "duration_ms")


def call_shown(row: dict[str, Any]) -> CallShown:
    """A record as it is shown."""
    same = {name: row[name] for name in (*SAME, *ALSO)}
    return CallShown(
        **same,
        account=row["account_id"],
        key=row["key_id"],
        session=row["session_id"],
        **money(cost=row["cost"]),
    )


def reckoning(row: dict[str, Any]) -> Reckoning:
    """How the cost of a record came about."""
    usage, price = usage_from(row["usage"]), convert(row["price"], Price)
    lines = lines_of(usage, price)
    return Reckoning(
        lines=[_line(one) for one in lines],
        sum=usd_of_pico(sum(one.pico for one in lines)),
        markup_bp=price.markup_bp,
        price_version=price.version,
        price_source=price.source,
        free=price.free,
        service=usage.service or None,
        estimated=bool(row["estimated"]),
        unpriced=bool(row["unpriced"]),
        repaired=usage.repaired,
        charged=row["cost"] == cost(usage, price),
        upstream_cost=row["upstream_cost"] or None,
        **money(cost=row["cost"]),
    )


def _line(one: reckoning_of.Line) -> Line:
    amount = usd_of_pico(one.pico)
    return Line(bucket=one.bucket, units=one.units, price=one.price_usd, per=one.per, amount=amount)


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
        attempts=[
            AttemptShown(**{name: row[name] for name in AttemptShown.model_fields})
            for row in story.attempts
        ],
        reckoning=reckoning(record) if record else None,
        transactions=[transaction(row) for row in story.transfers],
        hold=_hold(hold) if hold is not None else None,
        **money(held=record.get("held", 0)),
    )


def _hold(row: dict[str, Any]) -> HoldShown:
    return HoldShown(
        opened_ms=row["opened_ms"],
        deadline_ms=row["deadline_ms"],
        **money(amount=row["promo"] + row["paid"]),
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
        same = {
            name: getattr(self, name)
            for name in ("model", "provider", "end_user", "tag", "fault", "failed")
        }
        return Wanted(
            **same,
            key_id=self.key_id,
            session_id=self.session,
            from_ms=self.from_ms,
            until_ms=self.until_ms,
        )


Asked = Annotated[Filter, Query()]
ANSWERS = EXPORTED = {"several": Listed[CallShown]}


async def listed(here: Visit, whose: Whose, asked: Filter, cut: Cut) -> Listed[CallShown]:
    """A slice of somebody's calls, as it is shown."""
    found = await calls.listed(here.database, whose, asked.wanted, cut)
    return sliced(found, [call_shown(row) for row in found.rows])


async def answered(
    here: Visit, whose: Whose, asked: Filter, csv: AsCsv
) -> Listed[CallShown] | Response:
    """Somebody's calls: a slice, or all of them as a file."""
    if not csv:
        return await listed(here, whose, asked, Cut(after=asked.after, limit=asked.limit))
    return await exported(
        here, "calls", CallShown, lambda cut: listed(here, whose, asked, cut), asked.after
    )


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
