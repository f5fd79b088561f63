"""`gatewayz calls`: all that came of a call, and calls as they end."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import typer
from msgspec import convert, structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, say, say_one
from gatewayz.cli.spelling import shown_time
from gatewayz.core.money import Nanos, Price, cost, usd_text
from gatewayz.core.reckoning import lines_of, usage_from
from gatewayz.store.sql import accounts, calls

app = typer.Typer(
    name="calls", no_args_is_help=True, help="Explain a call, or watch calls as they end."
)
audit_app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    help="Show who changed what, and that nobody changed the log.",
)

Account = typer.Option("", "--account", "-a", help="Only this account's, by id or name.")
LOOK_EVERY_S = 0.5
OVERLAP_MS = 10_000
"""A settlement may come this much after the end of its call."""
MAX_SEEN = 50_000
PER = {1: "", 10**6: "/M"}
KEPT_PRICE = ("version", "source", "valid_from_ms", "markup_bp")


async def _account(office: Office, word: str) -> str:
    return await accounts.found(office.desk.database, word) if word else ""


@app.command("show")
def show(
    call: str = typer.Argument(
        help="Any id that its client saw: x-request-id, chatcmpl-…, msg_…, resp_…"
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Show all that came of a call: candidates, attempts, usage, price, cost, and what was booked."""

    async def work(office: Office) -> calls.Story:
        found = calls.call_id_of(call)
        return await calls.story(
            office.desk.database, await calls.owner(office.desk.database, found), found
        )

    story = at_office(config, data_dir, work)
    if as_json:
        print(json.dumps(structs.asdict(story), indent=2))
        return
    _say_record(story)
    for title, rows in (("attempts", _attempts(story)), ("booked", _booked(story))):
        if rows:
            print(f"\n{title}:")
            say(rows, as_json=False)
    if story.hold is not None:
        print(
            f"\nstill held: ${usd_text(Nanos(story.hold['promo'] + story.hold['paid']))} by {story.hold['owner']}"
        )


def _say_record(story: calls.Story) -> None:
    record = story.record
    if not record:
        print("The call is under way: it has no record yet.")
        return
    names = (
        "id",
        "account_id",
        "key_id",
        "end_user",
        "session_id",
        "endpoint",
        "streamed",
        "asked_model",
        "model",
    )
    row = {
        name: record[name]
        for name in (*names, "provider", "upstream_id", "stop", "status", "fault", "message")
    }
    row["received"] = shown_time(record["received_ms"])
    row["first_event_ms"], row["duration_ms"] = record["first_event_ms"], record["duration_ms"]
    row["cost"] = _priced(record)
    row["tags"] = ", ".join(record["tags"])
    row["held_usd"] = usd_text(Nanos(record["held"]))
    row["upstream_cost_usd"], row["dropped"], row["trace"] = (
        record["upstream_cost"],
        record["dropped"],
        record["trace"],
    )
    say_one(
        {name: value for name, value in row.items() if value not in (None, "", [])}, as_json=False
    )
    print("\ncandidates:")
    for reason in record["reasons"]:
        print(f"  {reason}")


def _priced(record: dict[str, Any]) -> str:
    """Usage times price, as it was reckoned: units × dollars for each, or for a million of them."""
    usage, price = usage_from(record["usage"]), convert(record["price"], Price)
    parts = [
        f"{one.units} {one.bucket} × ${one.price_usd}{PER[one.per]}"
        for one in lines_of(usage, price)
    ]
    marks = [name for name in ("estimated", "unpriced") if record[name]] + [
        "repaired"
    ] * usage.repaired
    kept = {**{name: record["price"].get(name) for name in KEPT_PRICE}, "service": usage.service}
    more = [f"{name} {value}" for name, value in kept.items() if value]
    if record["cost"] != cost(usage, price):
        marks.append(f"of ${usd_text(cost(usage, price))} that this usage costs")
    told = f" ({', '.join([*more, *marks])})" if more or marks else ""
    return f"{' + '.join(parts) or 'nothing used'} = ${usd_text(Nanos(record['cost']))}{told}"


def _attempts(story: calls.Story) -> list[dict[str, Any]]:
    names = (
        "number",
        "provider",
        "upstream_id",
        "credential",
        "started_ms",
        "first_event_ms",
        "ended_ms",
        "status",
    )
    return [
        {name: row[name] for name in names}
        | {"came_of_it": row["fault"] or "served", "message": row["message"]}
        for row in story.attempts
    ]


def _booked(story: calls.Story) -> list[dict[str, Any]]:
    return [
        {
            "at": shown_time(row["at_ms"]),
            "kind": row["kind"],
            "from": row["debit"],
            "to": row["credit"],
            "usd": usd_text(Nanos(row["amount"])),
        }
        for row in story.transfers
    ]


@app.command("tail")
def tail(
    last: int = typer.Option(
        10, "--last", "-n", min=0, max=1_000, help="How many that have ended already."
    ),
    follow: bool = typer.Option(True, "--follow/--no-follow", help="Go on until interrupted."),
    account: str = Account,
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Show calls as they end, a line each."""

    async def work(office: Office) -> None:
        database, clock = office.desk.database, office.desk.clock
        whose = await _account(office, account)
        since = clock.wall_ms()
        seen: dict[str, None] = {}
        for row in await calls.newest(database, last, whose):
            _tell(row, seen, as_json=as_json)
        while follow:
            await asyncio.sleep(LOOK_EVERY_S)
            for row in await calls.ended_since(database, since - OVERLAP_MS, whose):
                since = max(since, row["received_ms"] + row["duration_ms"])
                _tell(row, seen, as_json=as_json)

    try:
        at_office(config, data_dir, work)
    except KeyboardInterrupt:
        return


def _tell(row: dict[str, Any], seen: dict[str, None], *, as_json: bool) -> None:
    if row["id"] in seen:
        return
    seen[row["id"]] = None
    while len(seen) > MAX_SEEN:
        del seen[next(iter(seen))]
    if as_json:
        print(json.dumps(row), flush=True)
        return
    at = datetime.fromtimestamp(row["received_ms"] / 1000, UTC)
    came = row["fault"] or row["stop"] or "ended"
    served = f"{row['provider']}/{row['upstream_id']}" if row["provider"] else "–"
    tokens = f"{row['input_tokens']}+{row['output_tokens']}"
    cost = f"${usd_text(Nanos(row['cost']))}"
    print(f"{at:%H:%M:%S}  {row['id']}  {row['account_id']}  {row['asked_model']} → {served}  {row['status']} {came}  "
          f"{tokens} tokens  {cost}  {row['duration_ms']} ms", flush=True)  # fmt: skip
