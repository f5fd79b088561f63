"""`gatewayz calls`: all that came of a call, and calls as they end."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import typer
from msgspec import convert, structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_table
from gatewayz.control import calls
from gatewayz.core.line_items import line_items, usage_from_record
from gatewayz.core.money import Nanos, Price, cost, usd_text
from gatewayz.routing.plan import RANK_PARTS

app = typer.Typer(
    add_completion=False,
    name="calls",
    no_args_is_help=True,
    help="Explain a call, or watch calls as they end.",
)

Account = typer.Option("", "--account", "-a", help="Only this account's, by id or name.")
POLL_EVERY_S = 0.5
OVERLAP_MS = 10_000
"""A settlement may come this much after the end of its call."""
MAX_SEEN = 50_000
"""Ids that are remembered, so that a call that is read twice is printed once."""
RANK = ", rank ("
"""Within what is noted of a candidate: its rank follows."""
PER_SUFFIXES = {1: "", 10**6: "/M"}
PRICE_FIELDS = ("version", "source", "valid_from_ms", "markup_bp")
RECORD_FIELDS = (
    "id", "account_id", "key_id", "end_user", "session_id", "endpoint", "streamed", "asked_model",
    "model", "provider", "upstream_id", "stop", "status", "fault", "message",
)  # fmt: skip
ATTEMPT_FIELDS = (
    "number", "provider", "upstream_id", "credential", "started_ms", "first_event_ms", "ended_ms",
    "status",
)  # fmt: skip


@app.command("show")
def show(
    call: str = typer.Argument(
        help="Any id that its client saw: x-request-id, chatcmpl-…, msg_…, resp_…"
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Show all of a call: candidates, attempts, usage, price, cost, and what was booked."""

    async def work(ctx: AdminContext) -> calls.CallDetails:
        call_id = calls.parse_call_id(call)
        account_id = await calls.account_of_call(ctx.database, call_id)
        return await calls.get_call(ctx.database, account_id, call_id)

    details = run_with_store(config, data_dir, work)
    if as_json:
        print(json.dumps(structs.asdict(details), indent=2))
        return
    _print_record(details)
    for title, rows in (("attempts", _attempt_rows(details)), ("booked", _transfer_rows(details))):
        if rows:
            print(f"\n{title}:")
            print_table(rows, as_json=False)
    if details.hold is not None:
        amount = usd_text(Nanos(details.hold["promo"] + details.hold["paid"]))
        print(f"\nstill held: ${amount} by {details.hold['owner']}")


def _print_record(details: calls.CallDetails) -> None:
    record = details.record
    if not record:
        print("The call is under way: it has no record yet.")
        return
    row = {name: record[name] for name in RECORD_FIELDS} | {
        "received": format_time(record["received_ms"]),
        "first_event_ms": record["first_event_ms"],
        "duration_ms": record["duration_ms"],
        "cost": _cost_text(record),
        "tags": ", ".join(record["tags"]),
        "held_usd": usd_text(Nanos(record["held"])),
        "upstream_cost_usd": record["upstream_cost"],
        "dropped": record["dropped"],
        "trace": record["trace"],
    }
    shown = {name: value for name, value in row.items() if value not in (None, "", [])}
    print_fields(shown, as_json=False)
    print("\ncandidates:")
    for reason in record["reasons"]:
        print(f"  {reason}")
    if any(RANK in reason for reason in record["reasons"]):
        print(f"  (rank, the lowest first: {', '.join(RANK_PARTS)})")


def _cost_text(record: dict[str, Any]) -> str:
    """Usage times price, as it was reckoned: `9 input × $0.5/M + 5 output × $1.5/M = $0.000012`."""
    usage, price = usage_from_record(record["usage"]), convert(record["price"], Price)
    items = [
        f"{item.units} {item.bucket} × ${item.price_usd}{PER_SUFFIXES[item.per]}"
        for item in line_items(usage, price)
    ]
    total = f"{' + '.join(items) or 'nothing used'} = ${usd_text(Nanos(record['cost']))}"

    origin = {name: record["price"].get(name) for name in PRICE_FIELDS} | {"service": usage.service}
    remarks = [f"{name} {value}" for name, value in origin.items() if value]
    remarks += [name for name in ("estimated", "unpriced") if record[name]]
    remarks += ["repaired"] * usage.repaired
    if record["cost"] != cost(usage, price):
        remarks.append(f"of ${usd_text(cost(usage, price))} that this usage costs")
    return f"{total} ({', '.join(remarks)})" if remarks else total


def _attempt_rows(details: calls.CallDetails) -> list[dict[str, Any]]:
    return [
        {name: row[name] for name in ATTEMPT_FIELDS}
        | {"outcome": row["fault"] or "served", "message": row["message"]}
        for row in details.attempts
    ]


def _transfer_rows(details: calls.CallDetails) -> list[dict[str, Any]]:
    return [
        {
            "at": format_time(row["at_ms"]),
            "kind": row["kind"],
            "from": row["debit"],
            "to": row["credit"],
            "usd": usd_text(Nanos(row["amount"])),
        }
        for row in details.transfers
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

    async def work(ctx: AdminContext) -> None:
        account_id = await ctx.account_id(account) if account else ""
        since_ms = ctx.now_ms
        seen: dict[str, None] = {}
        for row in await calls.list_latest_calls(ctx.database, last, account_id):
            _print_call(row, seen, as_json=as_json)

        while follow:
            await asyncio.sleep(POLL_EVERY_S)
            after_ms = since_ms - OVERLAP_MS
            for row in await calls.list_calls_ended_since(ctx.database, after_ms, account_id):
                since_ms = max(since_ms, row["received_ms"] + row["duration_ms"])
                _print_call(row, seen, as_json=as_json)

    try:
        run_with_store(config, data_dir, work)
    except KeyboardInterrupt:
        return


def _print_call(row: dict[str, Any], seen: dict[str, None], *, as_json: bool) -> None:
    if row["id"] in seen:
        return
    seen[row["id"]] = None
    while len(seen) > MAX_SEEN:
        del seen[next(iter(seen))]
    if as_json:
        print(json.dumps(row), flush=True)
        return
    at = datetime.fromtimestamp(row["received_ms"] / 1000, UTC)
    offer = f"{row['provider']}/{row['upstream_id']}" if row["provider"] else "–"
    cells = (
        f"{at:%H:%M:%S}",
        row["id"],
        row["account_id"],
        f"{row['asked_model']} → {offer}",
        f"{row['status']} {row['fault'] or row['stop'] or 'ended'}",
        f"{row['input_tokens']}+{row['output_tokens']} tokens",
        f"${usd_text(Nanos(row['cost']))}",
        f"{row['duration_ms']} ms",
    )
    print("  ".join(cells), flush=True)
